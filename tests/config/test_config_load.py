from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest

from gfopt.config import CodeReference, StudyConfig, from_mapping, load
from gfopt.config.yaml_text import dump, parse
from gfopt.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_study_of_the_project_loads_and_survives_a_round_trip(path: Path) -> None:
    config = load(path)
    assert config.runs > 0
    assert from_mapping(parse(dump(config.resolved()))) == config


def test_quickstart_compares_norms_on_a_shallow_and_a_deep_network() -> None:
    (path,) = [path for path in CONFIGS if path.stem == "quickstart"]
    config = load(path)
    norms = {cell.label: cell.config.network["norm"] for cell in config.problem_cells}
    assert list(norms.values()) == ["none", "batch", "layer", "weight", "cosine", "none", "batch", "layer"]
    assert [cell.kind for cell in config.optimizer_cells] == [
        "adam",
        "deap-ga",
        "pyswarms-gbest",
        "random-search",
    ]
    shallow, deep = config.problem_cells[0], config.problem_cells[-1]
    assert shallow.budget.limits() != deep.budget.limits()
    assert config.baseline == ("adam",)


def test_resolved_is_plain_ordered_and_gives_an_equal_study(study) -> None:
    config = study({"repeats": ..., "report": ..., "seed": 2**62})
    resolved = config.resolved()
    assert list(resolved) == [
        "name", "seed", "repeats", "budget", "threads", "dtype", "device", "problems", "optimizers", "report"
    ]  # fmt: skip
    assert (resolved["repeats"], resolved["threads"], resolved["report"]["targets"]) == (5, 1, "auto")
    assert parse(dump(resolved)) == resolved
    again = from_mapping(resolved, source="elsewhere")
    assert again == config
    assert again.problem_cells == config.problem_cells
    assert again.optimizer_cells == config.optimizer_cells
    resolved["problems"]["deep"]["batch_size"] = 1
    assert config.problems["deep"]["batch_size"] == 64
    assert from_mapping({**again.resolved(), "seed": 1}) != config


def test_the_given_mapping_stays_as_it_was(edited) -> None:
    given = edited()
    before = copy.deepcopy(given)
    from_mapping(given, base="/data")
    assert given == before


def test_a_study_cannot_be_changed(study) -> None:
    with pytest.raises(ValueError, match="frozen"):
        study().seed = 3


def test_baseline_names_one_cell_or_all_of_a_grid(study) -> None:
    assert study().baseline == ("adam[learning_rate=0.1]", "adam[learning_rate=0.01]")
    assert study({"report.baseline": "ga"}).baseline == ("ga",)
    one = "adam[learning_rate=0.01]"
    assert study({"report.baseline": one}).baseline == (one,)
    assert study({"report": {}}).baseline == ()


def test_a_file_without_a_name_is_called_like_itself(written, edited) -> None:
    path = written(dump(edited({"name": ...})), "my-study.yaml")
    assert load(path).name == "my-study"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping of keys to values, got `nothing`. A study starts with lines"),
        ("- a", "expected a mapping of keys to values, got `a list`."),
        ("just text", "expected a mapping of keys to values, got `text`."),
        ("name: [1", "line 1, column 9: expected YAML, got an error: expected ',' or ']'"),
        ("name: a\nname: b", "line 2, column 1: expected YAML, got an error: the key 'name' stands twice"),
        (b"name: \xff", "expected UTF-8 text, got byte 0xff at position 6"),
        ("#" * 1_000_001, "expected at most 1000000 bytes, got more."),
        ("1: 2", "expected text as a key, got 1. Put it into quotes."),
    ],
)
def test_a_file_that_is_no_study_is_refused_by_name(written, text: str | bytes, message: str) -> None:
    path = written(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_missing_file_is_named_beside_those_that_are_there(written, tmp_path: Path) -> None:
    written("", "real.yaml")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "reel.yaml")
    assert str(caught.value) == (
        f"{tmp_path / 'reel.yaml'}: expected a study file, got no such file. In its folder: real.yaml."
    )
    with pytest.raises(ConfigError, match="expected a study file, got a folder"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="`gfopt new FILE` writes one"):
        load(tmp_path / "no" / "folder.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(written, edited) -> None:
    path = written("\ufeff".encode() + dump(edited()).encode())
    assert load(path).name == "small"


def test_relative_data_files_start_from_the_folder_of_the_study(written, edited, tmp_path: Path) -> None:
    for given, found in [
        ({"path": "x.csv"}, ["x.csv"]),
        ({"path": {"grid": ["x.csv", "sub/y.csv"]}}, ["x.csv", "sub/y.csv"]),
        ({"grid": [{"path": "x.csv"}, {"name": "moons"}]}, ["x.csv"]),
    ]:
        path = written(dump(edited({"problems.deep.dataset": given, "problems.deep.network.norm": "none"})))
        cells = load(path).problem_cells[:-1]
        paths = [cell.config.dataset["path"] for cell in cells if "path" in cell.config.dataset]
        assert paths == [str(tmp_path / name) for name in found]
    absolute = {"problems.deep.dataset": {"path": str(tmp_path / "z.csv")}}
    assert from_mapping(edited(absolute), base="/elsewhere").problems["deep"]["dataset"]["path"] == str(
        tmp_path / "z.csv"
    )
    alone = {"problems.deep.dataset": {"path": "z.csv"}}
    assert from_mapping(edited(alone)).problems["deep"]["dataset"]["path"] == "z.csv"


class Model:
    """Neither equal to anything nor copyable."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, *args: object) -> None:
        raise AssertionError("nobody may call it")

    def __deepcopy__(self, memo: object) -> Model:
        raise AssertionError("nobody may copy it")

    __copy__ = __deepcopy__


def test_python_objects_pass_untouched(study) -> None:
    first, second, data, loss, weight = (Model() for _ in range(5))
    changes = {
        "problems.deep.network": {"grid": [first, second]},
        "problems.deep.dataset": data,
        "problems.deep.loss": loss,
        "problems.deep.sample_weight": weight,
        "problems.deep.trainable": loss,
    }
    config = study(changes, live=True)
    one, two = config.problem_cells[:2]
    assert one.config.network is first
    assert two.config.network is second
    assert one.config.dataset is data
    assert one.config.loss is loss
    assert one.config.sample_weight is weight
    assert one.config.trainable is loss
    assert config.resolved()["problems"]["deep"]["dataset"] is data
    assert from_mapping(config.resolved(), live=True) == config


@pytest.mark.parametrize("key", ["dataset", "network", "loss", "sample_weight", "trainable"])
def test_a_file_holds_no_python_objects(refused, key: str) -> None:
    text = refused({f"problems.deep.{key}": Model()})
    assert text.startswith(
        f"s.yaml: problems.deep.{key}: expected text, a number, true, false, null, a list or a mapping"
    )
    assert "gfopt.Study(" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems.deep.network": object()}, "an nn.Module or a factory of one, got <object"),
        ({"problems.deep.loss": object()}, "problems.deep.loss: expected a known loss, got <object"),
        ({"problems.deep.dataset": [1, 2]}, "problems.deep.dataset: expected a mapping"),
    ],
)
def test_not_every_python_object_will_do(refused, changes, message: str) -> None:
    assert message in refused(changes, live=True)


def test_code_of_ones_own_needs_permission(written, edited) -> None:
    path = written(dump(edited({"problems.deep.network": {"module": "pathlib:Path", "hidden": [3]}})))
    with pytest.raises(ConfigError, match=r"problems\.deep\.network\.module: .*--allow-code"):
        load(path)
    config = load(path, allow_code=True)
    reference = config.problem_cells[0].config.network
    assert reference == CodeReference(module="pathlib:Path", options={"hidden": [3]})
    assert reference.load() is Path
    assert from_mapping(config.resolved(), allow_code=True) == config


def test_a_malformed_code_reference_is_named(refused) -> None:
    text = refused({"problems.deep.network": {"module": "no colon"}}, allow_code=True)
    assert text.startswith("s.yaml: problems.deep.network.module: expected text that matches")
    assert text.endswith("got 'no colon'. For example my_package.networks:make.")


def test_reading_a_study_never_imports_the_code_that_it_names(written, edited, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written("raise SystemExit('was imported')", "own_module.py")
    monkeypatch.syspath_prepend(path.parent)
    study = written(dump(edited({"problems.deep.network": {"module": "own_module:make"}})))
    load(study, allow_code=True)
    assert "own_module" not in sys.modules


def test_the_package_and_a_study_of_functions_read_without_torch() -> None:
    code = """
import sys
from gfopt.config import from_mapping, template
from gfopt.config.yaml_text import dump, parse
from gfopt.errors import ConfigError
assert template()
try:
    from_mapping({"budget": {"steps": 1}, "problems": {"f": {"function": {"name": "sphere", "dim": 2}}},
                  "optimizers": {"a": {"kind": "adm"}}})
except ConfigError as error:
    assert "Did you mean 'adam'?" in str(error), error
loaded = {"torch", "pandas", "sklearn", "deap", "pyswarms"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equality_is_about_content_alone(study) -> None:
    config = study()
    assert isinstance(config, StudyConfig)
    assert config == study()
    assert config != study({"seed": 3})
    assert config != "small"
