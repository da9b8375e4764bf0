"""What every part of the contract is about: one optimizer, by its name in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gfopt import optimizers
from gfopt.errors import MissingExtraError
from gfopt.optimizers.base import Optimizer, Options
from gfopt.testing import driving


class Subject:
    """The optimizer under test.

    Attributes:
        kind: its name; empty where a fixture `kind` or a parametrization says it.
        options: what it cannot do without, or would be too slow without; of sizes the contract takes care.
    """

    kind: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test the class's own kind, if it has one."""
        if isinstance(self.kind, str) and self.kind and "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", [self.kind])

    @pytest.fixture(autouse=True)
    def _installed(self, kind: str) -> None:
        try:
            optimizers.optimizer_class(kind)
        except MissingExtraError as error:
            pytest.skip(str(error))

    def given(self, kind: str) -> Mapping[str, Any]:
        """The options of `kind` that are no size; override it where several kinds need different ones."""
        del kind
        return self.options

    def make(
        self,
        kind: str,
        *,
        size: int = 6,
        dim: int = 6,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        bounds: tuple[Tensor, Tensor] | None = None,
        start: Tensor | None = None,
    ) -> Optimizer:
        """The optimizer with at least `size` rows, at random starts that are the same for every seed."""
        given = self.given(kind)
        size = driving.smallest(kind, size, **given)
        where: dict[str, Any] = {"bounds": bounds, "start": start}
        return driving.make(kind, dim=dim, size=size, seed=seed, dtype=dtype, **where, **given)

    def checked(self, kind: str, size: int = 6) -> tuple[type[Optimizer], Options]:
        """The class, and the options that `make` gives it."""
        given = self.given(kind)
        sized = driving.size_option(kind, driving.smallest(kind, size, **given))
        return optimizers.optimizer_class(kind), optimizers.options_of(kind, {**sized, **given})

    def count(self, kind: str, size: int = 6) -> int:
        """The start rows `P` that it uses."""
        algorithm, options = self.checked(kind, size)
        return algorithm.population_size(options)
