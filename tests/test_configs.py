"""Every study file that ships loads, and runs to its report with a tiny budget."""

from __future__ import annotations

from pathlib import Path

import pytest

import gfopt
from gfopt.study.build import build_problem, load_data

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def _mark(path: Path) -> tuple[pytest.MarkDecorator, ...]:
    """The first study runs in every suite, the others in the slow one."""
    return () if path.stem == "quickstart" else (pytest.mark.slow,)


def tiny(path: Path) -> list[str]:
    """Overrides that make a study small: one repeat, small populations, a step or two, two values of every grid."""
    config = gfopt.load_study(path).config
    changes = ["repeats=1", "budget={evaluations: 8}", "diagnostics=[gradient-flow]"]
    for name, problem in config.problems.items():
        if "budget" in problem:
            changes.append(f"problems.{name}.budget={{evaluations: 8}}")
        changes += [
            f"problems.{name}.{key}.{option}={{grid: [{', '.join(map(str, value['grid'][:2]))}]}}"
            for key, part in problem.items()
            if isinstance(part, dict)
            for option, value in part.items()
            if isinstance(value, dict) and "grid" in value
        ]
    for name, optimizer in config.optimizers.items():
        for size in ("population", "particles"):
            if size in optimizer:
                changes.append(f"optimizers.{name}.{size}=8")
    return changes


def test_there_are_study_files():
    assert "quickstart.yaml" in [path.name for path in CONFIGS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_loads_as_it_is(path):
    study = gfopt.load_study(path)
    assert study.config.name == path.stem
    assert study.config.runs > 1


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_problem_can_be_built(path):
    """With the first value of every grid, so that what does not fit is seen without a run."""
    study = gfopt.load_study(path, ["repeats=1"])
    cells = {cell.name: cell for cell in reversed(study.config.problem_cells)}
    for cell in cells.values():
        problem = build_problem(cell, load_data(cell, 0), dtype="float32", device="cpu")
        assert problem.evaluate(problem.initial(2, 0)).loss.isfinite().all()


@pytest.mark.parametrize("path", [pytest.param(p, marks=_mark(p), id=p.stem) for p in CONFIGS])
def test_runs_to_its_report(path, tmp_path):
    study = gfopt.load_study(path, tiny(path))
    results = study.run(tmp_path / "results", workers=2)
    assert len(results.runs) == study.config.runs
    assert set(results.runs["status"]) == {"ok"}, results.runs["message"].tolist()
    page = Path(gfopt.write_report(results, tmp_path / "report.html"))
    assert "<html" in page.read_text(encoding="utf-8")
    assert results.verdicts()


def test_the_quickstart_asks_its_question():
    """A shallow and a deep problem, normalization from none on, backprop beside optimizers without gradients."""
    config = gfopt.load_study(CONFIGS[[p.name for p in CONFIGS].index("quickstart.yaml")]).config
    norms = {name: set(problem["network"]["norm"]["grid"]) for name, problem in config.problems.items()}
    assert norms["shallow"] >= norms["deep"] >= {"none", "batch", "layer"}
    assert {"adam", "deap-ga", "pyswarms-gbest", "random-search"} == {c.kind for c in config.optimizer_cells}
    depth = {name: len(problem["network"]["hidden"]) for name, problem in config.problems.items()}
    assert depth == {"shallow": 1, "deep": 8}
