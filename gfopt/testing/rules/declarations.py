"""What an optimizer says about itself: options, what tuning may choose, and what it can handle."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator

import pytest
import torch
from pydantic import BaseModel

from gfopt import optimizers
from gfopt.errors import ConfigError
from gfopt.optimizers.space import Choice, Dimension
from gfopt.testing import driving
from gfopt.testing.driving import drive, walk
from gfopt.testing.rules.subject import Subject


class DeclarationRules(Subject):
    """The declarations: complete, and true."""

    def test_its_first_line_says_what_it_is(self, kind: str) -> None:
        """The first line of the class's docstring is what `gfopt list` shows."""
        line = (inspect.getdoc(optimizers.optimizer_class(kind)) or "").partition("\n")[0]
        assert len(line.split()) >= 3
        assert line.endswith((".", ":", ")"))

    def test_the_docstring_of_its_options_describes_each(self, kind: str) -> None:
        """Each option stands under `Attributes:`, from where `gfopt schema` takes the text."""
        options = optimizers.optimizer_class(kind).options_class
        assert set(_described(options)) >= set(options.model_fields)

    def test_an_unknown_option_is_refused(self, kind: str) -> None:
        """A typing error in a study file is an error, never a silent default."""
        with pytest.raises(ConfigError, match="expected a known option, got 'frobnicate'"):
            optimizers.options_of(kind, {**self.given(kind), "frobnicate": 1})

    def test_its_options_are_the_same_after_a_file(self, kind: str) -> None:
        """A study file, and a run on disk, hold options as plain values."""
        _, options = self.checked(kind)
        assert optimizers.options_of(kind, options.model_dump(mode="json")) == options

    def test_what_it_can_handle_makes_sense(self, kind: str) -> None:
        """The capabilities that `gfopt list` shows are values that there are."""
        algorithm, options = self.checked(kind)
        assert algorithm.device in ("any", "cpu")
        assert algorithm.max_dim is None or algorithm.max_dim >= 1
        assert algorithm.population_size(options) >= 1
        assert algorithm.evaluations_per_step(options) >= 1

    def test_gradients_are_wanted_only_where_the_options_say_so(self, kind: str) -> None:
        """`uses_gradient` tells a study beforehand, `wants_gradient` the loop before each step."""
        algorithm, options = self.checked(kind)
        optimizer = self.make(kind)
        wanted = [optimizer.wants_gradient]
        for step in range(len(driving.BATCHES)):
            walk(optimizer, step, step + 1)
            wanted.append(optimizer.wants_gradient)
        assert any(wanted) <= algorithm.uses_gradient(options)
        assert algorithm.needs_gradient <= algorithm.uses_gradient(options)

    def test_every_corner_of_its_space_is_admissible(self, kind: str) -> None:
        """Tuning combines any values of `space`; none of them may be refused, alone or together."""
        algorithm = optimizers.optimizer_class(kind)
        assert set(algorithm.space) <= set(algorithm.options_class.model_fields)
        ends = [[(name, value) for value in _ends(found)] for name, found in algorithm.space.items()]
        for corner in itertools.product(*ends):
            optimizers.options_of(kind, {**self.given(kind), **dict(corner)})

    def test_every_end_of_its_space_runs(self, kind: str) -> None:
        """A few steps with each end of each range, and each value of each choice."""
        for name, found in optimizers.optimizer_class(kind).space.items():
            for value in _ends(found):
                options = {**self.given(kind), name: value}
                size = value if name in driving.SIZES else driving.smallest(kind, 6, **options)
                optimizer = driving.make(kind, **{"size": size, **options})
                steps = drive(optimizer, driving.rugged, (0, 0, 1), spent=(0.0, 0.5, 1.0))
                assert all(torch.isfinite(rows).all() for rows, _ in steps)


def _ends(found: Dimension) -> list[str | int | float | bool | None]:
    return list(found.values) if isinstance(found, Choice) else [found.low, found.high]


def _described(options: type[BaseModel]) -> Iterator[str]:
    """Names under `Attributes:` in the docstrings of a class and of those it inherits from."""
    for owner in options.__mro__:
        document = inspect.cleandoc(owner.__dict__.get("__doc__") or "")
        section = document.partition("Attributes:\n")[2].partition("\n\n")[0]
        for names in re.findall(r"^    (\w[\w, ]*): ", section, flags=re.MULTILINE):
            yield from names.split(", ")
