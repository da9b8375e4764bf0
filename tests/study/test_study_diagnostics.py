"""Diagnostics in a study: recorded for every run, collected, kept through interruptions, part of the key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import gfopt
from gfopt.errors import ConfigError, StoreError

CONTRACT = {
    "problem",
    "repeat",
    "optimizer",
    "run",
    "step",
    "forward_equivalents",
    "quantity",
    "layer",
    "name",
    "value",
}
ASKED = "diagnostics=[saturation, population]"


def test_every_run_of_a_network_records_its_gradient_flow(finished):
    found = finished.diagnostics
    assert set(found.columns) == CONTRACT | {"network.norm"}
    starts = found[found["run"].isna()]
    assert starts["optimizer"].isna().all()
    assert (starts["step"] == 0).all()
    assert (starts["forward_equivalents"] == 0).all()
    along = found[found["run"].notna()]
    assert (along["step"] > 0).all()
    runs = finished.runs[finished.runs["problem"] == "flowers"]
    assert set(along["run"]) == set(runs["run"])
    one = along.drop_duplicates("run").set_index("run").sort_index()
    who = ["problem", "network.norm", "optimizer", "repeat"]
    pd.testing.assert_frame_equal(one[who], runs.set_index("run").sort_index()[who], check_dtype=False)
    assert set(found["quantity"]) == {"gradient_norm", "weight_gradient_norm", "backward_gain"}
    last = along.groupby("run")["step"].max()
    assert last.to_dict() == runs.set_index("run")["steps"].to_dict()


def test_an_interrupted_study_keeps_what_was_measured(finished, tmp_path):
    folder = Path(shutil.copytree(finished.path, tmp_path / "copy"))
    lost = finished.diagnostics["run"].dropna().iloc[0]
    for name in ("runs.parquet", "curves.parquet"):  # as they are while a study goes on
        (folder / name).unlink()
    shutil.rmtree(folder / "runs" / lost)
    found = gfopt.load_results(folder).diagnostics
    wanted = finished.diagnostics[finished.diagnostics["run"] != lost]
    by = ["run", "step", "quantity", "layer", "repeat", "network.norm"]
    pd.testing.assert_frame_equal(
        found.sort_values(by, ignore_index=True)[wanted.columns], wanted.sort_values(by, ignore_index=True)
    )


def test_what_is_asked_for_is_recorded_and_changes_no_curve(study_file, finished, tmp_path, inline):
    results = gfopt.load_study(study_file, [ASKED, "repeats=1"]).run(tmp_path / "out")
    found = results.diagnostics
    assert set(found[found["run"].isna()]["quantity"]) == {"saturation_fraction", "dead_share"}
    functions = found[found["problem"] == "bowl"]
    assert set(functions["optimizer"]) == {"ga"}
    assert "diversity" in set(functions["quantity"])
    assert not set(results.runs["run"]) & set(finished.runs["run"])
    assert results.study["diagnostics"] == ["saturation", "population"]
    who = ["problem", "network.norm", "optimizer", "repeat", "steps", "loss"]
    before = finished.curves[finished.curves["repeat"] == 0][who]
    pd.testing.assert_frame_equal(results.curves[who].reset_index(drop=True), before.reset_index(drop=True))


def test_another_choice_is_another_study(study_file, finished, tmp_path):
    folder = shutil.copytree(finished.path, tmp_path / "copy")
    with pytest.raises(StoreError, match="diagnostics: expected the study that is there"):
        gfopt.load_study(study_file, [ASKED]).run(folder)


@pytest.mark.parametrize("default", ["diagnostics=[gradient-flow]", "diagnostics=[gradient-flow, gradient-flow]"])
def test_the_default_written_out_is_the_default(study_file, default):
    keys = [[spec.key for spec in gfopt.load_study(study_file, over).prepare("cpu")] for over in ([], [default])]
    assert keys[0] == keys[1]
    assert "diagnostics" not in gfopt.load_study(study_file, [default]).config.resolved()


def test_unknown_names_are_refused_with_the_nearest(study_file):
    with pytest.raises(ConfigError, match=r"diagnostics\[1\]: expected the name of a .*Did you mean 'saturation'"):
        gfopt.load_study(study_file, ["diagnostics=[updates, saturaton]"])


def test_diagnosing_gives_a_table_of_the_starts(study_file, finished):
    heard = []
    found = gfopt.load_study(study_file).diagnose(repeats=2, progress=lambda *place: heard.append(place))
    assert [index for index, _, _ in heard] == list(range(6))
    assert set(found["problem"]) == {"flowers"}
    of_study = finished.diagnostics[finished.diagnostics["run"].isna()]
    mine = found[found["quantity"].isin(set(of_study["quantity"]))].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, of_study[mine.columns].reset_index(drop=True), check_dtype=False)
    with pytest.raises(ConfigError, match="Did you mean 'flowers'"):
        gfopt.load_study(study_file).diagnose("flower")
