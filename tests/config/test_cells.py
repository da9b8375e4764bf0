from __future__ import annotations

import pickle
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel

from gfopt import registry


def test_every_problem_cell_has_its_grid_config_and_budget(study) -> None:
    cells = study({"problems.deep.loss": {"grid": ["cross_entropy", "f1_error"]}}).problem_cells
    assert [(cell.name, cell.grid) for cell in cells] == [
        ("deep", {"network.norm": "none", "loss": "cross_entropy"}),
        ("deep", {"network.norm": "none", "loss": "f1_error"}),
        ("deep", {"network.norm": "batch", "loss": "cross_entropy"}),
        ("deep", {"network.norm": "batch", "loss": "f1_error"}),
        ("ball", {}),
    ]
    assert [(cell.config.network["norm"], cell.config.loss) for cell in cells[:4]] == [
        tuple(cell.grid.values()) for cell in cells[:4]
    ]
    assert cells[1].label == "deep[network.norm=none,loss=f1_error]"
    assert cells[4].label == "ball"
    assert [cell.budget.limits() for cell in cells] == [{"evaluations": 100}] * 4 + [{"steps": 10}]


def test_an_optimizer_from_a_grid_is_named_by_its_options(study) -> None:
    changes = {
        "optimizers.adam.betas": {"grid": [[0.9, 0.999], [0.5, 0.9]]},
        "optimizers.ga": {"kind": {"grid": ["deap-ga", "sgd"]}, "population": 16},
    }
    cells = study(changes).optimizer_cells
    assert [cell.name for cell in cells] == [
        "adam[learning_rate=0.1,betas=[0.9,0.999]]",
        "adam[learning_rate=0.1,betas=[0.5,0.9]]",
        "adam[learning_rate=0.01,betas=[0.9,0.999]]",
        "adam[learning_rate=0.01,betas=[0.5,0.9]]",
        "ga[kind=deap-ga]",
        "ga[kind=sgd]",
    ]
    assert [cell.base for cell in cells] == ["adam"] * 4 + ["ga"] * 2
    assert cells[0].grid == {"options.learning_rate": 0.1, "options.betas": [0.9, 0.999]}
    assert cells[5].grid == {"kind": "sgd"}
    assert [(cell.kind, cell.options.population) for cell in cells[4:]] == [("deap-ga", 16), ("sgd", 16)]
    assert cells[1].options.betas == (0.5, 0.9)


def test_cells_that_are_the_same_after_all_are_refused(refused) -> None:
    # With the default filled in, the two values of the grid say the same.
    text = refused({"problems.deep.subspace": {"grid": [{"dim": 5}, {"dim": 5, "seed": 0}]}})
    assert text.splitlines()[0] == (
        "s.yaml: problems.deep.subspace: grid[1]: expected grids whose cells differ, got "
        "`deep[network.norm=none,subspace={dim:5}]` and deep[network.norm=none,subspace={dim:5,seed:0}], "
        "which are the same. Remove one."
    )


def test_optimizers_that_are_the_same_after_all_are_refused(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    class Options(BaseModel):
        topology: Annotated[str, AfterValidator(str.lower)] = "ring"

    class Swarm:
        options_class = Options

    monkeypatch.setattr(registry.optimizers, "get", lambda name: Swarm)
    optimizers = {"swarm": {"kind": "sgd", "topology": {"grid": ["ring", "star", "Ring"]}}}
    assert refused({"optimizers": optimizers, "report": {}}) == (
        "s.yaml: optimizers.swarm.topology: grid[2]: expected grids whose cells differ, got "
        "`swarm[topology=ring]` and swarm[topology=Ring], which are the same. Remove one."
    )


def test_optimizers_whose_names_are_the_same_are_refused(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    class Options(BaseModel):
        size: int | str = 1

    class Swarm:
        options_class = Options

    monkeypatch.setattr(registry.optimizers, "get", lambda name: Swarm)
    optimizers = {"swarm": {"kind": "sgd", "size": {"grid": [1, "1"]}}}
    assert "swarm.size: grid[1]" in refused({"optimizers": optimizers, "report": {}})


def test_an_issue_of_a_cell_points_into_its_grid(study) -> None:
    cell = study().problem_cells[1]
    assert cell.issue(("network", "norm"), "wrong").place == "problems.deep.network.norm: grid[1]"
    assert cell.issue(("loss",), "wrong").place == "problems.deep.loss"


def test_a_study_survives_a_pickle(study) -> None:
    config = study()
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again.problem_cells == config.problem_cells
    assert again.optimizer_cells == config.optimizer_cells
