"""The command line: what it prints, what it writes, its exit status; and what it says to wrong input."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import gfopt
from gfopt import cli, registry
from gfopt.study.execute import execute

BASE = """
name: small
seed: 3
repeats: 1
budget: {evaluations: 40}
problems:
  flowers:
    dataset: {name: iris}
    network: {kind: mlp, hidden: [4]}
    batch_size: 32
optimizers:
  adam: {kind: adam}
  ga: {kind: deap-ga, population: 8}
"""


@pytest.fixture
def gfopt_command(capsys, monkeypatch, tmp_path):
    """Call the command line in an empty folder; `(exit status, standard output, standard error)`."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        try:
            cli.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = end.code
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return call


def content(folder=Path()):
    """Every file and folder below, with its bytes."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def changed(old, new, text=BASE):
    assert old in text
    return text.replace(old, new)


# ------------------------------------------------------------------------------ the main job


def test_a_study_from_the_file_to_its_report(gfopt_command, inline):
    Path("s.yaml").write_text(changed("[4]}", "[4], norm: {grid: [none, batch]}}"))
    code, out, err = gfopt_command("run", "s.yaml")
    assert code == 0, err
    assert "4/4 runs" in out
    assert "Report: results/small/report.html" in out
    assert "All 4 runs ended ok." in out
    page = Path("results/small/report.html").read_text(encoding="utf-8")
    assert "flowers" in page
    results = gfopt.load_results("results/small")
    flat = " ".join(out.split())
    for sentence in results.verdicts():
        assert " ".join(sentence.split()) in flat

    runs = content(Path("results/small/runs"))
    code, out, _ = gfopt_command("run", "s.yaml", "--set", "repeats=1")
    assert code == 0
    assert content(Path("results/small/runs")) == runs

    code, out, _ = gfopt_command("status", "results/small")
    assert code == 0
    assert "small: 4 of 4 runs on disk" in out

    Path("results/small/report.html").unlink()
    code, again, _ = gfopt_command("report", "results/small")
    assert code == 0
    assert Path("results/small/report.html").exists()
    assert " ".join(again.split("Report:")[0].split()) in flat
    code, out, _ = gfopt_command("report", "results/small", "--out", "elsewhere.html")
    assert code == 0
    assert "elsewhere.html" in out
    assert Path("elsewhere.html").exists()


def test_a_dry_run_shows_the_runs_and_writes_nothing(gfopt_command):
    Path("s.yaml").write_text(changed("population: 8", "population: {grid: [8, 16]}"))
    before = content()
    code, out, _ = gfopt_command("run", "s.yaml", "--dry-run", "--workers", "3", "--out", "o")
    assert code == 0
    assert content() == before
    assert "3 runs, 3 at a time" in out
    assert "Nothing was started." in out
    assert out.count("flowers") == 3


def test_overrides_reach_the_runs(gfopt_command, inline):
    Path("s.yaml").write_text(BASE)
    changes = ("--set", "optimizers.ga.population=6", "--set", "problems.flowers.network.hidden=[5]", "--set", "seed=9")
    code, _, _ = gfopt_command("run", "s.yaml", *changes, "--out", "o")
    assert code == 0
    study = yaml.safe_load(Path("o/study.yaml").read_text())
    assert study["optimizers"]["ga"]["population"] == 6
    assert study["problems"]["flowers"]["network"]["hidden"] == [5]
    assert set(gfopt.load_results("o").runs["seed"]) == {9}


def test_a_gpu_that_is_not_there_is_said(gfopt_command):
    if torch.cuda.is_available():
        assert gfopt_command("list")[0] == 0
        return
    Path("s.yaml").write_text(BASE)
    before = content()
    code, _, err = gfopt_command("run", "s.yaml", "--device", "cuda")
    assert (code, content()) == (2, before)
    assert "device: expected a device of this machine, got 'cuda'" in err


NETWORKS = """
import os
from torch import nn
import sizes_beside

def make(width=sizes_beside.WIDTH):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))

class Breaks(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.layer = how, nn.Linear(4, 3)
    def forward(self, x):
        if os.environ.get("GFOPT_TEST_PLACE") == "worker" and self.how == "raise":
            raise RuntimeError("the [bold]sensor[/bold] is unplugged")
        return self.layer(x) * (float("nan") if self.how == "nan" else 1.0)
"""
OWN = changed("{kind: mlp, hidden: [4]}", '{module: "mynet_beside:make", width: 5}')


def own_network(folder):
    folder.mkdir()
    (folder / "mynet_beside.py").write_text(NETWORKS)
    (folder / "sizes_beside.py").write_text("WIDTH = 3\n")
    (folder / "s.yaml").write_text(OWN)
    return folder / "s.yaml"


def test_modules_beside_the_study_file_need_permission(gfopt_command, tmp_path, inline, monkeypatch):
    file = own_network(tmp_path / "project")
    before = content()
    code, _, err = gfopt_command("run", file)
    assert (code, content()) == (2, before)
    assert "problems.flowers.network.module" in err
    assert "--allow-code" in err
    path, modules = list(sys.path), set(sys.modules)
    code, _, err = gfopt_command("run", file, "--allow-code", "--out", "o")
    assert code == 0, err
    assert sys.path == path
    assert not {"mynet_beside", "sizes_beside"} & (set(sys.modules) - modules)
    results = gfopt.load_results("o")
    assert (results.runs["dim"] == 4 * 5 + 5 + 5 * 3 + 3).all()
    keys = set(results.runs["run"])
    # What the code does is part of the key, in another module too.
    (file.parent / "sizes_beside.py").write_text("WIDTH = 4\n# longer than before\n")
    gfopt_command("run", file, "--allow-code", "--out", "o")
    assert not keys & set(gfopt.load_results("o").runs["run"])


def test_the_console_script_runs_own_modules_in_parent_and_workers(tmp_path):
    file = own_network(tmp_path / "project")
    script = Path(sys.executable).with_name("gfopt")
    command = [script, "run", file, "--allow-code", "--out", tmp_path / "o", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Report: {tmp_path / 'o' / 'report.html'}" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "project"]
    results = gfopt.load_results(tmp_path / "o")
    assert (results.runs["status"] == "ok").all(), results.runs["message"].tolist()


def test_runs_that_crash_or_diverge_decide_the_exit_status(gfopt_command, tmp_path, inline, monkeypatch):
    file = own_network(tmp_path / "project")
    breaks = '{module: "mynet_beside:Breaks", how: {grid: [nan, well]}}'
    file.write_text(changed('{module: "mynet_beside:make", width: 5}', breaks.replace("[nan", '["nan"'), OWN))
    code, out, err = gfopt_command("run", file, "--allow-code", "--out", "o")
    assert code == 0, err
    assert out.count("diverged: flowers") == 2
    assert gfopt_command("status", "o")[0] == 0

    file.write_text(file.read_text().replace('"nan"', "raise"))

    def in_worker(*arguments):
        with monkeypatch.context() as patch:
            patch.setenv("GFOPT_TEST_PLACE", "worker")
            return execute(*arguments)

    monkeypatch.setattr("gfopt.study.study.execute", in_worker)
    code, out, err = gfopt_command("run", file, "--allow-code", "--out", "p")
    assert code == 1, err
    assert out.count("crashed: flowers") == 2
    assert "RuntimeError: the [bold]sensor[/bold] is unplugged" in " ".join(out.split())
    code, out, _ = gfopt_command("status", "p")
    assert code == 1
    assert "sensor" in out
    key = next(r["run"] for r in gfopt.load_results("p").runs.to_dict("records") if r["status"] == "crashed")
    code, _, err = gfopt_command("best", "p", "--run", key, "--out", "m.safetensors")
    assert code == 2
    assert "whose status is crashed" in err

    monkeypatch.setattr("gfopt.study.study.execute", execute)  # mended: only the crashed runs are tried again
    before = content(Path("p/runs"))
    code, _, err = gfopt_command("run", file, "--allow-code", "--out", "p")
    assert code == 0, err
    after = content(Path("p/runs"))
    assert {Path(path).parts[2] for path in after if after[path] != before.get(path)} == {
        row["run"] for row in gfopt.load_results("p").runs.to_dict("records") if row["network.how"] == "raise"
    }


# ------------------------------------------------------------------------------ the smaller commands


@pytest.mark.parametrize("problem", ["flowers", None])
def test_the_winner_as_a_file(problem, gfopt_command, finished):
    choice = () if problem is None else ("--problem", problem)
    code, out, _ = gfopt_command("best", finished.path, *choice, "--out", "m.safetensors")
    assert code == 0
    key = finished.best_run(problem)
    assert f"m.safetensors: run {key}, flowers" in out
    norm = finished.runs.set_index("run").loc[key, "network.norm"]
    plain = gfopt.build_network({"kind": "mlp", "in_features": 4, "hidden": [4], "out_features": 3, "norm": norm})
    plain.load_state_dict(load_file("m.safetensors"), strict=True)
    x = torch.randn(4, 4)
    assert torch.equal(plain.eval()(x), gfopt.load_model("m.safetensors")(x))
    other = finished.runs["run"].iloc[0]
    assert gfopt_command("best", finished.path, "--run", other[:9], "--out", "n.safetensors")[0] == 0
    assert gfopt.model_info("n.safetensors")["run"] == other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "zzz"], "run: expected the key of a run of this study, got 'zzz'"),
        (["--run", ""], "run: expected the key of a run of this study, got ''"),
        (["--problem", "flower"], "Did you mean 'flowers'?"),
        (["--out", "missing/m.safetensors"], "missing/m.safetensors: cannot be written"),
    ],
)
def test_a_winner_that_there_is_not(arguments, message, gfopt_command, finished):
    code, _, err = gfopt_command("best", finished.path, "--out", "m.safetensors", *arguments)
    assert code == 2
    assert message in err
    assert content() == {}


@pytest.mark.parametrize("what", ["optimizers", "networks", "norms", "datasets", "losses"])
def test_every_name_is_listed_with_a_line_about_it(what, gfopt_command):
    code, out, _ = gfopt_command("list", what)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == what
    for name in getattr(registry, what).names():
        (line,) = [line for line in lines if line.split() and line.split()[0] == name]
        assert len(line.split()) > 2, f"{name} has no description"


def test_everything_is_listed_without_a_choice(gfopt_command):
    code, out, _ = gfopt_command("list")
    assert code == 0
    assert [line for line in out.splitlines() if line in {listing.value for listing in cli.Listing}] == [
        listing.value for listing in cli.Listing
    ]


def test_a_new_study_runs_and_is_never_written_over(gfopt_command, inline):
    code, out, _ = gfopt_command("new", "my study.yaml")
    assert code == 0
    assert "gfopt run 'my study.yaml'" in out
    text = Path("my study.yaml").read_bytes()
    code, _, err = gfopt_command("new", "my study.yaml")
    assert code == 2
    assert "my study.yaml: expected a new file, got `one that exists`" in err
    assert Path("my study.yaml").read_bytes() == text
    assert gfopt_command("run", "my study.yaml", "--dry-run")[0] == 0
    code, _, err = gfopt_command("new", "missing/s.yaml")
    assert code == 2
    assert "missing/s.yaml: cannot be written" in err
    assert gfopt_command("new", ".")[0] == 2


def test_the_schema_is_json_that_names_what_there_is(gfopt_command):
    code, out, _ = gfopt_command("schema")
    assert code == 0
    schema = json.loads(out)
    assert schema["type"] == "object"
    for name in ("deap-ga", "cosine", "digits", "cross_entropy", "forward_equivalents"):
        assert name in out


def test_bench_prints_rates(gfopt_command, monkeypatch):
    monkeypatch.setattr("gfopt.engine.bench.ARCHITECTURES", {"64-4-10": (4,)})
    monkeypatch.setattr("gfopt.engine.bench.ROWS", (16,))
    before = torch.get_num_threads()
    code, out, _ = gfopt_command("bench", "--members", 2, "--repeats", 1, "--threads", 1, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["norm"] for row in rows] == ["none", "batch"]
    assert all(row["loop"] > 0 and row["native"] > 0 and row["vmap"] > 0 for row in rows)
    code, out, _ = gfopt_command("bench", "--members", 2, "--repeats", 1, "--threads", 1)
    assert code == 0
    assert out.count("64-4-10") == 2
    assert torch.get_num_threads() == before
    assert gfopt_command("bench", "--members", 1)[0] == 2


def test_python_m_gfopt_is_gfopt(tmp_path):
    for arguments, code in ((["--help"], 0), (["status", "nowhere"], 2)):
        command = [sys.executable, "-m", "gfopt", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
    assert "gfopt: nowhere: expected a results folder" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["run"], ["run", "s.yaml", "--frsh"], ["list", "colours"], ["best", "o"]]
)
def test_wrong_usage_has_status_2(arguments, gfopt_command):
    code, _, err = gfopt_command(*arguments)
    assert code == 2
    assert "Usage" in err


@pytest.mark.parametrize("command", ["status", "report"])
def test_what_is_no_results_folder_is_refused(command, gfopt_command):
    Path("notes.txt").write_text("mine")
    for place in ("nowhere", ".", "notes.txt"):
        code, _, err = gfopt_command(command, place)
        assert code == 2
        assert "expected" in err
    assert content() == {"notes.txt": b"mine"}


def test_an_interrupted_study_has_a_status(gfopt_command, finished):
    folder = shutil.copytree(finished.path, "copy")
    for name in ("runs.parquet", "curves.parquet"):
        (Path(folder) / name).unlink()
    for run in sorted((Path(folder) / "runs").iterdir())[:5]:
        shutil.rmtree(run)
    code, out, _ = gfopt_command("status", folder)
    assert code == 0
    assert "tiny: 7 of 12 runs on disk" in out
    shutil.rmtree(Path(folder) / "runs")
    code, out, _ = gfopt_command("status", folder)
    assert code == 0
    assert "tiny: 0 of 12 runs on disk" in out
    code, _, err = gfopt_command("report", folder)
    assert code == 2
    assert "Run the study first" in err


# ------------------------------------------------------------------------------ wrong input

FILE = changed("{name: iris}", "{path: d.csv, target: y}")
ROWS = ["a,b,y", *(f"{i},{i * 7 % 11},{'uv'[i % 2]}" for i in range(40))]
CSV = "\n".join(ROWS)
OTHER = "# A results folder of gfopt, schema 1. This file is rewritten at every start.\nname: other\nseed: 1\n"


def bad(text, *message, arguments=(), **files):
    """A study file (`None`: there is none), what the message must say, arguments, and files beside it."""
    return {"text": text, "message": message, "arguments": arguments, "files": files}


WRONG = {
    "near miss of a key": bad(changed("repeats", "repeat"), "repeat: expected a known key", "Did you mean 'repeats'?"),
    "near miss below": bad(
        changed("batch_size", "batchsize"), "problems.flowers.batchsize: expected a known key", "Did you mean 'batch_size'"
    ),
    "optimizer": bad(changed("deap-ga", "deap-gaa"), "optimizers.ga.kind", "got 'deap-gaa'. Did you mean 'deap-ga'?"),
    "dataset": bad(changed("iris", "irsi"), "problems.flowers.dataset.name", "got 'irsi'. Did you mean 'iris'?"),
    "norm": bad(
        changed("[4]}", "[4], norm: bacth}"), "problems.flowers.network.norm", "got 'bacth'. Did you mean 'batch'?"
    ),
    "type": bad(changed("repeats: 1", "repeats: two"), "repeats: expected a whole number, got 'two'"),
    "type below": bad(changed("[4]", "four"), "problems.flowers.network.hidden: expected a list", "got 'four'"),
    "empty grid": bad(changed("population: 8", "population: {grid: []}"), "optimizers.ga.population", "an empty grid"),
    "negative budget": bad(changed("40", "-40"), "budget.evaluations: expected a positive number, got -40"),
    "no budget": bad(changed("budget: {evaluations: 40}\n", ""), "budget: expected a budget, got none", "Add one"),
    "no repeats": bad(changed("repeats: 1", "repeats: 0"), "repeats: expected at least 1, got 0"),
    "loss of another task": bad(
        changed("iris", "diabetes"), "problems.flowers.loss: expected a loss for regression", "got 'cross_entropy'", "mse"
    ),
    "layer norm of one": bad(
        changed("[4]}", "[1], norm: layer}"), "problems.flowers.network.hidden[0]", "at least 2 units", "got 1", "widen it"
    ),
    "large batch": bad(
        changed("batch_size: 32", "batch_size: 3200"), "problems.flowers: batch_size", "105 training rows", "got 3200", "Leave"
    ),
    "csv with nan": bad(
        FILE, "d.csv: column 'a': row 6: expected a value", "an empty cell or NaN", "Fill it in", **{"d.csv": CSV.replace("\n5,", "\nnan,")}
    ),
    "csv with text": bad(
        FILE, "d.csv: column 'a': row 6: expected a number, got 'five'", "Encode", **{"d.csv": CSV.replace("\n5,", "\nfive,")}
    ),
    "no csv": bad(FILE, "problems.flowers.dataset", "d.csv: expected an existing file, got `no such file`"),
    "no study": bad(None, "s.yaml: expected a study file, got no such file", "`gfopt new FILE`"),
    "override of nothing": bad(
        BASE, "--set problems.flower.batch_size=3: expected a path that exists", "Did you mean problems.flowers.batch_size?",
        arguments=("--set", "problems.flower.batch_size=3"),
    ),
    "no mapping": bad("- a\n- b\n", "expected a mapping of keys to values, got `a list`"),
    "another study": bad(
        BASE, "o: name: expected the study that is there, with 'other', got 'small'", "--fresh",
        arguments=("--out", "o"), **{"o/study.yaml": OTHER},
    ),
    "foreign files": bad(
        BASE, "o: expected an empty folder or a results folder", "thesis.tex", "--out",
        arguments=("--out", "o"), **{"o/thesis.tex": "mine"},
    ),
    "foreign study.yaml": bad(
        BASE, "o: expected an empty folder or a results folder", "not written by gfopt",
        arguments=("--out", "o", "--fresh"), **{"o/study.yaml": BASE},
    ),
    "name as a path": bad(changed("name: small", "name: ../../x"), "name: expected a name of letters", "For example 'x'"),
    "code": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet:make"}'), "network.module", "code of your own", "--allow-code"
    ),
    "no such module": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "no_such_net:make"}'), "problems.flowers", "no_such_net",
        arguments=("--allow-code",),
    ),
    "no such function": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet_bad:mak"}'), "problems.flowers", "Did you mean 'make'",
        arguments=("--allow-code",), **{"mynet_bad.py": "def make():\n    return None\n"},
    ),
    "no network": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet_none:make"}'), "problems.flowers", "a factory that returns",
        arguments=("--allow-code",), **{"mynet_none.py": "def make():\n    return None\n"},
    ),
    "module with an error": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet_error:make"}'), "problems.flowers", "ZeroDivisionError",
        arguments=("--allow-code",), **{"mynet_error.py": "1 / 0\n"},
    ),
    "gradient of a step": bad(
        changed("[4]}", "[4], activation: step}"), "optimizers.adam: problems.flowers: Adam needs a gradient", "Step"
    ),
    "budget that is not spent": bad(
        changed("evaluations: 40", "backward_samples: 40"), "optimizers.ga", "`backward_samples`", "Use forward_equivalents"
    ),
    "baseline": bad(BASE + "report: {baseline: adan}\n", "report.baseline", "got 'adan'. Did you mean 'adam'?"),
    "workers": bad(BASE, "--workers: expected at least 1, got 0", arguments=("--workers", "0")),
    "engine": bad(BASE, "--engine: expected local, got 'dask'", arguments=("--engine", "dask")),
    # nastier ones
    "byte order mark": bad("\ufeff" + changed("repeats: 1", "repeats: 0"), "s.yaml: repeats: expected at least 1"),
    "other encoding": bad(BASE.encode("utf-16"), "s.yaml: expected UTF-8 text, got byte 0xff"),
    "empty": bad("", "expected a mapping of keys to values, got `nothing`"),
    "binary": bad(bytes(range(256)), "expected UTF-8 text"),
    "torn": bad("name: [a\n", "line 2, column 1: expected YAML"),
    "tab": bad(changed("  adam", "\tadam"), "expected YAML, got an error: found character"),
    "two documents": bad(BASE + "---\n" + BASE, "another document"),
    "python in yaml": bad("name: !!python/object/apply:os.system ['touch hacked']\n", "could not determine a constructor"),
    "huge number": bad(changed("repeats: 1", "repeats: 1" + "0" * 400), "at most 64 bits, got one of"),
    "huge study": bad(changed("repeats: 1", "repeats: 1000000000"), "at most 100000 runs"),
    "not a number": bad(changed("40", ".nan"), "budget.evaluations: expected a finite number, got nan"),
    "number as text": bad(changed("40", '"40"'), "budget.evaluations: expected a positive number, got '40'"),
    "unicode name": bad(changed("flowers", "blümchen"), "problems.blümchen: expected a name of letters"),
    "grid of grids": bad(changed("population: 8", "population: {grid: [{grid: [8]}, 9]}"), "got a grid inside a grid"),
    "twice the same": bad(changed("population: 8", "population: {grid: [8, 8.0]}"), "values that differ"),
    "key twice": bad(BASE + "seed: 4\n", "the key 'seed' stands twice"),
    "bomb": bad("a: &a [1,1,1,1]\nb: &b [*a,*a]\n" + "".join(f"{chr(99 + i)}: &{chr(99 + i)} [*{chr(98 + i)},*{chr(98 + i)},*{chr(98 + i)},*{chr(98 + i)},*{chr(98 + i)},*{chr(98 + i)}]\n" for i in range(12)), "s.yaml"),
    "true for a number": bad(changed("repeats: 1", "repeats: true"), "repeats: expected a whole number, got True"),
    "no problem": bad(changed("iris}", "iris}\n    loss: null"), "problems.flowers.loss"),
    "override that is no yaml": bad(BASE, "--set repeats=[1: ", "expected YAML", arguments=("--set", "repeats=[1")),
    "override without value": bad(BASE, "expected KEY=VALUE", arguments=("--set", "repeats")),
    "override of a new name": bad(BASE, "path that exists", arguments=("--set", "optimizers.x.kind=adam")),
    "wrong value from an override": bad(BASE, "s.yaml with --set repeats=0: repeats", arguments=("--set", "repeats=0")),
    "out is a file": bad(BASE, "f: expected a folder, got `a file`", arguments=("--out", "f"), f="x"),
    "out below a file": bad(BASE, "f/g: expected a folder that can be written to", arguments=("--out", "f/g"), f="x"),
    "out is here": bad(BASE, "s.yaml and no study.yaml", arguments=("--out", "")),
    "csv without rows": bad(FILE, "d.csv: expected at least one row", **{"d.csv": "a,b,y\n"}),
    "csv without the column": bad(
        FILE.replace("target: y", "target: yy"), "target: expected the name of a column, got 'yy'", "Did you mean 'y'", **{"d.csv": CSV}
    ),
    "csv with infinity": bad(FILE, "a finite number, got inf", **{"d.csv": CSV.replace("\n5,", "\ninf,")}),
    "npz with objects": bad(FILE.replace("d.csv", "d.npz"), "d.npz: expected an NPZ file", **{"d.npz": "x"}),
    "no rows to train on": bad(
        changed("iris}", "iris, test_fraction: 0.6, validation_fraction: 0.5}"), "a sum below 1, got 1.1"
    ),
    "batch norm of a few rows": bad(
        changed("[4]}", "[4], norm: batch}").replace("batch_size: 32", "batch_size: 4"), "at least 8 rows", "got 4"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_message_and_nothing_is_written(case, gfopt_command, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the interpreter's own files are not gfopt's
    if case["text"] is not None:
        data = case["text"] if isinstance(case["text"], bytes) else case["text"].encode()
        Path("s.yaml").write_bytes(data)
    for name, text in case["files"].items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    before = content()
    code, out, err = gfopt_command("run", "s.yaml", *case["arguments"])
    flat = " ".join(err.split())
    assert code == 2, out + err
    assert content() == before
    assert err.startswith("gfopt: ")
    assert "Traceback" not in err
    assert "s.yaml: s.yaml" not in err
    for part in case["message"]:
        assert part in flat


def test_the_message_of_a_study_file_begins_with_its_name(gfopt_command):
    for key in ("type", "large batch", "gradient of a step", "loss of another task", "no csv"):
        Path("s.yaml").write_text(WRONG[key]["text"])
        assert gfopt_command("run", "s.yaml")[2].startswith("gfopt: s.yaml: ")


def test_fresh_removes_nothing_when_the_input_is_wrong(gfopt_command, finished):
    shutil.copytree(finished.path, "o")
    Path("s.yaml").write_text(changed("repeats: 1", "repeats: 0"))
    before = content()
    for arguments in (["s.yaml"], ["s.yaml", "--set", "repeats=1", "--workers", "0"], ["t.yaml"]):
        assert gfopt_command("run", *arguments, "--out", "o", "--fresh")[0] == 2
        assert content() == before


def test_a_folder_as_a_study(gfopt_command):
    Path("s.yaml").mkdir()
    code, _, err = gfopt_command("run", "s.yaml")
    assert code == 2
    assert "got a folder" in err


def test_a_read_only_place(gfopt_command, monkeypatch):
    """The system's answer is put in its mouth: the superuser may write everywhere."""
    Path("s.yaml").write_text(BASE)
    Path("locked").mkdir()
    before = content()
    monkeypatch.setattr("gfopt.store.layout.os.access", lambda place, mode: Path(place).name != "locked")
    code, _, err = gfopt_command("run", "s.yaml", "--out", "locked/o")
    assert code == 2
    assert "locked`, which is read-only" in err
    assert content() == before


def test_a_link_to_a_folder_is_followed_and_a_dangling_one_refused(gfopt_command, inline):
    Path("s.yaml").write_text(BASE)
    Path("real").mkdir()
    Path("link").symlink_to("real")
    Path("dangling").symlink_to("nowhere")
    assert gfopt_command("run", "s.yaml", "--out", "link")[0] == 0
    assert Path("link").is_symlink()
    assert (Path("real") / "runs.parquet").exists()
    before = content()
    code, _, err = gfopt_command("run", "s.yaml", "--out", "dangling")
    assert code == 2
    assert "dangling" in err
    assert content() == before


# ------------------------------------------------------------------------------ interrupted


@pytest.mark.slow
def test_ctrl_c_leaves_a_folder_that_the_same_command_completes(tmp_path, study_file, finished):
    """Interrupted after a few runs, then again while the workers start, then left alone: the same table."""
    command = [sys.executable, "-m", "gfopt", "run", str(study_file), "--out", "o", "--workers", "2"]
    runs = tmp_path / "o" / "runs"

    def interrupted(enough):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 120
        while not enough() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, out + err
        assert "the same command continues" in " ".join(err.split())
        assert "Traceback" not in err

    def whole():
        return [p for p in runs.iterdir() if re.fullmatch("[0-9a-f]{16}", p.name)] if runs.is_dir() else []

    interrupted(lambda: len(whole()) >= 3)
    kept = {path.name: (path / "curve.parquet").read_bytes() for path in whole()}
    assert 3 <= len(kept) < 12
    for path in whole():
        assert {file.name for file in path.iterdir()} == {"run.json", "curve.parquet", "best.safetensors"}
    done = subprocess.run(
        [sys.executable, "-m", "gfopt", "status", "o"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"{len(kept)} of 12 runs on disk" in done.stdout
    interrupted(lambda: (tmp_path / "o" / "environment.json").exists())
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: (runs / name / "curve.parquet").read_bytes() for name in kept} == kept
    measured = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
    found = gfopt.load_results(tmp_path / "o")
    for one, other in ((found.runs, finished.runs), (found.curves, finished.curves)):
        assert one.drop(columns=measured).equals(other.drop(columns=measured))
    assert not [path.name for path in runs.iterdir() if not re.fullmatch("[0-9a-f]{16}", path.name)]
