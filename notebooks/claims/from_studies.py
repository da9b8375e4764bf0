"""Claims that the shipped studies decide: medians over their repeats, at their budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from claim import Claim, Judgement, choose
from evidence import Evidence
from matplotlib.axes import Axes

NORM = "network.norm"


def median(table: pd.DataFrame, column: str, **where: Any) -> float:
    """The median of a column over the rows with these values; `__` stands for the dot in a column's name."""
    rows = table
    for name, value in where.items():
        rows = rows[rows[name.replace("__", ".")] == value]
    if rows.empty:
        raise LookupError(f"no rows with {where}")
    return float(rows[column].median())


def bars(axes: Axes, groups: Mapping[str, Sequence[float]], ticks: Sequence[str], ylabel: str) -> None:
    """One group of bars a tick, one colour a key."""
    width = 0.8 / len(groups)
    for place, (name, values) in enumerate(groups.items()):
        axes.bar(np.arange(len(ticks)) + (place - (len(groups) - 1) / 2) * width, values, width * 0.95, label=name)
    axes.set(xticks=range(len(ticks)), xticklabels=ticks, ylabel=ylabel)
    legend_above(axes)


def legend_above(axes: Axes) -> None:
    """A legend that hides no bar."""
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize="small")


def rows_of(table: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    """The values of each row."""
    return {name: list(row.values()) for name, row in table.items()}


def listed(values: Mapping[str, float], digits: int = 2) -> str:
    """`batch 0.97, none 0.10`."""
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def gradient_free_escapes(evidence: Evidence) -> Judgement:
    """Accuracy of searches on a deep sigmoid network, and how many losses they can tell apart."""
    results = evidence.study("gradient_free_deep_sigmoid")
    optimizers, norms = ("adam", "ga", "pso"), ("none", "batch", "layer")
    table = {
        o: {n: median(results.runs, "test_accuracy", optimizer=o, network__norm=n) for n in norms} for o in optimizers
    }
    starts = results.diagnostics[results.diagnostics["step"] == 0]
    ties = {n: median(starts, "value", quantity="tie_share", layer=1, network__norm=n) for n in norms}
    searches = max(table["ga"]["none"], table["pso"]["none"])
    return Judgement(
        choose(
            searches < 0.4 and ties["none"] > 0.9,
            "true only beside a remedy that backprop profits from as well",
            "true",
        ),
        f"test accuracy without normalization: {listed({o: table[o]['none'] for o in optimizers})}; with batch "
        f"normalization: {listed({o: table[o]['batch'] for o in optimizers})}; chance is 0.10. Of 64 perturbations of "
        f"the first layer a share of {ties['none']:.2f} cannot be told apart by their loss, with batch norm of "
        f"{ties['batch']:.2f}",
        evidence.figure(
            "deep_sigmoid",
            lambda axes: bars(axes, rows_of(table), norms, "test accuracy"),
        ),
    )


def faster_with_batch_norm(evidence: Evidence) -> Judgement:
    """Steps until 90 % test accuracy."""
    results = evidence.study("batchnorm_sigmoid")
    curves = results.curves
    steps = {}
    for norm in ("none", "batch"):
        mine = curves[curves[NORM] == norm]
        firsts = [run.loc[run["test_accuracy"] >= 0.9, "steps"].min() for _, run in mine.groupby("run")]
        steps[norm] = float(np.nanmedian(firsts)) if np.isfinite(firsts).any() else np.inf
    final = {norm: median(results.runs, "test_accuracy", network__norm=norm) for norm in steps}

    def draw(axes: Axes) -> None:
        for norm, mine in curves.groupby(NORM):
            line = mine.groupby("steps")["test_accuracy"].median()
            axes.plot(line.index.to_numpy() + 1, line.to_numpy(), label=str(norm))
        axes.set(xscale="log", xlabel="step + 1", ylabel="test accuracy (median)")
        axes.legend(frameon=False)

    return Judgement(
        choose(steps["batch"] < steps["none"] / 3, "true for three sigmoid layers at one learning rate", "undecided"),
        f"0.90 test accuracy after {steps['batch']:.0f} steps with and {steps['none']:.0f} without; at the end "
        f"{listed(final)}",
        evidence.figure("batchnorm_sigmoid", draw),
    )


def less_covariate_shift(evidence: Evidence) -> Judgement:
    """Relative change of a layer's gradient by the steps of the layers below, early in training."""
    table = evidence.study("internal_covariate_shift").diagnostics
    early = table[(table["step"] > 0) & (table["step"] <= 30) & (table["layer"] > 1) & (table["optimizer"] == "sgd")]
    norms = ("none", "batch", "layer")
    shift = {
        f: {n: median(early, "value", quantity="ics_relative", network__norm=n, network__activation=f) for n in norms}
        for f in ("tanh", "sigmoid")
    }
    holds = all(values["batch"] > values["none"] for values in shift.values())
    return Judgement(
        choose(holds, "wrong at equal learning rate: it is larger", "true"),
        "relative change of the gradients of layers 2 to 4 in the first 30 steps of SGD: "
        + "; ".join(f"{f}: {listed(values, 3)}" for f, values in shift.items()),
        evidence.figure(
            "internal_covariate_shift",
            lambda axes: bars(
                axes, {f: list(v.values()) for f, v in shift.items()}, norms, "relative change of gradient"
            ),
        ),
    )


def drift_into_saturation(evidence: Evidence) -> Judgement:
    """Share of saturated entries at the start and at the end."""
    table = evidence.study("internal_covariate_shift").diagnostics
    table = table[table["quantity"] == "saturation_fraction"]
    adam = table[table["optimizer"] == "adam"]
    last = adam[adam["step"] == adam.groupby("run")["step"].transform("max")]
    shares = {}
    for norm in ("none", "batch"):
        rows = last[last[NORM] == norm].groupby(["network.activation", "run"])["value"].mean()
        shares[norm] = rows.groupby("network.activation").median()
    grown = {f: float(shares["none"][f]) for f in ("sigmoid", "tanh")}
    kept = {f: float(shares["batch"][f]) for f in grown}
    return Judgement(
        choose(min(grown.values()) > 2 * max(kept.values()), "true for saturating units and large steps", "undecided"),
        f"share of saturated entries after training with Adam, without normalization: {listed(grown)}; with batch "
        f"normalization: {listed(kept)}; nearly 0 before",
    )


def higher_learning_rates(evidence: Evidence) -> Judgement:
    """Test accuracy of norms at the two highest rates."""
    runs = evidence.study("learning_rate_and_weight_scale").runs
    norms = sorted(runs[NORM].unique(), key=lambda n: (n != "none", n))
    rates = sorted(runs["options.learning_rate"].unique())
    table = {
        n: [median(runs, "test_accuracy", network__norm=n, options__learning_rate=rate) for rate in rates]
        for n in norms
    }
    top = {n: values[-1] for n, values in table.items()}
    holds = max(v for n, v in top.items() if n != "none") > top["none"] + 0.2

    def draw(axes: Axes) -> None:
        for norm, values in table.items():
            axes.plot(rates, values, marker="o", label=norm)
        axes.set(xscale="log", xlabel="learning rate", ylabel="test accuracy (median)")
        axes.legend(frameon=False)

    return Judgement(
        choose(holds, "true", "wrong for this network, whose output layer is plain"),
        f"test accuracy at learning rate {rates[-1]:g}: {listed(top)}; at {rates[-2]:g}: "
        + listed({n: values[-2] for n, values in table.items()}),
        evidence.figure("learning_rates", draw),
    )


def regularizes(evidence: Evidence) -> Judgement:
    """Gap between test and training loss by norm."""
    runs = evidence.study("learning_rate_and_weight_scale").runs
    runs = runs[runs["options.learning_rate"] <= 0.1].assign(gap=lambda r: r["test_loss"] - r["loss"])
    scales = runs["network.init"].unique()
    gaps = {n: {s: median(runs, "gap", network__norm=n, network__init=s) for s in scales} for n in ("none", "batch")}
    worst = {n: max(values.values()) for n, values in gaps.items()}
    least = {n: min(values.values()) for n, values in gaps.items()}
    holds = worst["batch"] < worst["none"] / 2
    return Judgement(
        choose(holds, "true against bad initial weights, no regularization of its own", "undecided"),
        f"test loss minus training loss, over initial scales of the weights: none {least['none']:.2f} to "
        f"{worst['none']:.2f}, batch {least['batch']:.2f} to {worst['batch']:.2f}",
    )


def unlike_units(evidence: Evidence) -> Judgement:
    """Wine in its own units behind a norm of the inputs."""
    runs = evidence.study("feature_units").runs
    linear = runs[(runs["problem"] == "linear") & (runs["optimizer"] == "adam")]
    norms = ("none", "layer", "rms", "batch")
    table = {
        name: {
            n: median(linear[linear["dataset.scale"] == scaled], "test_accuracy", network__input_norm=n) for n in norms
        }
        for name, scaled in (("raw", False), ("standardised", True))
    }
    holds = table["raw"]["layer"] < table["standardised"]["layer"] - 0.15
    return Judgement(
        choose(holds, "true: standardise features first", "undecided"),
        f"logistic regression on wine, test accuracy on raw measurements: {listed(table['raw'])}; standardised: "
        f"{listed(table['standardised'])}",
        evidence.figure(
            "unlike_units",
            lambda axes: bars(axes, {k: list(v.values()) for k, v in table.items()}, norms, "test accuracy"),
        ),
    )


def importance_weighting(evidence: Evidence) -> Judgement:
    """Test loss with and without true weights, misspecified and well-specified."""
    runs = evidence.study("covariate_shift").runs
    runs = runs.assign(weights=runs["importance.weights"].astype(str).str.lower())
    table = {
        p: {w: median(runs, "test_loss", problem=p, weights=w) for w in ("none", "true")}
        for p in ("misspecified", "well_specified")
    }
    helps = table["misspecified"]["true"] < table["misspecified"]["none"] / 5
    hurts = table["well_specified"]["true"] > table["well_specified"]["none"]
    return Judgement(
        choose(helps and hurts, "true if the model is misspecified; else it only adds variance", "undecided"),
        "; ".join(f"{p.replace('_', '-')} model, test loss: {listed(v, 4)}" for p, v in table.items()),
    )


def sorted_batches(evidence: Evidence) -> Judgement:
    """Accuracy with class-sorted batches."""
    runs = evidence.study("batch_size_and_batchnorm").runs
    runs = runs[runs["optimizer"] == "adam"]
    table = {
        p: {f"{n}, {b} rows": median(runs, "test_accuracy", problem=p, batch_size=b, network__norm=n)
            for n in ("none", "batch") for b in (8, 128)}
        for p in ("shuffled", "sorted")
    }  # fmt: skip
    holds = table["sorted"]["batch, 128 rows"] < table["sorted"]["none, 128 rows"] - 0.1
    return Judgement(
        choose(holds, "true: a batch must look like the data", "undecided"),
        f"test accuracy, shuffled batches: {listed(table['shuffled'])}; sorted by class: {listed(table['sorted'])}",
    )


def residual_blocks(evidence: Evidence) -> Judgement:
    """Accuracy by kind of block and activation, without norm."""
    runs = evidence.study("residual").runs
    plain = runs[(runs[NORM] == "none") & (runs["optimizer"] == "adam")]
    kinds = ("plain", "post-activation", "pre-activation")
    table = {
        f: {k: median(plain, "test_accuracy", network__block=k, network__activation=f) for k in kinds}
        for f in ("sigmoid", "relu")
    }
    holds = table["sigmoid"]["pre-activation"] > 0.7 > 0.4 > table["sigmoid"]["post-activation"]
    return Judgement(
        choose(holds, "true if the path is free of activations that squash", "true"),
        "test accuracy of 12 blocks by Adam: " + "; ".join(f"{f}: {listed(v)}" for f, v in table.items()),
        evidence.figure("residual", lambda axes: bars(axes, rows_of(table), kinds, "test accuracy")),
    )


def dimension_limits(evidence: Evidence) -> Judgement:
    """Training loss of a search over that of backprop, by dimension."""
    runs = evidence.study("dimension").runs
    dims = sorted(int(d) for d in runs["dim"].unique())
    losses = {o: [median(runs, "loss", optimizer=o, dim=d) for d in dims] for o in ("adam", "ga", "pso")}
    holds = losses["ga"][0] < 1.2 * losses["adam"][0] and losses["ga"][-1] > 10 * losses["adam"][-1]

    def draw(axes: Axes) -> None:
        for name, values in losses.items():
            axes.plot(dims, values, marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel="parameters that are searched", ylabel="training loss (median)")
        axes.legend(frameon=False)

    return Judgement(
        choose(holds, "true: in few dimensions they are as good, in many far behind", "undecided"),
        "; ".join(f"{d} dimensions: {listed({o: v[i] for o, v in losses.items()}, 3)}" for i, d in enumerate(dims)),
        evidence.figure("dimension", draw),
    )


def where_it_pays(evidence: Evidence) -> Judgement:
    """Problems of a study on which a search is ahead of backprop from one start."""
    runs = evidence.study("when_gradient_free_pays").runs
    said, ahead = [], []
    for problem, mine in runs.groupby("problem", sort=False):
        by_loss = set(mine["judged_by"]) == {"loss"}
        column, sign = ("test_loss", -1) if by_loss else ("test_accuracy", 1)
        medians = mine.groupby("optimizer")[column].median()
        rivals = [name for name in ("adam", "restarts") if name in medians]
        best = max(("ga", "pso"), key=lambda name: sign * medians[name])
        lead = [sign * (medians[best] - medians[name]) > 0.02 for name in rivals]
        ahead += [str(problem)] if all(lead) else []
        what = column.replace("_", " ")
        said.append(f"{problem}: {what} {listed({name: float(medians[name]) for name in (*rivals, best)})}")
    return Judgement(
        choose(
            0 < len(ahead) < runs["problem"].nunique(), f"true for {', '.join(ahead)}, not for the others", "undecided"
        ),
        "; ".join(said),
    )


def long_lags(evidence: Evidence) -> Judgement:
    """The latch over 50 steps by cell, forget-gate bias and optimizer."""
    runs = evidence.study("long_lag").runs
    long = runs[runs["dataset.length"] == 50]
    table = {}
    for name, mine in (
        ("RNN", long[long["problem"] == "latch_rnn"]),
        ("LSTM, forget bias 0", long[(long["problem"] == "latch_lstm") & (long["network.forget_bias"] == 0)]),
        ("LSTM, forget bias 3", long[(long["problem"] == "latch_lstm") & (long["network.forget_bias"] == 3)]),
        ("GRU", long[long["problem"] == "latch_gru"]),
    ):
        table[name] = {o: median(mine, "test_accuracy", optimizer=o) for o in ("adam", "ga", "random")}
    closed, opened = table["LSTM, forget bias 0"], table["LSTM, forget bias 3"]
    guessed = table["RNN"]["random"] > 0.9
    holds = max(closed.values()) < 0.9 and opened["ga"] > closed["ga"] + 0.2
    return Judgement(
        choose(
            holds and guessed,
            "true if the gate is open; and guessing weights solves the same task with a plain RNN",
            "undecided",
        ),
        "test accuracy on the latch over 50 steps: " + "; ".join(f"{n}: {listed(v)}" for n, v in table.items()),
        evidence.figure("long_lag", lambda axes: bars(axes, rows_of(table), ("adam", "ga", "random"), "test accuracy")),
    )


def relu_suffices(evidence: Evidence) -> Judgement:
    """Backward gain of ReLU with two initializations."""
    table = evidence.study("vanishing_depth").diagnostics
    start = table[(table["step"] == 0) & (table["quantity"] == "backward_gain") & (table[NORM] == "none")]
    deepest = start[start["network.hidden"] == max(start["network.hidden"], key=len)]
    gains = {
        f"{f}, {init}": median(deepest, "value", network__activation=f, network__init=init)
        for f in ("relu", "sigmoid", "tanh")
        for init in ("torch", "he")
    }
    holds = gains["relu, he"] > 0.7 > 0.55 > gains["relu, torch"]
    return Judgement(
        choose(holds, "true if the weights are drawn for it", "undecided"),
        f"backward gain per layer of 12 layers, by activation and initialization: {listed(gains)}",
    )


def helps_searches_alike(evidence: Evidence) -> Judgement:
    """Accuracy by norm and optimizer on a shallow network, and the seconds of whitening."""
    runs = evidence.study("normalization_x_optimizer").runs
    norms = list(dict.fromkeys(runs[NORM]))
    optimizers = ("adam", "ga", "pso")
    change = {
        o: {
            n: median(runs, "test_accuracy", optimizer=o, network__norm=n)
            - median(runs, "test_accuracy", optimizer=o, network__norm="none")
            for n in norms
            if n != "none"
        }
        for o in optimizers
    }
    spans = {o: (min(v.values()), max(v.values())) for o, v in change.items()}
    seconds = {
        o: median(runs, "evaluate_seconds", optimizer=o, network__norm="whitening")
        / median(runs, "evaluate_seconds", optimizer=o, network__norm="batch")
        for o in optimizers
    }
    agree = float(np.corrcoef([list(change[o].values()) for o in optimizers])[0, 1:].max())
    return Judgement(
        choose(agree < 0.8, "wrong: what helps one optimizer need not help another", "true"),
        "change of the test accuracy by a norm, from the worst to the best of them: "
        + ", ".join(f"{o} {low:+.2f} to {high:+.2f}" for o, (low, high) in spans.items())
        + f"; correlation of the changes with Adam's at most {agree:.2f}. ZCA whitening took "
        + f"{listed(seconds, 1)} times the evaluation time of batch normalization",
        evidence.figure("norms_and_optimizers", lambda axes: _changes(axes, change)),
    )


def _changes(axes: Axes, change: Mapping[str, Mapping[str, float]]) -> None:
    names = [name if not name.startswith("{") else "group" for name in next(iter(change.values()))]
    bars(axes, rows_of(change), names, "change of test accuracy")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize="small")
    axes.axhline(0, color="0.4", linewidth=0.8)


CLAIMS = tuple(
    Claim(wording, study, judge)
    for wording, study, judge in (
        (
            "Training without gradients is a remedy for vanishing gradients.",
            "gradient_free_deep_sigmoid",
            gradient_free_escapes,
        ),
        ("Batch normalization makes training faster.", "batchnorm_sigmoid", faster_with_batch_norm),
        (
            "Batch normalization works because it reduces internal covariate shift.",
            "internal_covariate_shift",
            less_covariate_shift,
        ),
        (
            "Without normalization, inputs drift into saturation, because dot products are unbounded.",
            "internal_covariate_shift",
            drift_into_saturation,
        ),
        ("Normalization allows larger learning rates.", "learning_rate_and_weight_scale", higher_learning_rates),
        ("The 1/lambda effect of the weights' scale regularizes.", "learning_rate_and_weight_scale", regularizes),
        ("Layer normalization should not mix features in unlike units.", "feature_units", unlike_units),
        (
            "For batch normalization the samples of a batch should be drawn independently, and shuffled.",
            "batch_size_and_batchnorm",
            sorted_batches,
        ),
        ("Importance weighting mends covariate shift.", "covariate_shift", importance_weighting),
        ("An LSTM bridges long time lags.", "long_lag", long_lags),
        ("ReLU cures vanishing gradients.", "vanishing_depth", relu_suffices),
        (
            "A normalization that helps backprop helps training without gradients as well.",
            "normalization_x_optimizer",
            helps_searches_alike,
        ),
        ("Residual connections make deep networks trainable.", "residual", residual_blocks),
        ("Dimension is what limits genetic algorithms and particle swarms.", "dimension", dimension_limits),
        (
            "Where there is no useful gradient, training without gradients pays.",
            "when_gradient_free_pays",
            where_it_pays,
        ),
    )
)
