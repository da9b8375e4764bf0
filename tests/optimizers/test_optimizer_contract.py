"""What every optimizer of the registry has to keep: the contract that is shipped, on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from gfopt import optimizers
from gfopt.errors import MissingExtraError
from gfopt.testing import OptimizerContract

# A chain has no size of its own: its first stage would be large.
GIVEN: dict[str, dict[str, Any]] = {"chain": {"stages": [{"kind": "deap-ga", "population": 6}, {"kind": "adam"}]}}


@cache
def installed() -> tuple[str, ...]:
    """Those whose libraries are there."""

    def is_there(kind: str) -> bool:
        try:
            optimizers.optimizer_class(kind)
        except MissingExtraError:
            return False
        return True

    return tuple(filter(is_there, optimizers.names()))


@pytest.mark.parametrize("kind", optimizers.names())
class TestContract(OptimizerContract):
    def given(self, kind: str) -> Mapping[str, Any]:
        return GIVEN.get(kind, {})

    def together(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        return {kind: self.given(kind) for kind in installed()}
