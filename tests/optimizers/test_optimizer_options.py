"""Names, options and the messages about wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from gfopt import optimizers, registry
from gfopt.errors import ConfigError
from gfopt.optimizers.base import Optimizer


def test_names_are_those_of_the_registry() -> None:
    assert optimizers.names() == registry.optimizers.names()


def test_all_of_the_package_with_a_continuous_genome_are_usable() -> None:
    usable = optimizers.names(usable=True)
    assert usable == tuple(name for name in optimizers.names() if optimizers.optimizer_class(name).continuous)


def test_one_without_its_library_or_with_a_required_option_is_not_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Needy(Optimizer):
        class options_class(optimizers.optimizer_class("sgd").options_class):  # type: ignore[misc]
            rows: int

    def get(name: str) -> Any:
        if name == "adam":
            raise ImportError("no such library")
        return Needy if name == "sgd" else found(name)

    found, before = registry.optimizers.get, set(optimizers.names(usable=True))
    monkeypatch.setattr(registry.optimizers, "get", get)
    assert before - set(optimizers.names(usable=True)) == {"adam", "sgd", "chain"}  # a chain ends with adam


def test_importing_the_package_loads_no_torch_and_no_optimizer() -> None:
    code = """if True:
        import sys
        import gfopt.optimizers
        gfopt.optimizers.names()
        print(sorted({"torch", "deap", "pyswarms"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_optimizer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=re.escape("got 'deap-gaa'. Did you mean 'deap-ga'?")):
        optimizers.options_of("deap-gaa")


def test_an_unknown_option_is_refused_by_every_optimizer(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"^sorcery: expected a known option, got 'sorcery'"):
        optimizers.options_of(kind, {"sorcery": 1})


def test_options_pass_as_they_are_and_none_are_the_defaults(kind: str) -> None:
    options = optimizers.options_of(kind)
    assert options == optimizers.options_of(kind, {}) == optimizers.optimizer_class(kind).options_class()
    assert optimizers.options_of(kind, options) is options
    assert optimizers.options_of(kind, options.model_dump()) == options


@pytest.mark.parametrize(("kind", "options", "message"), [
    ("adam", {"learning_rat": 1}, "learning_rat: expected a known option, got 'learning_rat'. "
                                  "Did you mean 'learning_rate'?"),
    ("adam", {"learning_rate": 0}, "learning_rate: expected a number greater than 0, got 0. "
                                   "The default is 0.01."),
    ("adam", {"learning_rate": "fast"}, "learning_rate: expected a number, got 'fast'. The default is 0.01."),
    ("adam", {"learning_rate": None}, "learning_rate: expected a number, got None. The default is 0.01."),
    ("adam", {"learning_rate": float("nan")}, "learning_rate: expected a finite number, got nan. "
                                              "The default is 0.01."),
    ("adam", {"learning_rate": float("inf")}, "learning_rate: expected a finite number, got inf. "
                                              "The default is 0.01."),
    ("adam", {"learning_rate": True}, "learning_rate: expected a number or a name, got True"),
    ("adam", {"population": 1.5}, "population: expected a whole number, got 1.5. The default is 1."),
    ("adam", {"population": -1}, "population: expected a number of at least 1, got -1. The default is 1."),
    ("adam", {"betas": [0.9, 1.0]}, "betas: expected two numbers in [0, 1), got [0.9, 1.0]"),
    ("adam", {"betas": 0.9}, "betas: expected a list, got 0.9. The default is (0.9, 0.999)."),
    ("sgd", {"momentum": 1}, "momentum: expected a number less than 1, got 1. The default is 0.9."),
    ("sgd", {"momentum": 0, "nesterov": True}, "momentum: expected more than 0 with nesterov, got 0.0"),
    ("sgd", {"nesterov": "perhaps"}, "nesterov: expected true or false, got 'perhaps'. "
                                     "The default is False."),
    ("deap-ga", {"selection": "best"}, "selection: expected one of 'tournament', 'roulette', 'rank', "
                                       "'truncation' or 'sus', or an operator of deap.tools as {tool: sel..., ...}, "
                                       "got 'best'. The default is 'tournament'."),
    ("deap-ga", {"gene_probability": 2}, "gene_probability: expected a number of at most 1, got 2. "
                                         "The default is 1.0."),
    ("deap-ga", {"mutation_scale": "own"}, "mutation_scale: expected one of 'initial' or 'relative', got 'own'. "
                                           "The default is 'initial'."),
    ("pyswarms-gbest", {"project_neutral": "no idea"}, "project_neutral: expected true or false, got 'no idea'. "
                                                       "The default is False."),
    ("deap-ga", {"population": 4, "elites": 4}, "elites: expected less than the population of 4, got 4"),
    ("pyswarms-gbest", {"velocity_clamp": 0}, "velocity_clamp: expected a number greater than 0, got 0. "
                                              "The default is 1.0."),
    ("pyswarms-lbest", {"particles": 4, "neighbors": 5}, "neighbors: expected at most the number of "
                                                         "particles, 4, got 5"),
])  # fmt: skip
def test_the_message_says_what_was_expected_what_was_got_and_the_fix(
    kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        optimizers.options_of(kind, options)
    assert str(caught.value) == message


def test_options_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected a mapping from option to value, got 3"):
        optimizers.options_of("adam", 3)  # type: ignore[arg-type]


def test_a_number_may_be_text_as_yaml_reads_1e_3() -> None:
    assert optimizers.options_of("adam", {"learning_rate": "1e-3"}).model_dump()["learning_rate"] == 1e-3


def test_build_takes_defaults_from_the_kind_alone(kind: str) -> None:
    size = optimizers.optimizer_class(kind).population_size(optimizers.options_of(kind))
    built = optimizers.build(kind, None, torch.zeros(size, 3), np.random.default_rng(0), scale=torch.ones(3))
    assert built.ask(0).shape == (size, 3)
