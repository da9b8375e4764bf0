"""The key of a run: it differs where the run would, and is the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import gfopt
from gfopt.study.content import content_hash, describe
from gfopt.study.spec import plain

BASE = """
name: keys
seed: 3
repeats: 1
budget: {evaluations: 100}
problems:
  bowl:
    function: {name: sphere, dim: 3}
  flowers:
    dataset: {name: iris}
    network: {kind: mlp, hidden: [4]}
optimizers:
  ga: {kind: deap-ga, population: 8}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "keys.yaml"
    path.write_text(BASE)
    return path


def keys(file, *changes) -> list[str]:
    return [spec.key for spec in gfopt.load_study(file, changes).prepare("cpu")]


@pytest.mark.parametrize(
    "change",
    [
        "seed=4",
        "budget.evaluations=101",
        "budget={evaluations: 100, seconds: 9}",
        "budget={steps: 100}",
        "threads=2",
        "dtype=float64",
        "diagnostics=[]",
        "diagnostics=[gradient-flow, updates]",
        "optimizers.ga.population=9",
        "optimizers.ga={kind: random-search}",
    ],
)
def test_another_definition_has_other_keys(file, change):
    assert not set(keys(file)) & set(keys(file, change))


@pytest.mark.parametrize(
    ("change", "others"),
    [
        ("problems.bowl.function.dim=4", 1),
        ("problems.bowl.function.name=ackley", 1),
        ("problems.bowl.subspace={dim: 2}", 1),
        ("problems.bowl.budget={evaluations: 50}", 1),
        ("problems.flowers.network.norm=batch", 1),
        ("problems.flowers.network.hidden=[5]", 1),
        ("problems.flowers.dataset={name: iris, test_fraction: 0.3}", 1),
        ("problems.flowers.batch_size=16", 1),
        ("problems.flowers.bn_mode=reference", 1),
        ("repeats=2", 2),
    ],
)
def test_a_change_of_one_problem_leaves_the_others(file, change, others):
    before, after = keys(file), keys(file, change)
    assert len(set(before) & set(after)) == (1 if others == 1 else 2)
    assert len(set(after)) == len(after)


@pytest.mark.parametrize(
    "change",
    [
        "name=other",
        "report.baseline=ga",
        "device=cpu",
        "budget.evaluations=1.0e2",
        "optimizers.ga={population: 8, kind: deap-ga}",
    ],
)
def test_what_changes_no_number_changes_no_key(file, change):
    """Names of studies, reports, the order of keys, `100` written as `1.0e2`."""
    assert keys(file, change) == keys(file)


def test_an_option_that_is_written_out_with_its_default_is_the_same(file):
    options = gfopt.load_study(file).config.optimizer_cells[0].options.model_dump(mode="json")
    assert keys(file, f"optimizers.ga={json.dumps({'kind': 'deap-ga', **options})}") == keys(file)


def test_a_data_file_counts_by_its_content(tmp_path):
    def study(name: str, rows: int) -> list[str]:
        folder = tmp_path / name
        folder.mkdir()
        lines = ["a,b,y", *(f"{i},{i * i % 7},{'uv'[i % 2]}" for i in range(rows))]
        (folder / f"{name}.csv").write_text("\n".join(lines))
        (folder / "s.yaml").write_text(BASE.replace("name: iris", f"path: {name}.csv"))
        return keys(folder / "s.yaml")

    assert study("here", 60) == study("there", 60)
    assert study("third", 60) != study("fourth", 61)


# ------------------------------------------------------------------------------ objects of the user's

SIZES = [4, 4]


def closure(width: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(4, width)


def reads_a_global() -> nn.Module:
    return nn.Linear(*SIZES)


def calls_another() -> nn.Module:
    return reads_a_global()


def with_default(width: int = 4) -> nn.Module:
    return nn.Linear(4, width)


class Maker:
    """A factory that is an object."""

    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self) -> nn.Module:
        return nn.Linear(4, self.width)

    def method(self) -> nn.Module:
        return self()


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Cosine(nn.Module):
    def forward(self, x):
        return torch.cos(x)


Renamed = type("Sine", (Cosine,), {"__qualname__": "Sine", "__module__": __name__})


def frozen(freeze: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Linear(4, 2)
    return made.requires_grad_(not freeze)


ALIKE = [
    (closure(4), closure(4)),
    (partial(with_default, 5), partial(with_default, 5)),
    (Maker(4), Maker(4)),
    (Maker(4).method, Maker(4).method),
    (frozen(False), frozen(False)),
    (np.arange(4), np.arange(4)),
    (lambda o, t: (o - t).abs(), lambda o, t: (o - t).abs()),
    ({"b", "a", "c"}, {"c", "b", "a"}),
    (nn.Linear, nn.Linear),
]
DIFFERENT = [
    (closure(4), closure(5)),
    (partial(with_default, 5), partial(with_default, 6)),
    (partial(with_default, 5), partial(with_default, width=5)),
    (Maker(4), Maker(5)),
    (Maker(4).method, Maker(5).method),
    (Sine, Cosine),
    (Sine(), Renamed()),
    (frozen(False), frozen(True)),
    (frozen(False), nn.Linear(4, 2)),
    (np.arange(4), np.arange(4.0)),
    (np.zeros(4), np.zeros((2, 2))),
    (torch.arange(2000.0), torch.arange(2000.0).index_fill(0, torch.tensor([900]), 1.0)),
    (lambda o, t: (o - t).abs(), lambda o, t: (o - t).square()),
    (lambda o, t: (o - t) * 2, lambda o, t: (o - t) * 3),
    (nn.Linear, nn.Bilinear),
    (nn.Sequential(nn.Tanh()), nn.Sequential(nn.ReLU())),
    ({"a": 1}, {"a": True}),
    ([1, [2]], [[1], 2]),
]


@pytest.mark.parametrize(("one", "other"), ALIKE, ids=range(len(ALIKE)))
def test_what_does_the_same_hashes_the_same(one, other):
    assert content_hash(one) == content_hash(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_what_does_something_else_hashes_to_something_else(one, other):
    assert content_hash(one) != content_hash(other)


@pytest.mark.parametrize("function", [reads_a_global, calls_another])
def test_global_values_count_through_calls(function, monkeypatch):
    before = content_hash(function)
    monkeypatch.setattr(sys.modules[__name__], "SIZES", [4, 5])
    assert content_hash(function) != before


def test_objects_that_refer_to_themselves_come_to_an_end():
    ring: list[object] = [1]
    ring.append(ring)
    other: list[object] = [1]
    other.append([other])
    assert content_hash(ring) == content_hash(ring)
    assert content_hash(ring) != content_hash(other)

    def again(depth: int) -> int:
        return 0 if depth == 0 else again(depth - 1)

    assert content_hash(again)


MODULE = """
import logging
import re
from functools import lru_cache, partial
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LOG = logging.getLogger("nets")
WORD = re.compile("[a-z]+")
SCALE = {"gain": 2.0, "names": {"alpha", "beta", "gamma", "delta"}}

class Net(nn.Module):
    kinds = frozenset({"one", "two", "three"})
    def __init__(self, width=3):
        super().__init__()
        self.layer = nn.Linear(4, width)
        self.tags = {"x", "y", "z"}
    @property
    def size(self):
        return len([word for word in ("a", "b") if word in {"a", "q", "r"}])
    @staticmethod
    def of(width):
        return Net(width)
    def forward(self, x):
        LOG.debug("%s", WORD)
        return F.relu(self.layer(x)) * SCALE["gain"]

@lru_cache
def cached(width):
    return Net.of(width)

def fixed():
    torch.manual_seed(0)
    return Net()

SAMPLES = [Net, Net.of, cached, partial(cached, 5), fixed(), lambda: Net(2), np.arange(3), Net.size, LOG, WORD, SCALE]
"""


def test_hashes_are_the_same_in_another_process(tmp_path, monkeypatch):
    (tmp_path / "nets_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    state = torch.get_rng_state()
    import nets_of_a_user

    torch.set_rng_state(state)
    here = [content_hash(sample) for sample in nets_of_a_user.SAMPLES]
    code = (
        "import nets_of_a_user as n; from gfopt.study.content import content_hash; "
        "print([content_hash(s) for s in n.SAMPLES])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "12345", "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    del sys.modules["nets_of_a_user"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(here)
    assert len(set(here)) == len(here)


def test_objects_are_described_by_name_and_hash():
    class Net(nn.Module):
        pass

    assert describe({"a": [1, 2.5, None, True, "x"], "b": (1,)}) == {"a": [1, 2.5, None, True, "x"], "b": [1]}
    found = describe(Net)
    assert found["python"].endswith("Net")
    assert len(found["hash"]) == 16
    assert describe(np.float64(2.0)) == 2.0
    assert plain(Net) == found["python"]
    assert plain([4, 4]) == "[4,4]"
    assert plain({"kind": "layer"}) == '{"kind":"layer"}'
    assert plain(0.5) == 0.5
    assert plain(None) is None
    assert describe(partial(closure, 3))["python"] == "partial of closure"


def test_a_problem_may_name_the_optimizers_that_train_it(file):
    two = "optimizers={ga: {kind: deap-ga, population: 8}, random: {kind: random-search}}"
    every = gfopt.load_study(file, [two])
    some = gfopt.load_study(file, [two, "problems.bowl.optimizers=[random]"])
    assert (every.config.runs, some.config.runs) == (4, 3)
    trained = {(spec.problem.name, spec.optimizer.name): spec.key for spec in some.prepare("cpu")}
    assert set(trained) == {("bowl", "random"), ("flowers", "ga"), ("flowers", "random")}
    # Who else trains a problem is not part of a run.
    assert set(trained.values()) < {spec.key for spec in every.prepare("cpu")}


def test_a_grid_of_an_optimizer_is_named_by_its_base_or_one_of_its_cells(file):
    grid = "optimizers={ga: {kind: deap-ga, population: {grid: [8, 16]}}}"
    counts = [
        gfopt.load_study(file, [grid, f"problems.bowl.optimizers={chosen}"]).config.runs
        for chosen in ("[ga]", "['ga[population=8]']")
    ]
    assert counts == [4, 3]


def test_an_optimizer_that_is_not_there_is_refused(file):
    with pytest.raises(gfopt.errors.ConfigError, match=r"problems.bowl.optimizers.0.: expected the name of one of"):
        gfopt.load_study(file, ["problems.bowl.optimizers=[gaa]"])
