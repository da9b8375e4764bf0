"""What the tables say in plain sentences, with the topic and the problem that each is about."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gfopt.analysis import sentences
from gfopt.analysis.effects import normalization_effect
from gfopt.analysis.escape import unaided_gain
from gfopt.analysis.finding import Finding
from gfopt.analysis.goals import TargetSpec, baseline_name, choose_baseline, has_runs
from gfopt.analysis.gradients import gradient_ratio
from gfopt.analysis.leaders import winners
from gfopt.analysis.overview import summary
from gfopt.analysis.why import explain

MOST_REASONS = 2  # sentences on why, for each panel; `explain` gives all


def findings(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    diagnostics: pd.DataFrame | None = None,
    *,
    baseline: str | None = None,
    target_spec: TargetSpec = "auto",
    table: pd.DataFrame | None = None,
) -> list[Finding]:
    """Everything that the tables say, with the topic and the panel of every sentence.

    Args:
        runs: one row a run.
        curves: one row a logged point.
        diagnostics: the long table of per-layer quantities, if there is one.
        baseline: see `goals.baseline_name`.
        target_spec: see `goals.targets`.
        table: the result of `summary` with the same arguments, if it is at hand.
    """
    if runs.empty:
        return [Finding("runs", "", "There are no runs yet.")]
    rows = summary(runs, curves, baseline=baseline, target_spec=target_spec) if table is None else table
    best, ratio = sentences.best_effects(normalization_effect(runs)), gradient_ratio(diagnostics)
    ahead, gain, explained = winners(runs, curves), unaided_gain(runs, curves), explain(diagnostics, runs)
    chosen = choose_baseline(runs, baseline)
    found = [Finding("overview", "", text) for text in sentences.overview(best, ratio)]
    for panel, mine in rows.groupby("panel", sort=False):
        name = str(panel)
        parts = {
            "normalization": sentences.normalization(name, _of(best, name)),
            "escape": sentences.escape(name, _of(gain, name)),
            "gradient": sentences.gradient(name, _of(ratio, name)),
            "winner": sentences.winner(name, _of(ahead, name), mine),
            "cost": sentences.cost(mine, chosen.get(str(mine["problem"].iloc[0]))),
            "why": _reasons(name, explained),
        }
        found += [Finding(topic, name, text) for topic, texts in parts.items() for text in texts]
    name = baseline_name(runs, baseline)
    if not has_runs(runs, name):
        found.append(Finding("cost", "", sentences.no_baseline(name, runs["optimizer"].astype(str))))
    found += [Finding("strength", "", text) for text in sentences.strength(ahead)]
    return [*found, *(Finding("runs", "", text) for text in (*sentences.shared_seconds(runs), *sentences.counts(runs)))]


def verdicts(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    diagnostics: pd.DataFrame | None = None,
    *,
    baseline: str | None = None,
    target_spec: TargetSpec = "auto",
) -> list[str]:
    """Plain sentences: what normalization changes, who is ahead on which cost and why, what is undecided or failed.

    Fewer than `findings`, for a terminal: what normalization changes is said for each problem only where the overview
    does not say it, and the gradient of each layer only where it explains something.

    Works for any study: without a normalization, with one problem, one optimizer or one repeat, and when
    every run failed. Arguments as for `findings`.
    """
    return [f.text for f in brief(findings(runs, curves, diagnostics, baseline=baseline, target_spec=target_spec))]


def brief(found: Sequence[Finding]) -> list[Finding]:
    """The findings that the verdict consists of, see `verdicts`."""
    outline = any(finding.topic == "overview" for finding in found)
    without = {"gradient"} | ({"normalization"} if outline else set())
    return [finding for finding in found if finding.topic not in without]


def _reasons(panel: str, explained: Sequence[Finding]) -> list[str]:
    """The most important causes, with the panel's name; facts explain no winner."""
    texts = of_panel(explained, panel, "why")[:MOST_REASONS]
    return [f"On {panel}, {text[:1].lower()}{text[1:]}" for text in texts]


def of_panel(found: Sequence[Finding], panel: str, topic: str) -> list[str]:
    """The sentences on one topic of one panel."""
    return [finding.text for finding in found if finding.panel == panel and finding.topic == topic]


def _of(table: pd.DataFrame, panel: str) -> pd.DataFrame:
    return table[table["panel"] == panel]
