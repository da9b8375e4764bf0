import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from gfopt import analysis, plot
from gfopt.errors import ConfigError


@pytest.fixture(autouse=True)
def _agg():
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def test_importing_touches_neither_pyplot_nor_torch():
    heavy = "{'torch', 'matplotlib.pyplot', 'plotly'}"
    code = f"import sys, gfopt.plot, gfopt.report; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_convergence_draws_the_curve_table(small):
    ax = plot.convergence(small, axis="seconds", metric="loss", where={"norm": "batch"})
    table = analysis.curve_table(small.runs, small.curves, "seconds", "loss")
    mine = table[(table["cell"] == "deep, norm=batch") & (table["optimizer"] == "ga")]
    (line,) = [drawn for drawn in ax.lines if drawn.get_label() == "ga"]
    assert line.get_ydata() == pytest.approx(mine["median"].to_numpy())
    assert line.get_xdata() == pytest.approx(mine["cost"].to_numpy())
    assert line.get_drawstyle() == "steps-post"
    assert (ax.get_xscale(), ax.get_title()) == ("log", "deep, norm=batch")


def test_several_cells_are_panels_of_one_figure(small):
    ax = plot.convergence(small)
    assert [panel.get_title() for panel in ax.figure.axes] == [
        "deep, norm=none",
        "deep, norm=batch",
        "deep, norm=layer",
    ]
    _, given = matplotlib.pyplot.subplots()
    with pytest.raises(ConfigError, match="Choose with `problem` and `where`"):
        plot.convergence(small, ax=given)
    assert plot.convergence(small, where={"network.norm": "none"}, ax=given) is given


def test_normalization_draws_medians_and_every_run(small):
    ax = plot.normalization(small)
    summary = analysis.summary(small.runs, small.curves)
    medians = [float(mark.lines[0].get_ydata()[0]) for mark in ax.containers]
    assert sorted(medians) == pytest.approx(sorted(summary["score"]))
    assert sorted(text.get_text() for text in ax.get_legend().get_texts()) == [
        "batch",
        "layer",
        "no normalization",
    ]
    dots = [line for line in ax.lines if line.get_alpha() == 0.45]
    assert sum(len(line.get_xdata()) for line in dots) == len(small.runs)


def test_gradient_flow(small):
    ax = plot.gradient_flow(small)
    assert ax.get_yscale() == "log"
    assert [len(line.get_xdata()) for line in ax.lines] == [9, 9, 9]
    small.diagnostics = None
    with pytest.raises(ConfigError, match="gradient norms per layer"):
        plot.gradient_flow(small)


def test_infinite_losses_leave_gaps(small):
    small.runs["status"] = "diverged"
    ax = plot.convergence(small, metric="loss", where={"network.norm": "none"})
    (line,) = [drawn for drawn in ax.lines if drawn.get_label().startswith("ga")]
    assert np.isnan(line.get_ydata()[-1])
    ax.figure.canvas.draw()


def test_a_selection_that_does_not_exist_names_the_nearest(small):
    with pytest.raises(ConfigError, match="Did you mean 'deep'"):
        plot.convergence(small, problem="dep")
    with pytest.raises(ConfigError, match="Did you mean 'norm'"):
        plot.normalization(small, where={"nrm": "batch"})
    with pytest.raises(ConfigError, match="Did you mean 'batch'"):
        plot.normalization(small, where={"network.norm": "bach"})
