"""Figures for notebooks and papers, with matplotlib: Axes in, Axes out; the same numbers as the report.

Nothing here touches pyplot until a figure has to be made because no `ax` was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from gfopt import analysis
from gfopt.analysis.frames import arms, final_values, is_norm, short_names, text, worst
from gfopt.analysis.leaders import curve_metric
from gfopt.analysis.measured import title
from gfopt.analysis.wording import AXIS_TITLES, metric_title
from gfopt.errors import ConfigError, expectation, suggestion
from gfopt.report.style import Look, norm_key, norm_label, norm_looks, optimizer_looks, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Tables(Protocol):
    """What the figures are drawn from: a `Results`, or anything with its tables."""

    @property
    def runs(self) -> pd.DataFrame: ...  # noqa: D102  # named after what it is
    @property
    def curves(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def diagnostics(self) -> pd.DataFrame | None: ...  # noqa: D102


def convergence(
    results: Tables,
    *,
    axis: str = "forward_equivalents",
    metric: str | None = None,
    problem: str | None = None,
    where: Mapping[str, object] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Median step curve of every optimizer with its 95 % band, single runs as thin lines.

    Args:
        results: a `Results`.
        axis: cost to draw against, a unit of the ledger.
        metric: a column of the curves; by default the headline score if it was logged, else the loss.
        problem: which problem; by default all.
        where: grid column to value, as `{"norm": "batch"}`; by default all cells.
        ax: where to draw; needs a single cell.

    Returns:
        The Axes, of several cells the first; all are in `.figure.axes`.

    Raises:
        ConfigError: nothing fits, or several cells for one `ax`.
    """
    runs = _select(results.runs, problem, where)
    cells = analysis.split_cells(runs)
    looks = optimizer_looks(results.runs["optimizer"].astype(str))
    panels = _panels([cell.label for cell, _ in cells], ax)
    for target, (cell, rows) in zip(panels, cells, strict=True):
        shown = metric or curve_metric(rows, results.curves)
        table = analysis.curve_table(rows, results.curves, axis, shown)
        steps = analysis.step_curves(rows, results.curves, axis, shown)
        for optimizer, members in arms(rows):
            for curve in (steps[str(run)] for run in members["run"]):
                _steps(
                    target,
                    curve.cost[curve.cost > 0],
                    curve.value[curve.cost > 0],
                    looks[optimizer],
                    alpha=0.3,
                    linewidth=0.8,
                )
        for optimizer, median in arms(table):
            _median(target, median, looks[optimizer], optimizer)
        target.set_xscale("log")
        _label(target, AXIS_TITLES[axis], shown, cell.label)
        if not table.empty:
            target.legend(fontsize="small")
    return panels[0]


def normalization(
    results: Tables,
    *,
    problem: str | None = None,
    where: Mapping[str, object] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Final headline score by optimizer: median and 95 % interval per norm, single runs as faint dots.

    A run that did not end `ok` is a cross at the worst possible value, where that is finite. Arguments as in
    `convergence`.
    """
    runs = _select(results.runs, problem, where)
    summary = analysis.summary(runs, results.curves)
    names = list(dict.fromkeys(summary["panel"]))
    norms = norm_looks(_norms(summary["norm"]))
    members = {(cell.label, name): group for cell, rows in analysis.split_cells(runs) for name, group in arms(rows)}
    panels = _panels(names, ax)
    for target, name in zip(panels, names, strict=True):
        rows = summary[summary["panel"] == name]
        metric = str(rows["metric"].iloc[0])
        optimizers = list(dict.fromkeys(rows["optimizer"]))
        present = [norm for norm in norms if norm in _norms(rows["norm"])]
        said: set[str] = set()
        for row, norm in zip(rows.to_dict("records"), _norms(rows["norm"]), strict=True):
            x = optimizers.index(row["optimizer"]) + (present.index(norm) - (len(present) - 1) / 2) * 0.8 / len(present)
            label = None if norm in said else norm_label(norm)
            said.add(norm)
            _mark(target, x, row, norms[norm], label)
            _runs(target, x + 0.25 / len(present), members[row["cell"], row["optimizer"]], metric, norms[norm])
        target.set_xticks(range(len(optimizers)), optimizers)
        _label(target, "optimizer", metric, name)
        if len(present) > 1:
            target.legend(fontsize="small")
    return panels[0]


def gradient_flow(
    results: Tables,
    *,
    problem: str | None = None,
    where: Mapping[str, object] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Gradient norm of each layer at the initialization, one line per norm. Arguments as in `convergence`.

    Raises:
        ConfigError: also where the results hold no gradients.
    """
    profile = analysis.gradient_profile(results.diagnostics)
    if profile.empty:
        raise ConfigError(
            "diagnostics: " + expectation("gradient norms per layer", "`none`", "They are measured for networks only.")
        )
    assert results.diagnostics is not None  # an empty profile was refused
    profile = analysis.gradient_profile(_select(results.diagnostics, problem, where))
    names = list(dict.fromkeys(profile["panel"]))
    norms = norm_looks(_norms(profile["norm"]))
    panels = _panels(names, ax, share=True)
    for target, name in zip(panels, names, strict=True):
        rows = profile[profile["panel"] == name].assign(norm=lambda table: _norms(table["norm"]))
        for norm, line in rows.groupby("norm", sort=False):
            look = norms[str(norm)]
            positive = line[line["value"] > 0]
            target.plot(
                positive["layer"],
                positive["value"],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                label=norm_label(str(norm)),
            )
        target.set_yscale("log")
        target.xaxis.set_major_locator(MaxNLocator(integer=True))
        target.set(xlabel="layer (1 is next to the input)", ylabel="gradient norm of dL/dz", title=name)
        if rows["norm"].nunique() > 1:
            target.legend(fontsize="small", loc="lower right")  # where a vanishing gradient leaves room
    return panels[0]


def diagnostics(
    results: Tables,
    quantity: str,
    *,
    problem: str | None = None,
    where: Mapping[str, object] | None = None,
    optimizer: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A measured quantity along the runs: median over repeats against cost, one line per layer, light to dark.

    Where it was measured before training alone, against the layer, one line per norm.

    Args:
        results: a `Results`.
        quantity: a name of `gfopt.diagnostics.quantities.QUANTITIES` that the results hold.
        problem: which problem; by default all.
        where: grid column to value; by default all cells.
        optimizer: along whose runs; by default all.
        ax: where to draw; needs a single panel.

    Returns:
        The Axes, of several panels the first; all are in `.figure.axes`.

    Raises:
        ConfigError: nothing fits, or several panels for one `ax`.
    """
    known = analysis.recorded_quantities(results.diagnostics)
    if quantity not in known:
        raise ConfigError(
            "quantity: " + expectation("one that the results hold", quantity, suggestion(quantity, known))
        )
    assert results.diagnostics is not None  # it holds the quantity
    table = analysis.trajectories(_select(results.diagnostics, problem, where), quantity)
    names = [str(name) for name in table["optimizer"].unique() if name]
    if optimizer is not None and optimizer not in names:
        raise ConfigError("optimizer: " + expectation("one with measurements", optimizer, suggestion(optimizer, names)))
    chosen = table[table["optimizer"].isin([optimizer] if optimizer is not None else names or [""])]
    keys = ["cell", "optimizer"] if names else ["panel"]
    groups = {", ".join(map(str, key)): rows for key, rows in chosen.groupby(keys, sort=False)}
    if not groups:
        raise ConfigError("problem, where: " + expectation(f"a selection with {quantity}", "`none`"))
    panels = _panels(list(groups), ax, share=True)
    for target, (name, rows) in zip(panels, groups.items(), strict=True):
        (_over_cost if names else _over_layers)(target, rows)
        target.set(ylabel=title(quantity), title=name)
        if len(target.lines) > 1:
            target.legend(fontsize="small")
    return panels[0]


def _over_cost(ax: Axes, rows: pd.DataFrame) -> None:
    """One line per layer against the cost; `layer` 0 is the whole run."""
    layers = sorted(rows["layer"].unique())
    for layer, look in zip(layers, shades(len(layers)), strict=True):
        line = rows[rows["layer"] == layer].groupby("step", sort=True)[["cost", "value"]].median()
        label = f"layer {layer}" if layer else "run"
        ax.plot(line["cost"], _finite(line["value"]), color=look.colour, marker=look.marker, label=label)
    ax.set(xscale="log", xlabel=AXIS_TITLES["forward_equivalents"])


def _over_layers(ax: Axes, rows: pd.DataFrame) -> None:
    """One line per norm against the layer."""
    norms = _norms(rows["norm"])
    for norm, look in norm_looks(norms).items():
        line = rows[[name == norm for name in norms]].groupby("layer", sort=True)["value"].median()
        style = {"color": look.colour, "linestyle": look.line, "marker": look.marker}
        ax.plot(line.index, _finite(line), label=norm_label(norm), **style)  # type: ignore[arg-type]  # plot's own args
    ax.set_xlabel("layer (1 is next to the input)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _finite(values: pd.Series) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _select(table: pd.DataFrame, problem: str | None, where: Mapping[str, object] | None) -> pd.DataFrame:
    columns = [str(column) for column in table.columns]
    full = dict(zip(short_names(analysis.cell_columns(table)), analysis.cell_columns(table), strict=True))
    chosen = table
    for name, value in {**({"problem": problem} if problem is not None else {}), **(where or {})}.items():
        column = name if name in columns else full.get(name, "")
        if not column:
            known = [*full, *full.values(), "optimizer", "problem"]
            raise ConfigError("where: " + expectation("a column of the runs", name, suggestion(name, known)))
        shown = analysis.norm_name if is_norm(column) else text
        values = [shown(text(item)) for item in table[column]]
        wanted = shown(text(value))
        if wanted not in values:
            raise ConfigError(f"{name}: " + expectation("a value of the runs", value, suggestion(wanted, set(values))))
        chosen = chosen[[shown(text(item)) == wanted for item in chosen[column]]]
    if chosen.empty:
        raise ConfigError("problem, where: " + expectation("a selection that has runs", "`none`"))
    return chosen


def _panels(names: list[str], ax: Axes | None, *, share: bool = False) -> list[Axes]:
    """One Axes per name; with `share` on one vertical scale, so that heights compare."""
    if ax is not None:
        if len(names) != 1:
            raise ConfigError(
                "ax: "
                + expectation("one panel for one ax", f"`{', '.join(names)}`", "Choose with `problem` and `where`.")
            )
        return [ax]
    import matplotlib.pyplot as plt  # only here: a figure of our own, shown by notebooks

    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 3.9 * rows), squeeze=False, sharey=share, layout="constrained"
    )
    for unused in grid.flat[len(names) :]:
        figure.delaxes(unused)
    return list(grid.flat[: len(names)])


def _steps(ax: Axes, cost: np.ndarray, value: np.ndarray, look: Look, **style: Any) -> None:
    finite = np.where(np.isfinite(value), value, np.nan)
    ax.step(cost, finite, where="post", color=look.colour, **style)


def _median(ax: Axes, rows: pd.DataFrame, look: Look, name: str) -> None:
    cost, median, low, high = (rows[c].to_numpy(dtype=float) for c in ("cost", "median", "low", "high"))
    lost, n = int(rows["failed"].iloc[0]), int(rows["n"].iloc[0])
    label = f"{name} ({lost} of {n} failed)" if lost else name
    finite = np.where(np.isfinite(median), median, np.nan)
    ax.step(
        cost,
        finite,
        where="post",
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=[-1],
        label=label,
    )
    if np.isfinite(low).any():
        top = np.nanmax(np.where(np.isfinite(high), high, np.nan)) if np.isfinite(high).any() else np.nanmax(finite)
        ax.fill_between(cost, low, np.minimum(high, top), step="post", color=look.colour, alpha=0.15, linewidth=0)


def _mark(ax: Axes, x: float, row: Mapping[str, float], look: Look, label: str | None) -> None:
    score = row["score"] if math.isfinite(row["score"]) else math.nan
    ends = [abs(row[end] - score) if math.isfinite(row[end]) else 0.0 for end in ("score_low", "score_high")]
    ax.errorbar([x], [score], yerr=[[ends[0]], [ends[1]]], fmt=look.marker, color=look.colour, capsize=3, label=label)


def _runs(ax: Axes, x: float, members: pd.DataFrame, metric: str, look: Look) -> None:
    values = final_values(members, metric)
    ok = members["status"].astype(str).to_numpy() == "ok"
    for keep, marker in ((ok, "o"), (~ok & np.isfinite(values), "x")):
        ax.plot(np.full(int(keep.sum()), x), values[keep], marker, color=look.colour, alpha=0.45, markersize=3.5)


def _label(ax: Axes, x: str, metric: str, title: str) -> None:
    ax.set(xlabel=x, ylabel=metric_title(metric), title=title)
    if worst(metric) == 0:
        ax.set_ylim(-0.02, 1.02)


def _norms(values: pd.Series) -> list[str]:
    return [norm_key(value) for value in values]
