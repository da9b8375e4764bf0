"""A package of somebody else's: installed, listed, run in a study, and tested by the contract."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "example"
STUDY = """
name: plugged
seed: 1
repeats: 1
budget: {evaluations: 300}
problems:
  rings:
    dataset: {name: rings, samples: 100}
    network: {kind: maxout, hidden: 4, norm: mean_deviation}
    loss: focal
    batch_size: 32
optimizers:
  compass: {kind: compass-search, directions: 4}
  adam: {kind: adam}
"""
# Broken in every way that a package can be: it is not there, it fails, it is something else, its name is taken.
BROKEN = """
[gfopt.optimizers]
absent = nowhere_at_all:Thing
failing = broken_plugin:Missing
wrong = broken_plugin:thing
ga = broken_plugin:thing
[gfopt.losses]
failing_loss = failing_plugin:Thing
[gfopt.norms]
wrong_norm = broken_plugin:thing
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the example package installed in it, as pip does it."""
    base = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, base / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    options = ["--disable-pip-version-check", "--no-compile", "--target", str(base / "site"), str(base / "source")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return base / "site"


@pytest.fixture(scope="module")
def broken_site(site):
    """The same with a package beside it in which nothing works."""
    (site / "broken_plugin-1.0.dist-info").mkdir()
    (site / "broken_plugin-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\n")
    (site / "broken_plugin-1.0.dist-info" / "entry_points.txt").write_text(BROKEN)
    (site / "broken_plugin.py").write_text("thing = 3\n")
    (site / "failing_plugin.py").write_text("raise RuntimeError('the sensor is unplugged')\n")
    return site


def run(site, folder, *arguments, code=0):
    """What a command prints that finds the packages of `site`."""
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


# Starting an interpreter with torch takes seconds: what only asks is asked in one.
ASK = """
import contextlib, io, json, sys
import gfopt
from gfopt import cli
def call(*arguments):
    out, err = io.StringIO(), io.StringIO()
    cli.out.file, cli.err.file, code = out, err, 0
    with contextlib.redirect_stdout(out):
        try:
            cli.main(list(arguments))
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()
problem = gfopt.SupervisedProblem(
    {"kind": "maxout", "hidden": 4, "norm": "mean_deviation"}, gfopt.load_dataset("rings", samples=100),
    loss={"kind": "focal", "gamma": 1.0}, batch_size=32, device="cpu")
run = gfopt.minimize(problem, "compass-search", budget={"evaluations": 300}, directions=4)
answers = {"run": [run.status.value, run.curve["loss"].iloc[0], run.best_loss]}
for words in json.loads(sys.argv[1]):
    answers[" ".join(words)] = call(*words)
print(json.dumps(answers))
"""
COMMANDS = [["list", "--json"], ["list"], ["schema"], ["run", "wrong.yaml"], ["run", "twice.yaml"]]


@pytest.fixture(scope="module")
def answers(broken_site, tmp_path_factory):
    """What a run from Python gave, and the exit status, output and errors of each command."""
    folder = tmp_path_factory.mktemp("asked")
    for name, kind in [("wrong", "wrong"), ("twice", "ga")]:
        (folder / f"{name}.yaml").write_text(STUDY.replace("adam: {kind: adam}", f"other: {{kind: {kind}}}"))
    return json.loads(run(broken_site, folder, "-c", ASK, json.dumps(COMMANDS)))


def test_five_foreign_parts_train_beside_a_broken_package(answers):
    status, first, best = answers["run"]
    assert status == "ok"
    assert best < first


@pytest.mark.slow
def test_a_study_of_five_foreign_parts_runs_beside_a_broken_package(broken_site, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    run(broken_site, tmp_path, "-m", "gfopt", "run", "study.yaml", "--out", "o", "--workers", "1")
    read = "import gfopt; print(gfopt.load_results('o').runs[['optimizer', 'status', 'loss', 'test_loss']].to_json())"
    found = json.loads(run(broken_site, tmp_path, "-c", read))
    assert set(found["status"].values()) == {"ok"}
    assert set(found["optimizer"].values()) == {"compass", "adam"}


def test_everything_is_listed_with_its_source_and_its_error(answers):
    listed = json.loads(answers["list --json"][1])
    entries = {(kind, entry["name"]): entry for kind, found in listed.items() for entry in found}
    for kind, name in [
        ("optimizers", "compass-search"),
        ("norms", "mean_deviation"),
        ("networks", "maxout"),
        ("datasets", "rings"),
        ("losses", "focal"),
    ]:
        assert entries[kind, name]["source"] == "gfopt-example"
        assert entries[kind, name]["about"]
        assert not entries[kind, name]["error"]
    can = entries["optimizers", "compass-search"]["capabilities"]
    assert can == {"gradient": False, "max_dim": None, "device": "any", "continuous": True, "evaluations": 16}
    for kind, name, words in [
        ("optimizers", "absent", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("optimizers", "failing", "has no attribute 'Missing'"),
        ("optimizers", "wrong", "to be a subclass of gfopt.optimizers.base:Optimizer, got 3"),
        ("optimizers", "ga", "the optimizer 'ga' is defined twice: broken_plugin:thing of broken-plugin clashes with"),
        ("losses", "failing_loss", "RuntimeError: the sensor is unplugged"),
        ("norms", "wrong_norm", "to be a subclass of gfopt.nn.normalization.base:Normalization, got 3"),
    ]:
        assert words in entries[kind, name]["error"]
        assert "broken-plugin" in entries[kind, name]["source"]
    assert max(map(len, answers["list"][1].splitlines())) <= 80


@pytest.mark.parametrize(
    ("study", "words"), [("wrong", "of broken-plugin to be a subclass"), ("twice", "Uninstall one of them")]
)
def test_a_broken_one_is_refused_where_a_study_names_it(study, words, answers):
    code, _, message = answers[f"run {study}.yaml"]
    assert code == 2
    assert "optimizers.other.kind" in message
    assert words in " ".join(message.split())


def test_the_schema_knows_the_options_of_foreign_parts(answers):
    schema = json.loads(answers["schema"][1])
    definitions = schema["$defs"]
    assert definitions["optimizer.compass-search"]["properties"]["directions"]["description"]
    assert {"network.maxout", "norm.mean_deviation", "dataset.rings"} <= set(definitions)
    assert "focal" in json.dumps(definitions["problem.data"]["properties"]["loss"])
    assert "optimizer.wrong" not in definitions


@pytest.mark.slow
def test_the_contract_runs_where_the_package_is(site, tmp_path):
    check = EXAMPLE / "tests" / "test_compass_search.py"
    run(site, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", tmp_path, check)
