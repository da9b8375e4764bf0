"""Results read back from their folder, and winners as files of their own."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

import gfopt
from gfopt.errors import ConfigError, GfoptError, StoreError
from gfopt.store import ResultsFolder
from gfopt.trace import LEDGER_UNITS


@pytest.fixture(scope="module")
def results(finished):
    """As somebody finds them who did not run the study."""
    return gfopt.load_results(finished.path)


@pytest.fixture(scope="module")
def winner(results):
    return results.best_run("flowers")


@pytest.fixture
def folder(finished, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(finished.path, tmp_path / "copy")


def test_they_are_what_the_study_returned(results, finished):
    for name in ("runs", "curves", "diagnostics"):
        pd.testing.assert_frame_equal(getattr(results, name), getattr(finished, name))
    assert results.study == finished.study
    assert results.study["name"] == "tiny"
    assert results.baseline == "adam"
    assert results.targets == "auto"
    assert repr(results) == f"Results({str(results.path)!r}: tiny, 12 runs: 12 ok)"


def test_column_names_are_a_contract(results):
    wanted = {"run", "problem", "optimizer", "repeat", "network.norm", "status", "loss", "test_accuracy", "seed"}
    assert wanted | set(LEDGER_UNITS) <= set(results.runs.columns)
    assert {"run", "problem", "optimizer", "repeat", "network.norm", "loss", "seconds"} <= set(results.curves.columns)
    assert results.grid_columns == ["network.norm"]
    assert {"problem", "network.norm", "repeat", "layer", "value"} <= set(results.diagnostics.columns)
    assert results.runs.groupby("problem")["network.norm"].nunique().to_dict() == {"bowl": 0, "flowers": 2}


def test_the_curves_end_where_the_runs_do(results):
    last = results.curves.groupby("run").last()
    runs = results.runs.set_index("run")
    for column in ("loss", "evaluations", "forward_equivalents", "test_accuracy"):
        pd.testing.assert_series_equal(last[column].sort_index(), runs[column].sort_index(), check_dtype=False)


def test_summary_and_verdicts_come_from_the_same_tables(results):
    summary = results.summary()
    assert len(summary) == 6  # three cells, two optimizers
    assert summary["ok"].sum() == 12
    assert results.verdicts() == results.verdicts()
    page = results._repr_html_()
    assert page.startswith("<h3>tiny</h3>")
    assert "<table" in page


def test_the_best_run_is_chosen_on_validation_data(results, winner):
    runs = results.runs.set_index("run")
    flowers = runs[runs["problem"] == "flowers"]
    assert runs.loc[winner, "validation_accuracy"] == flowers["validation_accuracy"].max()
    assert results.best_run() == winner  # a function has no validation data
    bowl = results.best_run("bowl")
    assert runs.loc[bowl, "loss"] == runs[runs["problem"] == "bowl"]["loss"].min()


def test_runs_are_found_by_the_beginning_of_their_key(results, winner):
    assert results.find(winner) == results.find(winner[:10]) == winner
    for wrong in ("", "zzz", winner + "0"):
        with pytest.raises(ConfigError, match="run: expected the key of a run"):
            results.find(wrong)
    twins = gfopt.load_results(results.path)
    twins.runs = twins.runs.assign(run=[f"ab{place:x}" for place in range(12)])
    assert twins.find("aba") == "aba"
    with pytest.raises(ConfigError, match="got 'ab, which fits 12 runs'"):
        twins.find("ab")
    with pytest.raises(ConfigError, match="Did you mean 'flowers'"):
        results.best_run("flower")


def test_the_network_of_a_run_is_the_one_that_was_scored(results, finished, winner):
    module = results.module(winner)
    assert not module.training
    data = gfopt.load_dataset("iris", seed=3)
    found = module(torch.tensor(np.array(data.x_test), dtype=torch.float32)).argmax(1).numpy()
    assert (found == data.y_test).mean() == pytest.approx(results.runs.set_index("run").loc[winner, "test_accuracy"])
    x = torch.randn(5, 4)
    assert torch.equal(module(x), finished.module(winner)(x))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_winner_is_a_state_dict_for_plain_torch(norm, results, tmp_path):
    runs = results.runs
    key = runs[(runs["network.norm"] == norm)]["run"].iloc[0]
    file = results.export(key, tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    spec = {"kind": "mlp", "in_features": 4, "hidden": [4], "out_features": 3, "norm": norm}
    plain = gfopt.build_network(spec, seed=9).eval()
    plain.load_state_dict(load_file(file), strict=True)
    x = torch.randn(7, 4)
    assert torch.equal(plain(x), gfopt.load_model(file)(x))
    assert torch.equal(plain(x), results.module(key)(x))
    assert torch.equal(plain(x), gfopt.load_model(file, gfopt.build_network(spec, seed=1))(x))


def test_a_winner_says_what_it_needs_around_it(results, winner, tmp_path):
    info = gfopt.model_info(results.export(winner[:12], tmp_path / "m.safetensors"))
    data = gfopt.load_dataset("iris", seed=3)
    assert info["run"] == winner
    assert info["classes"] == list(data.classes)
    assert info["input_shape"] == [4]
    assert info["input_scaling"]["mean"] == data.input_scaling.mean.tolist()
    assert info["input_scaling"]["scale"] == data.input_scaling.scale.tolist()
    assert info["scores"]["test_accuracy"] == results.runs.set_index("run").loc[winner, "test_accuracy"]


def test_the_winner_of_a_function_is_its_vector(results, tmp_path):
    key = results.best_run("bowl")
    file = results.export(key, tmp_path / "bowl.safetensors")
    vector = load_file(file)["vector"]
    assert float(vector.square().sum()) == pytest.approx(results.runs.set_index("run").loc[key, "loss"], rel=1e-5)
    with pytest.raises(ConfigError, match="a run that trained a network"):
        results.module(key)
    with pytest.raises(ConfigError, match="a run that trained a network"):
        gfopt.load_model(file)


def damaged(tmp_path, name):
    file = tmp_path / "file.safetensors"
    if name == "text":
        file.write_text("not tensors")
    elif name == "foreign":
        save_file({"weight": np.zeros(3, np.float32)}, file)
    elif name == "nonsense":
        save_file({"weight": np.zeros(3, np.float32)}, file, metadata={"gfopt": "{not json"})
    elif name == "incomplete":
        save_file(
            {"weight": np.zeros(3, np.float32)}, file, metadata={"gfopt": '{"problem": {"network": {"kind": "mlp"}}}'}
        )
    elif name == "list":
        save_file({"weight": np.zeros(3, np.float32)}, file, metadata={"gfopt": "[1]"})
    elif name == "folder":
        file.mkdir()
    elif name == "empty":
        file.touch()
    return file


@pytest.mark.parametrize("name", ["missing", "text", "foreign", "nonsense", "incomplete", "list", "folder", "empty"])
def test_other_files_are_refused_by_name(name, tmp_path):
    with pytest.raises(GfoptError, match=r"file\.safetensors"):
        gfopt.load_model(damaged(tmp_path, name))


def test_a_network_of_another_structure_is_refused(results, winner, tmp_path):
    file = results.export(winner, tmp_path / "m.safetensors")
    other = gfopt.build_network({"kind": "mlp", "in_features": 4, "hidden": [9], "out_features": 3})
    with pytest.raises(ConfigError, match="network: the stored tensors do not fit"):
        gfopt.load_model(file, other)


@pytest.mark.parametrize("target", ["missing/m.safetensors", "folder"])
def test_a_place_that_cannot_be_written_is_named(target, results, winner, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=target):
        results.export(winner, tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not list((tmp_path / "folder").iterdir())


def test_an_interrupted_study_has_results_too(folder):
    """No joined tables, and only some runs."""
    (folder / "runs.parquet").unlink()
    (folder / "curves.parquet").unlink()
    (folder / "diagnostics.parquet").unlink()
    for run in sorted((folder / "runs").iterdir())[:9]:
        shutil.rmtree(run)
    results = gfopt.load_results(folder)
    assert len(results.runs) == 3
    assert set(results.curves["run"]) == set(results.runs["run"])
    assert set(results.diagnostics["run"]) <= set(results.runs["run"])  # the starts' are measured at the end
    assert len(results.summary()) >= 1
    assert results.verdicts()


def test_a_study_without_any_run_yet(tmp_path):
    ResultsFolder.create(tmp_path / "new", {"name": "new"}, {"runs": 4})
    results = gfopt.load_results(tmp_path / "new")
    assert results.runs.empty
    assert results.curves.empty
    assert "0 runs" in repr(results)
    with pytest.raises(ConfigError, match="at least one run that ended ok"):
        results.best_run()
    with pytest.raises(ConfigError, match="run: expected the key of a run"):
        results.find("a")


def test_what_is_no_results_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="expected a results folder, got `nothing`"):
        gfopt.load_results(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        gfopt.load_results(tmp_path)


def test_a_damaged_run_is_named_with_the_way_out(folder):
    (folder / "runs.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(StoreError, match=r"runs\.parquet.*[Rr]emove"):
        gfopt.load_results(folder)
