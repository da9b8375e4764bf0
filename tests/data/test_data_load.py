from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gfopt import registry
from gfopt.data import Source, from_file, load_dataset, load_spec, named_options, options_of, sources
from gfopt.errors import ConfigError, DataError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=30), "note": ["x"] * 30, "label": ["no", "yes", "no"] * 10})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path


NEED_NOTHING = tuple(source.name for source in sources() if not source.needs)
SAME_FOR_EVERY_SEED = {"sunspots"}  # a fixed series, split by time


@pytest.mark.parametrize("name", registry.datasets.names())
def test_every_registered_data_set_describes_itself(name):
    source = registry.datasets.get(name)
    assert isinstance(source, Source)
    assert source.name == name
    assert "\n" not in source.description
    assert len(source.description) < 100
    for option, field in source.options_class.model_fields.items():
        assert field.description, option


def test_what_needs_something_else_is_said():
    assert {source.name for source in sources() if source.needs} == {"mnist_sample", "idx", "fashion_mnist", "openml"}


@pytest.mark.parametrize("name", NEED_NOTHING)
def test_every_data_set_that_needs_nothing_loads_by_its_name(name):
    source = registry.datasets.get(name)
    data = load_dataset(name, seed=5)
    assert data.name == name
    assert data.task == source.task
    assert data.fingerprint() == load_dataset(name, seed=5).fingerprint()
    same = data.fingerprint() == load_dataset(name, seed=6).fingerprint()
    assert same == (name in SAME_FOR_EVERY_SEED)
    rows = [len(data.split(part)[0]) for part in ("train", "validation", "test")]
    if source.load(source.options_class(), 5).test is None:  # no test rows of its own
        assert np.abs(np.array(rows) - sum(rows) * np.array([0.7, 0.1, 0.2])).max() < 2
    for part in ("train", "validation", "test"):
        assert all(np.isfinite(values).all() for values in data.split(part))


@pytest.mark.parametrize("name", ["moons", "spirals", "xor", "sine", "adding", "latch", "copy_memory", "mackey_glass"])
def test_generated_points_depend_on_the_seed(name):
    first, other = (
        np.sort(np.concatenate([data.split(part)[0] for part in ("train", *data.splits)]), axis=0)
        for data in (load_dataset(name, seed=seed, scale=False) for seed in (0, 1))
    )
    assert not np.allclose(first, other)


def test_sources_are_those_of_the_registry():
    assert tuple(source.name for source in sources()) == registry.datasets.names()


def test_a_spec_is_the_same_as_the_call():
    spec = {"name": "moons", "test_fraction": 0.3, "validation_fraction": 0.0, "noise": 0.3, "scale": False}
    data = load_spec(spec, seed=9)
    same = load_dataset("moons", test_fraction=0.3, validation_fraction=0, noise=0.3, scale=False, seed=9)
    assert data.fingerprint() == same.fingerprint()
    assert data.splits == ("test",)
    assert load_spec(options_of(spec), seed=9).fingerprint() == same.fingerprint()


def test_a_relative_path_starts_from_the_base(table):
    spec = {"path": "mine.csv", "target": "label", "drop": ["note"], "test_fraction": 0.5}
    data = load_spec(spec, 3, base=table)
    assert data.classes == ("no", "yes")
    same = from_file(table / "mine.csv", "label", drop=["note"], test_fraction=0.5, seed=3)
    assert data.fingerprint() == same.fingerprint()
    absolute = load_spec({**spec, "path": str(table / "mine.csv")}, 3, base=Path("/nowhere"))
    assert absolute.fingerprint() == same.fingerprint()


def test_a_relative_folder_starts_from_the_base(tmp_path):
    with pytest.raises(DataError, match=rf"^idx: {tmp_path}/here: expected a file train-images-idx3-ubyte"):
        load_spec({"name": "idx", "folder": "here"}, base=tmp_path)


def test_checking_a_spec_opens_no_file():
    assert options_of({"name": "idx", "folder": "missing"}).folder == "missing"
    assert options_of({"name": "openml", "dataset": "anything", "version": 3}).version == 3
    assert options_of({"path": "missing.csv"}).test_fraction == 0.2
    with pytest.raises(DataError, match=r"missing.csv: expected an existing file"):
        load_spec({"path": "missing.csv"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "digitz"}, r"name: expected a known dataset, got 'digitz'\. Did you mean 'digits'\?"),
        ({"name": 3}, r"name: expected a known dataset, got 3"),
        (
            {"name": "digits", "test_fracton": 0.2},
            r"test_fracton: expected a known option.*'test_fraction'\?",
        ),
        ({"name": "digits", "noise": 0.2}, r"noise: expected a known option"),
        ({"name": "moons", "noise": "loud"}, r"noise: expected a number.*got 'loud'"),
        ({"name": "moons", "scale": 3}, r"scale: expected true or false.*got 3"),
        ({"name": "moons", "noise": True}, r"noise: expected a number or a name, got True"),
        ({"name": "digits", "test_fraction": 1.2}, r"test_fraction: expected a number less than 1, got 1.2"),
        (
            {"name": "digits", "test_fraction": 0.6, "validation_fraction": 0.4},
            r"test_fraction \+ .*below 1, got 1.0",
        ),
        ({"name": "digits", "path": "x.csv"}, r"exactly one of the keys name and path, got `name, path`"),
        ({}, r"exactly one of the keys name and path, got `no keys`"),
        ("digits", r"expected a mapping as \{name: digits\}.*got 'digits'"),
        ({"path": 3}, r"path: expected text, got 3"),
        (
            {"path": "x.csv", "taget": "y"},
            r"taget: expected a known option, got 'taget'\. Did you mean 'target'\?",
        ),
        (
            {"path": "x.csv", "task": "ranking"},
            r"task: expected one of 'classification' or 'regression', got 'ranking'",
        ),
        ({"path": "x.csv", "target": ["a"]}, r"target: expected text, got \['a'\]"),
    ],
)
def test_specs_that_are_wrong(spec, message):
    with pytest.raises(ConfigError, match=f"^{message}" if not message.startswith("exactly") else message):
        options_of(spec)


def test_load_dataset_refuses_what_it_does_not_know():
    with pytest.raises(ConfigError, match=r"Did you mean 'breast_cancer'"):
        load_dataset("breast-cancer")
    with pytest.raises(DataError, match=r"^parity: expected at least 3 rows of every class"):
        load_dataset("parity", bits=2)
    with pytest.raises(ConfigError, match=r"^seed: expected a whole number, got 'a'"):
        load_dataset("iris", seed="a")


def test_a_model_of_one_data_set_has_a_schema():
    schema = named_options("spirals").model_json_schema()
    assert schema["properties"]["name"]["const"] == "spirals"
    assert {"turns", "noise", "test_fraction", "scale"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_a_process_that_only_loads_data_has_no_torch_and_its_own_random_numbers():
    code = (
        "import random, sys, numpy, gfopt.data as data\n"
        "before = random.getstate(), numpy.random.get_state(legacy=False)['state']['key'].tolist()\n"
        "data.options_of({'name': 'digits'}); data.sources()\n"
        "assert 'sklearn' not in sys.modules\n"
        "data.load_dataset('iris')\n"
        "assert 'torch' not in sys.modules\n"
        "after = random.getstate(), numpy.random.get_state(legacy=False)['state']['key'].tolist()\n"
        "assert before == after\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
