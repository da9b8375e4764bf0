"""The report: one HTML file with everything in it, that opens without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jinja2
import pandas as pd
import yaml

from gfopt import analysis
from gfopt.analysis.finding import Finding
from gfopt.analysis.frames import arms, failed, is_norm, text
from gfopt.analysis.goals import RULE, TargetSpec
from gfopt.analysis.verdict import of_panel
from gfopt.errors import DataError, expectation
from gfopt.report import captions, figures, table
from gfopt.report.convergence import Convergence, convergence
from gfopt.report.style import Look, norm_key, norm_looks, optimizer_looks
from gfopt.report.tuned import tuning
from gfopt.report.why import why


class ResultsLike(Protocol):
    """What a report is written from.

    Attributes:
        runs, curves, diagnostics: the tables; diagnostics may be empty or `None`.
        study: the study file as a mapping.
        environment: versions and machine.

    Where the study tunes, `tuned` is the table of what was chosen.
    """

    @property
    def runs(self) -> pd.DataFrame: ...  # noqa: D102  # documented above
    @property
    def curves(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def diagnostics(self) -> pd.DataFrame | None: ...  # noqa: D102
    @property
    def study(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def environment(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Panel:
    """One row of the first picture: final scores, and the gradient per layer beside them.

    Attributes:
        name: the problem with its grid values other than the norm.
        number: for ids.
        score: caption of the scores.
        gradient: caption of the gradients; empty where there are none.
        layers: the gradient figure's numbers, a row per layer with a value per norm.
        norms: heads of those columns.
    """

    name: str
    number: int
    score: str
    gradient: str
    layers: list[list[str]]
    norms: list[str]


def write_report(results: ResultsLike, path: str | Path) -> Path:
    """Write the report page.

    Args:
        results: runs, curves, diagnostics, study and environment.
        path: of the HTML file; its folder must exist.

    Returns:
        The path, as a `Path`.

    Raises:
        DataError: there are no runs.
    """
    if results.runs.empty:
        raise DataError("runs: " + expectation("at least one run", "`none`", "Run the study first."))
    target = Path(path)
    target.write_text(render(results), encoding="utf-8")
    return target


def render(results: ResultsLike) -> str:
    """The page as text; see `write_report`."""
    report = results.study.get("report") or {}
    baseline: str | None = report.get("baseline")
    goals: TargetSpec = report.get("targets") or "auto"
    summary = analysis.summary(results.runs, results.curves, baseline=baseline, target_spec=goals)
    found = analysis.findings(
        results.runs, results.curves, results.diagnostics, baseline=baseline, target_spec=goals, table=summary
    )
    profile = analysis.gradient_profile(results.diagnostics)
    norms = _norms(summary, profile)
    looks = optimizer_looks(summary["optimizer"])
    drawn: dict[str, Any] = {}
    panels = [
        _panel(number, name, rows, results.runs, profile, found, norms, drawn)
        for number, (name, rows) in enumerate(summary.groupby("panel", sort=False))
    ]
    curves = convergence(results.runs, results.curves, looks)
    reasons = why(results.diagnostics, results.runs)
    tuned = tuning(getattr(results, "tuned", None))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gfopt.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        **_head(results, found),
        panels=panels,
        curves=curves,
        why=reasons,
        tuning=tuned,
        **_tables(results, summary),
        figures=script_json(
            {
                "panels": drawn,
                "convergence": curves.specs if curves else {},
                "why": reasons.specs if reasons else {},
            }
        ),
        style=_asset("report.css"),
        script=_asset("report.js"),
        plotly=_plotly(),
        rule=RULE,
    )


def _head(results: ResultsLike, found: Sequence[Finding]) -> dict[str, Any]:
    runs = results.runs
    general = [f.text for f in found if not f.panel]
    overview = [f.text for f in found if f.topic == "overview"]
    return {
        "title": str(results.study.get("name") or "study"),
        "counts": {
            "runs": len(runs),
            "problems": runs["problem"].nunique(),
            "optimizers": runs["optimizer"].nunique(),
            "repeats": runs["repeat"].nunique(),
        },
        "few": analysis.repeats_needed() if runs["repeat"].nunique() < analysis.repeats_needed() else 0,
        "overview": overview,
        "closing": [text for text in general if text not in overview],
        "by_panel": {
            panel: [f.text for f in found if f.panel == panel and f.topic != "gradient"]  # the caption of its figure
            for panel in dict.fromkeys(f.panel for f in found if f.panel)
        },
    }


def _panel(
    number: int,
    name: object,
    rows: pd.DataFrame,
    runs: pd.DataFrame,
    profile: pd.DataFrame,
    found: Sequence[Finding],
    norms: Mapping[str, Look],
    drawn: dict[str, Any],
) -> Panel:
    panel = str(name)
    members = {
        (cell.label, optimizer): group
        for cell, mine in analysis.split_cells(runs)
        if cell.panel == panel
        for optimizer, group in arms(mine)
    }
    drawn[f"score-{number}"] = figures.score_figure(rows, members, norms)
    mine = profile[profile["panel"] == panel]
    layers: list[list[str]] = []
    if not mine.empty:
        drawn[f"gradient-{number}"] = figures.gradient_figure(mine, norms)
        layers = captions.layer_rows(mine)
    gradient = " ".join(of_panel(found, panel, "gradient")) or (captions.GRADIENT if layers else "")
    return Panel(panel, number, captions.scores(rows), gradient, layers, captions.norm_heads(mine))


def _norms(*tables: pd.DataFrame) -> dict[str, Look]:
    """The looks of all norms in the column `norm` of the tables."""
    return norm_looks([norm_key(norm) for table in tables if "norm" in table.columns for norm in table["norm"]])


def _tables(results: ResultsLike, summary: pd.DataFrame) -> dict[str, Any]:
    runs = results.runs
    columns = [
        c
        for c in (
            "problem",
            *analysis.cell_columns(runs),
            "optimizer",
            "repeat",
            "status",
            "stop_reason",
            "message",
        )
        if c in runs.columns
    ]
    lost = runs.loc[failed(runs), columns]
    return {
        "blocks": table.blocks(summary),
        "labels": table.labels(summary),
        "axes": table.axes(summary),
        "middle": table.middle(summary),
        "reaches": table.reaches(summary),
        "effects": table.effects(analysis.normalization_effect(runs)),
        "failures": {
            "columns": columns,
            "rows": [[_shown(column, row[column]) for column in columns] for row in lost.to_dict("records")],
        },
        "study": yaml.safe_dump(_plain(results.study), sort_keys=False, allow_unicode=True),
        "machine": _flatten(_plain(results.environment)),
        "workers": int(runs["workers"].max()) if "workers" in runs.columns and runs["workers"].notna().any() else 1,
        "conversions": captions.conversions(runs),
    }


def _shown(column: str, value: object) -> str:
    """A value of the runs' table as text, a normalization by its name."""
    return analysis.norm_name(text(value)) if is_norm(column) and text(value) else text(value)


def script_json(value: Any) -> str:
    """JSON that is safe inside a `<script>` element: no `<`, `>` or `&`, no NaN."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plain(value: Any) -> Any:
    """Nested plain values, so that YAML can write them: other objects as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or type(value) in (str, int, float, bool) else str(value)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        rows += _flatten(item, f"{prefix}{key}.") if isinstance(item, dict) else [(prefix + key, str(item))]
    return rows


def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # 5 MB of text: only when a page is written

    return str(get_plotlyjs())


__all__ = ["Convergence", "Panel", "ResultsLike", "render", "write_report"]
