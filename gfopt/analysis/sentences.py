"""The sentences of the verdict, one function per topic: each says what rows of a table hold, and no more."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from gfopt.analysis.frames import higher_is_better, shares_seconds, worst
from gfopt.analysis.goals import Baseline
from gfopt.analysis.leaders import ALPHA
from gfopt.analysis.norms import with_norm
from gfopt.analysis.paired import repeats_needed
from gfopt.analysis.wording import AXIS_WORDS, listing, metric_words, number, percent, plural, signed
from gfopt.errors import suggestion

_HALF = 0.5  # an optimizer that makes less than half of the possible improvement has not escaped


def best_effects(effects: pd.DataFrame) -> pd.DataFrame:
    """For each panel and optimizer the row of its most helpful normalization; `among` counts the choices."""
    rows = []
    # where both arms failed there is nothing to say about the norm
    failed = [
        a == b == worst(m) for a, b, m in zip(effects["without"], effects["with"], effects["metric"], strict=True)
    ]
    usable = effects[(effects["n"] > 0) & ~np.array(failed, dtype=bool)]
    for _, group in usable.groupby(["panel", "optimizer"], sort=False):
        up = higher_is_better(str(group["metric"].iloc[0]))
        gain = group["difference"] if up else -group["difference"]
        order = group.assign(gain=gain, among=len(group)).sort_values(["gain", "wins"], ascending=False)
        rows.append(order.iloc[:1])
    return pd.concat(rows) if rows else effects.assign(gain=0.0, among=0).iloc[:0]


def overview(best: pd.DataFrame, ratios: pd.DataFrame) -> list[str]:
    """What normalization changes from problem to problem, for backprop and without gradients."""
    panels = list(dict.fromkeys(best["panel"]))
    metrics = set(best["metric"])
    if len(panels) < 2 or len(metrics) != 1:
        return []
    layers = {str(r.panel): int(str(r.layers)) for r in ratios.itertuples()}
    names = {str(p): f"{p} ({layers[p]} layers)" if p in layers else str(p) for p in panels}
    metric, texts = metric_words(metrics.pop()), []
    for gradients, who in ((True, "Backprop"), (False, "Gradient-free search")):
        mine = best[best["gradients"] == gradients]
        clauses = [_changes(str(name), rows, names) for name, rows in mine.groupby("optimizer", sort=False)]
        if clauses:
            what = f"the median change in {metric} by the most helpful normalization"
            texts.append(f"{who}, {what}: {'; '.join(clauses)}.")
    return texts


def _changes(optimizer: str, rows: pd.DataFrame, names: dict[str, str]) -> str:
    pairs = zip(rows["difference"], rows["panel"], strict=True)
    return f"{optimizer} {listing([f'{signed(change)} on {names[panel]}' for change, panel in pairs])}"


def normalization(panel: str, best: pd.DataFrame) -> list[str]:
    """What normalization changes for backprop and for gradient-free search."""
    texts = []
    for gradients, who in ((True, "backprop"), (False, "gradient-free search")):
        mine = best[best["gradients"] == gradients]
        if not mine.empty:
            metric = metric_words(str(mine["metric"].iloc[0]))
            clauses = [_effect(row) for row in mine.to_dict("records")]
            among = int(mine["among"].max())
            choice = f"the most helpful of {among} normalizations" if among > 1 else "normalization"
            texts.append(f"On {panel}, {who} with {choice} (median {metric}): {'; '.join(clauses)}.")
    return texts


def _effect(row: dict[Hashable, Any]) -> str:
    """`batch lifts adam from 0.12 to 0.95 (better in 5 of 5 repeats)`; `lifts` only if in every repeat."""
    before, after, rises = number(row["without"]), number(row["with"]), row["with"] > row["without"]
    score = f"(better in {row['wins']} of {plural(int(row['n']), 'repeat')})"
    name, norm = row["optimizer"], row["norm"]
    if before == after:
        return f"{norm} leaves {name} at {before} {score}"
    if row["wins"] == row["n"]:
        return f"{norm} {'lifts' if rises else 'lowers'} {name} from {before} to {after} {score}"
    return f"{name} goes from {before} to {after} with {norm} {score}"


def escape(panel: str, gain: pd.DataFrame) -> list[str]:
    """Where backprop stalls without normalization: who makes half of the best improvement all the same."""
    gradients = gain["gradients"].astype(bool)
    free, backprop = gain[~gradients], gain[gradients]
    if free.empty or backprop.empty or backprop["gain"].max() >= _HALF:
        return []  # nothing to escape from: backprop trains without normalization too
    best = f"{gain['best'].iloc[0]} makes {with_norm(gain['best_norm'].iloc[0])}".strip()
    shares = f"of the improvement that {best}, {_shares(free)} (backprop: {_shares(backprop)})"
    if free["gain"].max() < _HALF:
        return [f"Without normalization, gradient-free search does not escape on {panel} by itself: {shares}."]
    able = listing([str(name) for name in free.loc[free["gain"] >= _HALF, "optimizer"]])
    return [f"Without normalization, what stops backprop on {panel} does not stop {able}: {shares}."]


def _shares(gain: pd.DataFrame) -> str:
    pairs = zip(gain["optimizer"], gain["gain"], strict=True)
    return listing([f"{name} makes {percent(share)}" for name, share in pairs])


def gradient(panel: str, ratios: pd.DataFrame) -> list[str]:
    """The share of the last layer's gradient that reaches the first, at the initialization."""
    rows = ratios.dropna(subset=["ratio"])
    if rows.empty:
        return []
    pairs = zip(rows["ratio"], rows["norm"], strict=True)
    shown = listing([f"{number(ratio, 2)} {_short_norm(norm)}".strip() for ratio, norm in pairs])
    where = f"Before training, on {panel} ({int(rows['layers'].max())} layers)"
    return [f"{where}, the first layer's gradient as a multiple of the last layer's: {shown}."]


def _short_norm(norm: object) -> str:
    return with_norm(norm).removesuffix(" normalization") if norm != "none" else "without normalization"


def winner(panel: str, ahead: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """Who has the best median at equal cost on each axis, in one sentence where the axes agree."""
    usable = ahead[ahead["decision"] != "none"]
    if usable.empty:
        return [f"On {panel} no run ended with a usable result."]
    tables = {str(axis): table for axis, table in usable.groupby("axis", sort=False)}
    firsts = {axis: list(zip(t["cell"], t["optimizer"], strict=True)) for axis, t in tables.items()}
    said: list[str] = []
    texts = []
    for axis, table in tables.items():
        if axis not in said:
            same = [other for other in tables if firsts[other] == firsts[axis]]
            texts.append(_ahead(panel, same, table))
            said += same
    return texts + _closest(panel, rows)


def _ahead(panel: str, axes: list[str], table: pd.DataFrame) -> str:
    """One sentence on the axes that agree; its figures are those of the first of them."""
    where = listing([f"at equal {AXIS_WORDS.get(axis, axis)}" for axis in axes])
    metric = metric_words(str(table["metric"].iloc[0]))
    if (table["decision"] == "alone").all():
        values = zip(table["value"], table["norm"], strict=True)
        shown = listing([f"{number(value)} {with_norm(norm)}".strip() for value, norm in values])
        return f"On {panel}, {table['optimizer'].iloc[0]}, the only optimizer, reaches median {metric} {shown}."
    level = table["value"] == table["next_value"]
    clauses = [_leads(str(name), rows, len(table)) for name, rows in table[~level].groupby("optimizer", sort=False)]
    for row in table[level].to_dict("records"):
        place = f"{row['optimizer']} and {row['next']} are level {with_norm(row['norm'])}".rstrip()
        clauses.append(f"{place}: {number(row['value'])}")
    basis = f", {where.split(' and ')[0]}" if len(axes) > 1 else ""
    return f"On {panel}, {where}, {'; '.join(clauses)} (median {metric}{basis})."


def _leads(optimizer: str, rows: pd.DataFrame, cells: int) -> str:
    """Where an optimizer is ahead, with the figures of its smallest lead."""
    places = _places(rows["norm"])
    if len(rows) == cells > 1:
        places = "with every normalization" + (" and without" if "none" in set(rows["norm"]) else "")
    lead = (rows["value"] - rows["next_value"]).abs()
    row = rows.assign(lead=lead.fillna(float("inf"))).sort_values(["wins", "lead"]).iloc[0]
    tie = f", tied in {row['ties']}" if row["ties"] else ""
    score = f"better in {row['wins']} of {plural(int(row['n']), 'repeat')}{tie}" if row["n"] else "no shared repeat"
    figures = f"{number(row['value'])} to {number(row['next_value'])} of {row['next']}, {score}"
    closest = f"; closest {with_norm(row['norm'])}" if len(rows) > 1 else ""
    return f"{optimizer} is ahead {places}".rstrip() + f"{closest}: {figures}"


def _places(norms: Iterable[object]) -> str:
    known = [str(norm) for norm in norms if norm is not None and norm == norm]
    normed = [norm for norm in known if norm != "none"]
    parts = ["without normalization"] if "none" in known else []
    return listing([*parts, *([f"with {listing(normed)} normalization"] if normed else [])])


def _closest(panel: str, rows: pd.DataFrame) -> list[str]:
    """The best gradient-free final result next to the best with gradients."""
    usable = rows[rows["ok"] > 0]
    free, backprop = usable[~usable["gradients"]], usable[usable["gradients"]]
    if free.empty or backprop.empty:
        return []
    metric = str(rows["metric"].iloc[0])
    first, second = (
        table.sort_values("score", ascending=not higher_is_better(metric), kind="stable").iloc[0]
        for table in (backprop, free)
    )
    return [
        f"Best final median {metric_words(metric)} on {panel}: {number(first['score'])} by backprop "
        f"({_arm(first)}), {number(second['score'])} without gradients ({_arm(second)})."
    ]


def _arm(row: pd.Series) -> str:
    return f"{row['optimizer']} {with_norm(row['norm'])}".strip()


def cost(rows: pd.DataFrame, baseline: Baseline | None) -> list[str]:
    """What the middle target costs the others, in units of the baseline, in the cell where it does best."""
    mine = rows[rows["cell"] == baseline.cell] if baseline else rows.iloc[:0]
    labels = [str(c)[7:-1] for c in rows.columns if str(c).startswith("target[") and mine[c].notna().any()]
    if baseline is None or not labels or len(mine) < 2:
        return []
    label = labels[len(labels) // 2]
    own = mine[mine["optimizer"] == baseline.optimizer].iloc[0]
    others = mine[mine["optimizer"] != baseline.optimizer]
    target = f"loss {number(own[f'target[{label}]'])} on {baseline.cell}"
    if own[f"successes[{label}]"] == 0:
        return [f"The baseline {baseline} never reaches {target}."]
    reached = others[others[f"successes[{label}]"] > 0]
    named = _cheapest(reached, label)
    clauses = [_ratio(row, own, label, baseline.optimizer) for _, row in named.iterrows()]
    if len(named) < len(reached):
        clauses.append(f"{len(reached) - len(named)} more reach it at a higher cost (see the table)")
    for runs, group in others[others[f"successes[{label}]"] == 0].groupby("n", sort=False):
        names = listing([str(name) for name in group["optimizer"]])
        clauses.append(f"{names} never, in {plural(int(str(runs)), 'run')}" + (" each" if len(group) > 1 else ""))
    return [f"To reach {target}, expected with restarts (baseline {baseline}): {'; '.join(clauses)}."]


def _cheapest(rows: pd.DataFrame, label: str, most: int = 8, named: int = 4) -> pd.DataFrame:
    """All rows, if a sentence can hold them, else the few that need least."""
    costs = [name for axis in ("forward_equivalents", "seconds") if (name := f"ert_{axis}[{label}]") in rows]
    if len(rows) <= most or not costs:
        return rows
    return rows.sort_values(costs[0], kind="stable").head(named)


def no_baseline(name: str, optimizers: Iterable[str]) -> str:
    """That nothing ran that costs could be measured by."""
    hint = suggestion(name, set(optimizers))
    return f"The baseline {name} has no runs, so there are no targets. {hint}".rstrip()


def _ratio(row: pd.Series, own: pd.Series, label: str, reference: str) -> str:
    parts = [
        f"{number(row[key] / own[key], 2)} times the {AXIS_WORDS[axis]}"
        for axis in ("forward_equivalents", "seconds")
        if (key := f"ert_{axis}[{label}]") in row and own[key] > 0 and not pd.isna(row[key])  # seconds that are shared
    ]
    reach = f"{row[f'successes[{label}]']} of {plural(int(row['n']), 'run')} reach it"
    needs = f" needs {listing(parts)} of {reference}" if parts else ""
    return f"{row['optimizer']}{needs} ({reach})"


def strength(ahead: pd.DataFrame) -> list[str]:
    """What the number of repeats can decide, and which leads it does not."""
    short = ahead[ahead["decision"] == "undecidable"]
    tested = ahead[ahead["decision"].isin(["decided", "undecided"])]
    texts = []
    if not short.empty:
        counts = sorted({int(n) for n in short["n"]})
        repeats = f"{listing([str(n) for n in counts])} paired repeat" + ("" if counts == [1] else "s")
        needed = int(short["needed"].max())
        comparisons = int(pd.concat([short, tested]).groupby("axis").size().max())
        single = repeats_needed(ALPHA)
        more = f", and {needed} for the {comparisons} comparisons made here" if needed > single else ""
        texts.append(
            f"Whether a lead is chance cannot be decided with {repeats}: at least {single} paired repeats "
            f"are needed for p < {ALPHA:g}{more}. That does not mean that there is no difference."
        )
    if not tested.empty:
        undecided = tested[tested["decision"] == "undecided"]
        texts.append(
            f"Of {plural(len(tested), 'comparison')} of the one ahead with the next, "
            f"{len(tested) - len(undecided)} can be told from chance at the {percent(ALPHA)} level "
            f"(signed-rank test over repeats, Holm's adjustment per cost axis){_undecided(undecided)}."
        )
    return texts


def _undecided(rows: pd.DataFrame, most: int = 6) -> str:
    named = [
        f"{row['optimizer']} and {row['next']} on {row['cell']} at equal {AXIS_WORDS[row['axis']]} with "
        f"{plural(int(row['n']), 'repeat')}"
        for row in rows.to_dict("records")
    ]
    more = f"; and {len(named) - most} more" if len(named) > most else ""
    return f"; undecided: {'; '.join(named[:most])}{more}" if named else ""


def shared_seconds(runs: pd.DataFrame) -> list[str]:
    """That no time was compared where runs share theirs, and where that is."""
    shared = shares_seconds(runs)
    if not shared.any():
        return []
    where = "" if shared.all() else f" on {listing(list(dict.fromkeys(runs.loc[shared, 'problem'].astype(str))))}"
    return [
        f"Seconds are left out of every comparison{where}: there the repeats were trained together (batch_repeats) and "
        "share them, so that they say nothing about a run by itself."
    ]


def counts(runs: pd.DataFrame) -> list[str]:
    """Every run, by how it ended."""
    status = runs["status"].astype(str).value_counts()
    ok, total = int(status.get("ok", 0)), len(runs)
    if ok == total:
        return [f"All {total} runs ended ok." if total > 1 else "The one run ended ok."]
    rest = listing([f"{int(count)} {name}" for name, count in status.items() if name != "ok"])
    worst = "A run that did not end ok counts as the worst possible result."
    return [f"{plural(total, 'run')}: {ok} ok, {rest}. {worst}"]
