"""The command line: what it prints, what it writes, its exit status; and what it says to wrong input."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from command_line import BASE, changed, content
from safetensors.torch import load_file

import gfopt
from gfopt import cli, registry
from gfopt.study.execute import execute

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


@pytest.mark.parametrize("place", ["missing/r.html", "."])
def test_a_report_that_cannot_be_written_is_said(place, gfopt_command, finished):
    code, _, err = gfopt_command("report", finished.path, "--out", place)
    assert code == 2
    assert f"{place}: cannot be written" in err
    assert content() == {}


def test_a_terminal_without_the_signs_still_gets_the_table(gfopt_command, finished, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    assert gfopt_command("report", finished.path, "--out", "r.html")[0] == 0
    assert b"Report: r.html" in written.getvalue()


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


@pytest.mark.slow
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
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
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


def test_bench_shows_tables_and_writes_its_figures(gfopt_command, monkeypatch):
    from gfopt.bench.floor import Hardware

    monkeypatch.setattr("gfopt.bench.run.measure_hardware", lambda device: Hardware(1e11, 1e-9, 1e-9))
    before = torch.get_num_threads()
    sizes = ("--network", "64-4-10", "--batch", 16, "--members", "2,3", "--repeats", 1, "--threads", 1)
    call = ("bench", "--only", "evaluation", *sizes, "--json", "b.json", "--markdown", "b.md")
    code, out, err = gfopt_command(*call)
    assert code == 0, err
    assert "Evaluations a second of 64-4-10" in out
    assert "16 x 2" in out
    assert "16 x 3" in out
    assert torch.get_num_threads() == before
    plain = json.loads(Path("b.json").read_text())
    assert [cell["labels"]["members"] for cell in plain["cells"]["evaluation"]] == [2, 3]
    assert Path("b.md").read_text().startswith("# Benchmarks")

    code, again, _ = gfopt_command("bench", "--from", "b.json")
    assert code == 0
    assert again == out
    code, figures, _ = gfopt_command("bench", "--from", "b.json", "--json", "-")
    assert code == 0
    assert json.loads(figures) == plain


def test_bench_explains_and_times_nothing(gfopt_command, monkeypatch):
    monkeypatch.setattr("gfopt.bench.run_bench", None)
    code, out, _ = gfopt_command("bench", "--explain", "--network", "64-4-10", "--batch", "16,32")
    assert code == 0
    assert out.index("64-4-10, batch 16:") < out.index("64-4-10, batch 32:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--members", "1"], "members: expected a whole number of at least 2, got 1"),
        (["--members", "many"], "--members: expected whole numbers with commas between, got 'many'"),
        (["--batch", "16,x"], "--batch: expected whole numbers"),
        (["--only", "speed"], "only: expected a section, got 'speed'"),
        (["--norms", "bach"], "Did you mean 'batch'"),
        (["--json", "missing/b.json"], "missing/b.json: cannot be written: no such folder"),
        (["--markdown", "missing/b.md"], "missing/b.md: cannot be written: no such folder"),
        (["--from", "missing.json"], "missing.json: cannot be read"),
        (["--from", "not.json"], "not.json: expected JSON"),
        (["--from", "other.json"], "other.json: expected what `gfopt bench --json` writes"),
    ],
)
def test_bench_refuses_what_is_wrong_before_it_starts(gfopt_command, monkeypatch, arguments, words):
    monkeypatch.setattr("gfopt.bench.run_bench", None)
    Path("not.json").write_text("{")
    Path("other.json").write_text("{}")
    code, out, err = gfopt_command("bench", *arguments)
    assert code == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err + out


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
        whole_run = {"run.json", "curve.parquet", "diagnostics.parquet", "best.safetensors"}
        assert {file.name for file in path.iterdir()} == whole_run
    done = subprocess.run(
        [sys.executable, "-m", "gfopt", "status", "o"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"{len(kept)} of 12 runs on disk" in done.stdout
    begun = (tmp_path / "o" / "study.yaml").stat().st_mtime_ns
    interrupted(lambda: (tmp_path / "o" / "study.yaml").stat().st_mtime_ns != begun)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: (runs / name / "curve.parquet").read_bytes() for name in kept} == kept
    measured = ["seconds", "ask_seconds", "evaluate_seconds", "tell_seconds", "peak_memory"]
    found = gfopt.load_results(tmp_path / "o")
    for one, other in ((found.runs, finished.runs), (found.curves, finished.curves)):
        assert one.drop(columns=measured).equals(other.drop(columns=measured))
    assert not [path.name for path in runs.iterdir() if not re.fullmatch("[0-9a-f]{16}", path.name)]


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.05, 0.5])
def test_two_ctrl_c_end_it_with_the_same_status_and_leave_nobody_behind(tmp_path, study_file, pause):
    command = [sys.executable, "-m", "gfopt", "run", study_file, "--workers", "2", "--out", "o"]
    process = subprocess.Popen(
        [*command, "--set", "repeats=500"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not list(tmp_path.glob("o/runs/" + "[0-9a-f]" * 16)):
        time.sleep(0.02)
    for _ in range(2):  # as a terminal does: to everybody
        with suppress(ProcessLookupError):  # it was quick
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker is still there")


# ------------------------------------------------------------------------------ diagnoses

DIAGNOSED = changed(
    "optimizers:",
    "  bowl:\n    function: {name: sphere, dim: 3}\noptimizers:",
    changed("[4]}", "[5, 4], activation: sigmoid, norm: {grid: [none, batch]}}"),
)


def test_a_diagnosis_shows_every_layer_within_80_columns_and_writes_nothing(gfopt_command, monkeypatch):
    monkeypatch.setattr(cli.out, "width", 80)
    Path("s.yaml").write_text(DIAGNOSED)
    before = content()
    code, out, err = gfopt_command("diagnose", "s.yaml", "--repeats", "1")
    assert code == 0, err
    assert content() == before
    assert max(len(line) for line in out.splitlines()) <= 80
    for cell in ("flowers[network.norm=none]", "flowers[network.norm=batch]", "bowl"):
        assert cell in out
    assert "it has no network" in out.split("\nbowl\n")[1]
    assert out.count("layers.2") == 2
    assert "backward gain" in out
    assert "rank correlation of minibatch and full losses" in out
    assert "weight scale" in out


def test_a_diagnosis_as_json_and_as_a_table(gfopt_command):
    Path("s.yaml").write_text(DIAGNOSED)
    arguments = ("diagnose", "s.yaml", "--problem", "flowers", "--repeats", "1", "--set", "seed=4")
    code, out, err = gfopt_command(*arguments, "--json", "--out", "d.csv")
    assert code == 0, err
    told = json.loads(out)
    table = pd.read_csv("d.csv", keep_default_na=False)
    assert len(told["diagnostics"]) == len(table) > 50
    assert {row["quantity"] for row in told["diagnostics"]} == set(table["quantity"])
    assert all(set(found) == {"topic", "panel", "text"} for found in told["findings"])
    assert gfopt_command(*arguments, "--out", "d.parquet")[0] == 0
    again = pd.read_parquet("d.parquet")
    assert again["value"].to_numpy() == pytest.approx(pd.read_csv("d.csv")["value"].to_numpy(), nan_ok=True)


@pytest.mark.parametrize("arguments", [["--repeats", "1"], ["--problem", "bowl"]])
def test_a_grid_of_functions_has_nothing_to_look_into(arguments, gfopt_command):
    """Its columns are then in no row of the table."""
    Path("s.yaml").write_text(DIAGNOSED.replace("dim: 3", "dim: {grid: [3, 4]}"))
    code, out, err = gfopt_command("diagnose", "s.yaml", *arguments)
    assert code == 0, err
    assert out.count("it has no network") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problem", "flower"], "Did you mean 'flowers'?"),
        (["--out", "d.xlsx"], "--out: expected a file that ends in .csv or .parquet, got 'd.xlsx'"),
        (["--out", "missing/d.csv"], "missing/d.csv: cannot be written"),
        (["--repeats", "0"], "--repeats"),
        (["--set", "problems.flowers.network.hiden=[3]"], "hiden"),
    ],
)
def test_a_diagnosis_of_wrong_input_is_one_message(arguments, message, gfopt_command):
    Path("s.yaml").write_text(DIAGNOSED)
    before = content()
    code, _, err = gfopt_command("diagnose", "s.yaml", *arguments)
    assert (code, content()) == (2, before)
    assert message in " ".join(err.split())
