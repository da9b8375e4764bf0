"""Wrong input on the command line: one message that says where, what and how to mend it; nothing is written."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from command_line import BASE, changed, content

FILE = changed("{name: iris}", "{path: d.csv, target: y}")
ROWS = ["a,b,y", *(f"{i},{i * 7 % 11},{'uv'[i % 2]}" for i in range(40))]
CSV = "\n".join(ROWS)
BOMB = "a: &a [1, 1]\n" + "".join(
    f"{x}: &{x} [{', '.join([f'*{y}'] * 9)}]\n" for y, x in zip("abcdefgh", "bcdefghi", strict=True)
)
OTHER = "# A results folder of gfopt, schema 1. This file is rewritten at every start.\nname: other\nseed: 1\n"


def bad(text, *message, arguments=(), **files):
    """A study file (`None`: there is none), what the message must say, arguments, and files beside it."""
    return {"text": text, "message": message, "arguments": arguments, "files": files}


WRONG = {
    "near miss of a key": bad(changed("repeats", "repeat"), "repeat: expected a known key", "Did you mean 'repeats'?"),
    "near miss below": bad(
        changed("batch_size", "batchsize"),
        "problems.flowers.batchsize: expected a known key",
        "Did you mean 'batch_size'",
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
        changed("iris", "diabetes"),
        "problems.flowers.loss: expected a loss for regression",
        "got 'cross_entropy'",
        "mse",
    ),
    "layer norm of one": bad(
        changed("[4]}", "[1], norm: layer}"),
        "problems.flowers.network.hidden[0]",
        "at least 2 units",
        "got 1",
        "widen it",
    ),
    "large batch": bad(
        changed("batch_size: 32", "batch_size: 3200"),
        "problems.flowers: batch_size",
        "105 training rows",
        "got 3200",
        "Leave",
    ),
    "csv with nan": bad(
        FILE,
        "d.csv: column 'a': row 6: expected a value",
        "an empty cell or NaN",
        "Fill it in",
        **{"d.csv": CSV.replace("\n5,", "\nnan,")},
    ),
    "csv with text": bad(
        FILE,
        "d.csv: column 'a': row 6: expected a number, got 'five'",
        "Encode",
        **{"d.csv": CSV.replace("\n5,", "\nfive,")},
    ),
    "no csv": bad(FILE, "problems.flowers.dataset", "d.csv: expected an existing file, got `no such file`"),
    "no study": bad(None, "s.yaml: expected a study file, got no such file", "`gfopt new FILE`"),
    "override of nothing": bad(
        BASE,
        "--set problems.flower.batch_size=3: expected a path that exists",
        "Did you mean problems.flowers.batch_size?",
        arguments=("--set", "problems.flower.batch_size=3"),
    ),
    "no mapping": bad("- a\n- b\n", "expected a mapping of keys to values, got `a list`"),
    "another study": bad(
        BASE,
        "o: name: expected the study that is there, with 'other', got 'small'",
        "--fresh",
        arguments=("--out", "o"),
        **{"o/study.yaml": OTHER},
    ),
    "foreign files": bad(
        BASE,
        "o: expected an empty folder or a results folder",
        "thesis.tex",
        "--out",
        arguments=("--out", "o"),
        **{"o/thesis.tex": "mine"},
    ),
    "foreign study.yaml": bad(
        BASE,
        "o: expected an empty folder or a results folder",
        "not written by gfopt",
        arguments=("--out", "o", "--fresh"),
        **{"o/study.yaml": BASE},
    ),
    "name as a path": bad(
        changed("name: small", "name: ../../x"), "name: expected a name of letters", "For example 'x'"
    ),
    "code": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet:make"}'),
        "network.module",
        "code of your own",
        "--allow-code",
    ),
    "no such module": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "no_such_net:make"}'),
        "problems.flowers",
        "no_such_net",
        arguments=("--allow-code",),
    ),
    "no such function": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet_bad:mak"}'),
        "problems.flowers",
        "Did you mean 'make'",
        arguments=("--allow-code",),
        **{"mynet_bad.py": "def make():\n    return None\n"},
    ),
    "no network": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet_none:make"}'),
        "problems.flowers",
        "a factory that returns",
        arguments=("--allow-code",),
        **{"mynet_none.py": "def make():\n    return None\n"},
    ),
    "module with an error": bad(
        changed("{kind: mlp, hidden: [4]}", '{module: "mynet_error:make"}'),
        "problems.flowers",
        "ZeroDivisionError",
        arguments=("--allow-code",),
        **{"mynet_error.py": "1 / 0\n"},
    ),
    "gradient of a step": bad(
        changed("[4]}", "[4], activation: step}"), "optimizers.adam: problems.flowers: Adam needs a gradient", "Step"
    ),
    "budget that is not spent": bad(
        changed("evaluations: 40", "backward_samples: 40"),
        "optimizers.ga",
        "`backward_samples`",
        "Use forward_equivalents",
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
    "python in yaml": bad(
        "name: !!python/object/apply:os.system ['touch hacked']\n", "could not determine a constructor"
    ),
    "huge number": bad(changed("repeats: 1", "repeats: 1" + "0" * 400), "at most 64 bits, got one of"),
    "huge study": bad(changed("repeats: 1", "repeats: 1000000000"), "at most 100000 runs"),
    "not a number": bad(changed("40", ".nan"), "budget.evaluations: expected a finite number, got nan"),
    "number as text": bad(changed("40", '"40"'), "budget.evaluations: expected a positive number, got '40'"),
    "unicode name": bad(changed("flowers", "blümchen"), "problems.blümchen: expected a name of letters"),
    "grid of grids": bad(changed("population: 8", "population: {grid: [{grid: [8]}, 9]}"), "got a grid inside a grid"),
    "twice the same": bad(changed("population: 8", "population: {grid: [8, 8.0]}"), "values that differ"),
    "key twice": bad(BASE + "seed: 4\n", "the key 'seed' stands twice"),
    "bomb": bad(BOMB, "s.yaml", "expected"),
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
        FILE.replace("target: y", "target: yy"),
        "target: expected the name of a column, got 'yy'",
        "Did you mean 'y'",
        **{"d.csv": CSV},
    ),
    "csv with infinity": bad(FILE, "a finite number, got inf", **{"d.csv": CSV.replace("\n5,", "\ninf,")}),
    "npz with objects": bad(FILE.replace("d.csv", "d.npz"), "d.npz: expected an NPZ file", **{"d.npz": "x"}),
    "no rows to train on": bad(
        changed("iris}", "iris, test_fraction: 0.6, validation_fraction: 0.5}"), "a sum below 1, got 1.1"
    ),
    "batch norm of a few rows": bad(
        changed("[4]}", "[4], norm: batch}").replace("batch_size: 32", "batch_size: 4"), "at least 8 rows", "got 4"
    ),
}


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
    assert "expected" in flat or "needs a gradient" in flat
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
