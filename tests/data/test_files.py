from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.data import from_arrays, from_file
from gfopt.errors import DataError

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"width": RNG.normal(size=40), "height": RNG.normal(size=40), "kind": ["a", "b"] * 20})


def written(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(values: list[str], header: str = "a,y") -> str:
    """A CSV file of 12 rows with an alternating label; the last rows' feature column is `values`."""
    column = [str(row) for row in range(12 - len(values))] + values
    return "\n".join([header, *(f"{value},{['no', 'yes'][row % 2]}" for row, value in enumerate(column))])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".CSV"])
def test_every_format_gives_the_same_data(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    features = TABLE[["width", "height"]].to_numpy()
    if suffix == ".npz":
        np.savez(path, X=features, kind=TABLE["kind"].to_numpy(dtype=str), other=np.zeros(3))
    elif suffix == ".parquet":
        TABLE.to_parquet(path)
    else:
        TABLE.to_csv(path, index=False)
    data = from_file(path, "kind", seed=2)
    assert data.name == "table"
    assert data.classes == ("a", "b")
    assert data.fingerprint() == from_arrays(features, TABLE["kind"].tolist(), seed=2).fingerprint()
    assert data.feature_names == (() if suffix == ".npz" else ("width", "height"))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=20, max_size=20))
def test_a_csv_file_keeps_every_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    pd.DataFrame({"a": values, "y": np.arange(20) % 2}).to_csv(path, index=False)
    data = from_file(path, scale=False)
    assert sorted(np.concatenate([data.split(part)[0][:, 0] for part in ("train", "validation", "test")])) == sorted(
        values
    )


def test_images_from_an_npz_file(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, x=RNG.integers(0, 255, (20, 3, 4, 4), dtype=np.uint8), y=np.arange(20) % 2)
    assert from_file(path).input_shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["no", "yes"], ("no", "yes")),
        (["True", "false"], (False, True)),
        (["2", "+1"], (1, 2)),
        (["NA", "SE"], ("NA", "SE")),
        (["nan", "word"], ("nan", "word")),
        (["3 ", " x"], ("3", "x")),
    ],
)
def test_labels_in_a_csv_file(tmp_path, cells, classes):
    text = "a,y\n" + "\n".join(f"{row},{cells[row % 2]}" for row in range(12))
    task = "classification" if "x" in classes else None
    data = from_file(written(tmp_path, text), task=task)
    assert data.classes == classes
    assert {type(label) for label in data.classes} == {type(classes[0])}


@pytest.mark.parametrize(
    ("cell", "task"),
    [("{}", "classification"), ("{}.0", "regression"), ("{}e0", "regression"), ("2{}", "regression")],
)
def test_the_task_of_a_csv_file(tmp_path, cell, task):
    spread = 6 if task == "classification" or "." in cell or "e" in cell else 24
    text = "a,y\n" + "\n".join(f"{row},{cell.format(row % spread)}" for row in range(24))
    assert from_file(written(tmp_path, text)).task == task


def test_task_overrules(tmp_path):
    path = written(tmp_path, "a,y\n" + "\n".join(f"{row},{row % 2}" for row in range(20)))
    assert from_file(path).task == "classification"
    assert from_file(path, task="regression").task == "regression"


def test_bools_bom_blanks_quotes_and_dropped_columns(tmp_path):
    lines = [f' {row}, "{row % 3}" ,{"TRUE" if row % 2 else "false"},"id, {row}",k{row % 2}' for row in range(12)]
    path = written(tmp_path, "\ufeffa, b ,flag,id,y\r\n" + "\r\n".join(lines) + "\r\n")
    data = from_file(path, drop=["id"], scale=False)
    assert data.feature_names == ("a", "b", "flag")
    table = np.concatenate([data.split(part)[0] for part in ("train", "validation", "test")])
    expected = [[row, row % 3, row % 2] for row in range(12)]
    assert table[np.argsort(table[:, 0])].tolist() == expected


BAD_CSV = {
    "empty cell": (rows(["", "3"]), r"column 'a': row 11: expected a value, got `an empty cell or NaN`"),
    "NaN": (rows(["NaN", "3"]), r"column 'a': row 11: expected a value"),
    "short row": ("a,y,b\n1,2,3\n4,5\n", r"column 'b': row 2: expected a value"),
    "text": (rows(["red", "3", "blue"]), r"column 'a': row 10: expected a number, got 'red'\. Encode .*drop"),
    "infinity": (rows(["-inf", "3"]), r"column 'a': row 11: expected a finite number, got -inf"),
    "decimal commas": (rows(['"1,5"']), r"column 'a': row 12: expected a number, got '1,5'"),
    "empty target": (rows([]).replace("2,no", "2,"), r"column 'y': row 3: expected a value"),
    "number missing in target": ("a,y\n1,1.5\n2,NA\n3,2.5\n", r"column 'y': row 2: expected a value"),
    "text among numbers": (
        "a,y\n1,1.5\n2,much\n3,2.5\n",
        r"column 'y': row 2: expected a number.*got 'much'",
    ),
    "one class": ("a,y\n1,0\n2,0\n3,0\n", r"column 'y': expected at least two classes, got `0` in every row"),
    "no rows": ("a,y\n", r"expected at least one row of data, got 'none'"),
    "no features": ("y\n1\n2\n", r"expected at least one feature column beside the target, got 'none'"),
    "empty file": ("", r"expected a header and rows, got `an empty file`"),
    "duplicate": ("a,b,a,y\n1,2,3,0\n", r"column 'a': expected a name of its own for every column, got `2`"),
    "long row": ("a,y\n1,2\n1,2,3\n", r"as many values in every row as in the header.*line 3"),
    "semicolons": ("a;y\n1;2\n", r"expected values separated by commas, got 'a;y'"),
    "not UTF-8": ("a,y\n1,\xe9\n".encode("latin-1"), r"expected text in UTF-8"),
    "rare class": (rows([]).replace("2,no", "2,rare"), r"3 rows of every class, .* got `1` of class 'rare'"),
    "another name": (
        rows([], "a,label"),
        r"target: expected the name of a column, got 'y'\. Known: a, label",
    ),
    "almost the name": (rows([], "a,Y "), r"target: expected the name of a column, got 'y'"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_csv_files_that_cannot_be_used(tmp_path, case):
    text, message = BAD_CSV[case]
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        from_file(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_nearest_column_is_named(tmp_path):
    path = written(tmp_path, rows([], "width,species"))
    with pytest.raises(DataError, match=r"got 'speceis'\. Did you mean 'species'\?"):
        from_file(path, "speceis")
    with pytest.raises(DataError, match=r"drop: expected the name of a column, got 'wdth'\. Did you mean 'width'\?"):
        from_file(path, "species", drop=["wdth"])
    with pytest.raises(DataError, match=r"drop: expected columns other than the target, got 'species'"):
        from_file(path, "species", drop=["species"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dtaa.csv", r"expected an existing file, got `no such file`\. Did you mean 'data.csv'\?"),
        ("nowhere/data.csv", r"got `no such file`\. The folder .*nowhere' does not exist either"),
        ("folder.csv", r"expected an existing file, got `a folder`"),
        ("data.xlsx", r"expected a file that ends in .csv, .parquet, .npz, got `.xlsx`"),
        ("data", r"expected a file that ends in .csv, .parquet, .npz, got `data`"),
    ],
)
def test_paths_that_cannot_be_read(tmp_path, name, message):
    written(tmp_path, rows([]))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=message):
        from_file(tmp_path / name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1.0, None, 3.0], "y": [0, 1, 0]}, r"column 'a': row 2: expected a value"),
        ({"a": ["x"] * 3, "y": [0, 1, 0]}, r"column 'a': row 1: expected a number, got 'x'"),
        ({"a": [1.0, np.inf], "y": [0, 1]}, r"column 'a': row 2: expected a finite number, got inf"),
        ({"a": pd.to_datetime(["2020-01-01"]), "y": [0]}, r"column 'a': row 1: expected a number, got Time"),
        ({"a": [1.0, 2.0], "y": pd.array([1, None], dtype="Int64")}, r"column 'y': row 2: expected a value"),
        ({"a": [1.0], "b": [2]}, r"target: expected the name of a column, got 'y'"),
    ],
)  # fmt: skip
def test_parquet_files_that_cannot_be_used(tmp_path, table, message):
    path = tmp_path / "data.parquet"
    pd.DataFrame(table).to_parquet(path)
    with pytest.raises(DataError, match=message):
        from_file(path)


def test_a_parquet_file_with_equal_names(tmp_path):
    path = tmp_path / "data.parquet"
    column = pa.array([0, 1, 0])
    pq.write_table(pa.Table.from_arrays([column, column, column], names=["a", "a", "y"]), path)
    with pytest.raises(DataError, match=r"column 'a': expected a name of its own for every column, got `2`"):
        from_file(path)


def test_integers_that_no_float_holds_are_a_quantity(tmp_path):
    big = 12345678901234567890
    path = written(tmp_path, "a,y\n" + "\n".join(f"{big + row * 10**6},{big + row % 2 * 10**6}" for row in range(12)))
    data = from_file(path)
    assert data.task == "regression"
    assert data.input_scaling.mean[0] == pytest.approx(big)


def test_a_parquet_index_is_no_feature(tmp_path):
    path = tmp_path / "data.parquet"
    TABLE.set_index(pd.Index([7] * 40, name="id")).to_parquet(path)
    assert from_file(path, "kind").feature_names == ("width", "height")


@pytest.mark.parametrize("name", ["data.parquet", "data.npz"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_files_of_another_format(tmp_path, name, content):
    with pytest.raises(DataError, match=r"expected an? (Parquet|NPZ) "):
        from_file(written(tmp_path, content, name))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2))}, r"target: expected the name of an array, got 'y'"),
        ({"x": np.ones((3, 2)), "labels": np.ones(3), "z": np.ones(1)}, r"got 'y'\. Known: labels, z"),
        ({"data": np.ones((3, 2)), "y": np.ones(3)}, r"expected an array x or X, got `data, y`"),
        ({"x": np.ones((3, 2)), "y": np.arange(2)}, r"y: expected 3 rows as x has, got `2`"),
        (
            {"x": np.array([[1.0, np.nan]]), "y": np.arange(1)},
            r"x\[0, 1\]: expected a finite number, got nan",
        ),
        ({"x": np.ones((0, 2)), "y": np.arange(0)}, r"x: expected shape \(N, ...\) with at least one row"),
        ({"x": np.ones((2, 2)), "y": np.array([{}, []], dtype=object)}, r"plain arrays, got `.*allow_pickle"),
    ],
)
def test_npz_files_that_cannot_be_used(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        from_file(path)


def test_a_single_array_is_not_an_npz_file(tmp_path):
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match=r"expected an NPZ archive, got `a single array`"):
        from_file(tmp_path / "data.npz")
    np.savez(tmp_path / "data.npz", x=np.ones((2, 1)), y=np.arange(2))
    with pytest.raises(DataError, match=r"drop: expected no columns to leave out of an NPZ file"):
        from_file(tmp_path / "data.npz", drop=["x"])
