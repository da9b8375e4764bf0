"""The contract finds what is wrong: optimizers that break one rule each."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from gfopt import registry
from gfopt.errors import ConfigError, MissingExtraError
from gfopt.optimizers.random_search import RandomSearch
from gfopt.optimizers.space import Real
from gfopt.testing import OptimizerContract
from gfopt.testing.state_files import read_state, write_state


class Shares(RandomSearch):
    def ask(self, batch):
        super().ask(batch)
        return self._rows


class Keeps(RandomSearch):
    def tell(self, population, evaluation):
        super().tell(population, evaluation)
        self._seen = population

    def _draw(self):
        return self._seen + super()._draw()


class Clings(RandomSearch):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._mean = torch.from_numpy(state["mean"]).add_(1)


class Global(RandomSearch):
    def _draw(self):
        return torch.randn_like(self._rows)


class Forgets(RandomSearch):
    def state_dict(self):
        return {**super().state_dict(), "generator": np.random.default_rng(0).bit_generator.state}


class Stumbles(RandomSearch):
    def tell(self, population, evaluation):
        super().tell(population, evaluation)
        self._mean = self._mean * (evaluation.loss / evaluation.loss.sum()).sum()


class Overflows(RandomSearch):
    def tell(self, population, evaluation):
        super().tell(population, evaluation)
        self._mean = self._mean / (1 + 0 * evaluation.loss[torch.isfinite(evaluation.loss)].sum())


class Strays(RandomSearch):
    def _draw(self):
        return super()._draw() + 10


class Elsewhere(RandomSearch):
    def _initialize(self, start):
        super()._initialize(start + 1)


class Boasts(RandomSearch):
    @classmethod
    def evaluations_per_step(cls, options):
        return 1


class Restless(RandomSearch):
    def tell(self, population, evaluation):
        super().tell(population, evaluation)
        self.stopped = True


class Wide(RandomSearch):
    space = {"population": Real(0.5, 10)}


class Untold(RandomSearch):
    class options_class(RandomSearch.options_class):
        haste: float = 1.0


BREAKS = [
    (Shares, "asking_twice_gives_the_same_rows_even_if_the_first_were_overwritten"),
    (Keeps, "what_it_is_given_and_hands_out_is_not_shared"),
    (Global, "another_seed_gives_another_trace_unless_nothing_is_drawn"),
    (Global, "running_leaves_this_process_as_it_was"),
    (Clings, "a_state_can_be_loaded_twice"),
    (Forgets, "resuming_equals_going_on"),
    (Overflows, "losses_near_the_largest_number_do_not_crash_without_gradients"),
    (Stumbles, "generations_that_fail_completely_do_not_crash"),
    (Strays, "rows_stay_within_bounds"),
    (Elsewhere, "the_first_rows_are_the_start_on_a_continuous_genome"),
    (Boasts, "it_says_how_many_rows_an_ordinary_step_has"),
    (Restless, "once_it_has_stopped_it_asks_for_nothing"),
    (Wide, "every_corner_of_its_space_is_admissible"),
    (Untold, "the_docstring_of_its_options_describes_each"),
]


def check(name, monkeypatch, tmp_path, algorithm):
    """One test of the contract on `algorithm`, called as a function."""
    monkeypatch.setattr(registry.optimizers, "get", lambda _: algorithm)
    fixtures = {"cut": 3, "batch": 0, "tmp_path": tmp_path, "monkeypatch": monkeypatch}
    test = getattr(OptimizerContract(), f"test_{name}")
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
    test("random-search", **{key: value for key, value in fixtures.items() if key in wanted})


@pytest.mark.parametrize(("algorithm", "name"), BREAKS)
def test_a_broken_rule_is_found(algorithm, name, monkeypatch, tmp_path):
    check(name, monkeypatch, tmp_path, RandomSearch)
    with pytest.raises((AssertionError, ConfigError)):  # the latter where an option is not admissible
        check(name, monkeypatch, tmp_path, algorithm)


def test_a_state_of_arrays_and_plain_values_is_the_same_after_a_file(tmp_path):
    state = {
        "numbers": np.arange(6, dtype=np.float32).reshape(2, 3),
        "nested": [{"array": np.array([True]), "dict": {}}, None, "text", float("inf"), 2**100, False],
        "empty": np.empty((0, 4)),
    }
    write_state(tmp_path / "s.npz", state)
    found = read_state(tmp_path / "s.npz")
    assert found["nested"][1:] == state["nested"][1:]
    assert found["nested"][0]["dict"] == {}
    for key in ("numbers", "empty"):
        np.testing.assert_array_equal(found[key], state[key], strict=True)
    assert not found["numbers"].flags.writeable


@pytest.mark.parametrize("value", [np.float64(1.0), (1, 2), {1: "a"}, np.array([object()]), torch.zeros(1)])
def test_what_a_file_would_not_give_back_is_refused(value, tmp_path):
    with pytest.raises(TypeError, match=r"state\['it'\]"):
        write_state(tmp_path / "s.npz", {"it": value})


def test_without_pytest_the_class_says_what_to_install(monkeypatch):
    import gfopt.testing

    monkeypatch.setitem(sys.modules, "pytest", None)
    message = "gfopt.testing: expected the package pytest, got `none`. Install it with: pip install pytest"
    with pytest.raises(MissingExtraError, match=re.escape(message)):
        gfopt.testing.__getattr__("OptimizerContract")


def test_the_helpers_need_no_pytest():
    code = "import sys; sys.modules['pytest'] = None; import gfopt.testing.driving, gfopt.testing.other_process"
    subprocess.run([sys.executable, "-c", code], check=True)
