"""Who may import whom, and what loads without torch: read off the source, and seen in fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gfopt

ROOT = Path(gfopt.__file__).parent
FOUNDATION = {"errors", "types", "rng", "registry", "trace", "options"}
MAY_IMPORT = {
    "errors": set(),
    "types": set(),
    "rng": set(),
    "registry": {"errors"},
    "options": {"errors"},
    "trace": {"errors"},
    "draws": {"compiled", "errors", "threads"},
    "config": {"errors", "registry", "trace", "data", "diagnostics"},  # options and names; loads no torch
    "nn": {"errors", "kernels", "options", "registry", "rng", "threads", "types"},
    "data": {"errors", "options", "registry", "rng", "types"},
    "compiled": set(),
    "threads": set(),
    "memory": set(),
    "kernels": {"compiled"},  # numbers and addresses; no torch
    "engine": {"compiled", "errors", "kernels", "rng", "threads", "types", "nn"},
    "problems": {"errors", "registry", "rng", "types", "nn", "data", "engine"},
    "optimizers": {"compiled", "draws", "errors", "options", "registry", "rng", "threads", "types"},
    "loop": {"errors", "memory", "trace", "types", "problems", "optimizers"},
    "checkpoint": {"errors", "store"},
    "store": {"errors", "trace"},
    "analysis": {"errors", "trace", "diagnostics"},  # the names of what is measured; loads no torch
    "diagnostics": {"errors", "rng", "types", "nn", "problems", "engine"},
    "report": {"errors", "analysis"},
    "plot": {"errors", "analysis", "report"},
    "run": FOUNDATION | {"checkpoint", "diagnostics", "loop", "problems", "optimizers"},
    "callbacks": {"errors", "store", "trace", "types"},
    "tuning": {"errors", "options", "rng", "optimizers", "problems", "run", "trace"},
    "estimators": {"callbacks", "data", "errors", "problems", "run", "trace"},
    "testing": {"errors", "optimizers", "types"},
    "listing": {"errors", "registry"},
    "lockstep": {"errors", "loop", "problems", "run", "trace", "types"},
    "bench": {
        "data",
        "engine",
        "errors",
        "loop",
        "memory",
        "nn",
        "optimizers",
        "problems",
        "registry",
        "rng",
        "run",
        "store",
        "trace",
        "types",
    },
    "models": {"errors", "nn"},
    "results": {"errors", "analysis", "store", "models", "trace"},
    "study": FOUNDATION
    | {
        "callbacks",
        "config",
        "data",
        "diagnostics",
        "engine",
        "lockstep",
        "loop",
        "nn",
        "optimizers",
        "problems",
        "results",
        "run",
        "store",
        "tuning",
    },
}


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        room = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__", "cli", "terminal"):
            found.setdefault(room, []).append(file)
    return found


def imported_rooms(file: Path) -> set[str]:
    """Rooms that a file imports when it runs; names for type checkers only do not count."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gfopt.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "gfopt":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gfopt."):
            found.add(node.module.split(".")[1])
    return found


def test_every_room_has_a_rule():
    assert set(rooms()) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_it_may(room):
    for file in rooms()[room]:
        strangers = imported_rooms(file) - MAY_IMPORT[room] - {room}
        assert not strangers, f"{file.relative_to(ROOT)} imports {sorted(strangers)}"


def test_private_modules_stay_in_their_room():
    for room, files in rooms().items():
        for file in files:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gfopt."):
                    parts = node.module.split(".")
                    private = any(part.startswith("_") for part in parts[2:])
                    assert not private or parts[1] == room, f"{file.relative_to(ROOT)} imports {node.module}"


@pytest.mark.parametrize(
    "statement",
    [
        "import gfopt",
        "import gfopt.analysis",
        "import gfopt.report",
        "import gfopt.store",
        "import gfopt.config",
        "import gfopt; gfopt.Budget(evaluations=1); gfopt.load_results",
        "from gfopt.cli import app; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0",
    ],
)
def test_loads_without_torch(statement):
    code = f"{statement}\nimport sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_everything_changes_nothing(tmp_path):
    """Root logger, global random numbers, environment and working directory stay as they were."""
    code = """
import logging, os, random
import numpy as np, torch
before = (list(logging.root.handlers), logging.root.level, random.getstate(), str(np.random.get_state()),
          torch.get_rng_state().tolist(), dict(os.environ), torch.get_num_threads())
import gfopt, gfopt.study.study, gfopt.report
from gfopt import registry
for kind in ('optimizers', 'networks', 'norms', 'datasets', 'losses', 'functions'):
    table = getattr(registry, kind)
    for name in table.names():
        table.get(name)
for name in gfopt.__all__:
    getattr(gfopt, name)
problem = gfopt.SupervisedProblem({"kind": "mlp", "hidden": [4]}, "iris", device="cpu")
for kind in gfopt.optimizers.names(usable=True):
    gfopt.minimize(problem, kind, budget={"evaluations": 300})
after = (list(logging.root.handlers), logging.root.level, random.getstate(), str(np.random.get_state()),
         torch.get_rng_state().tolist(), dict(os.environ), torch.get_num_threads())
names = ("handlers", "level", "random", "numpy", "torch", "environ", "threads")
print([n for n, a, b in zip(names, before, after) if a != b])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
