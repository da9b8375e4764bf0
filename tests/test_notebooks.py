"""The notebooks hold their pictures, say nothing about the machine they ran on, and run from a fresh kernel."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
# A folder of a person or of a system, or a drive: what a traceback or the repr of a path would show.
MACHINE = re.compile(r"/(home|root|Users|tmp|work|opt|usr|var|mnt|private)/|[A-Z]:\\\\|file://|site-packages")

# In an interpreter of its own: what a kernel's client does with sockets and event loops is not this suite's.
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=540, kernel_name="python3").execute(cwd=".")
nbformat.write(notebook, sys.argv[1])
"""


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook: NotebookNode) -> list[bytes]:
    found = [output.data["image/png"] for output in outputs(notebook) if "image/png" in output.get("data", {})]
    return [base64.b64decode(picture) for picture in found]


def shown(notebook: NotebookNode) -> str:
    """All text of the outputs, as it is read."""
    parts = []
    for output in outputs(notebook):
        parts.append(output.get("text", ""))
        parts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(parts)


def complaints(notebook: NotebookNode) -> list[NotebookNode]:
    """Tracebacks, and whatever was written to stderr: warnings above all."""
    return [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]


def test_all_notebooks_are_here():
    names = ["normalization", "quickstart", "vanishing_gradients", "your_own_problem"]
    assert [path.stem for path in PATHS] == names


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_stored_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run it in a fresh kernel, top to bottom, before storing"
    assert len(pictures(notebook)) >= 2
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 10_000 for picture in pictures(notebook))
    assert not complaints(notebook)
    assert not MACHINE.search(shown(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_runs_from_a_fresh_kernel(path, tmp_path):
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns("results", ".ipynb_checkpoints"))
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path.name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    stored, fresh = (nbformat.read(place / path.name, as_version=4) for place in (NOTEBOOKS, folder))
    assert len(pictures(fresh)) == len(pictures(stored))
    assert not complaints(fresh)
    assert not MACHINE.search(shown(fresh))


def test_the_table_is_what_the_notebook_says():
    """Four measurements of scikit-learn's breast cancer data, all rows, four significant digits, the diagnosis."""
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer(as_frame=True)
    names = ["radius", "texture", "smoothness", "concavity"]
    table = pd.read_csv(NOTEBOOKS / "tumours.csv")
    assert list(table.columns) == [*names, "diagnosis"]
    for name in names:
        assert table[name].tolist() == [float(f"{value:.4g}") for value in source.frame[f"mean {name}"]]
    assert table["diagnosis"].tolist() == [str(source.target_names[k]) for k in source.target]
