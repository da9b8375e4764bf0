"""The command line: parses, calls, prints. Exit status 0 all runs ended, 1 some did not, 2 the input is wrong."""

from __future__ import annotations

import atexit
import io
import json
import shlex
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gfopt.errors import ConfigError, GfoptError, StoreError, expectation

if TYPE_CHECKING:
    import pandas as pd

    from gfopt.results import Results
    from gfopt.study import Study

app = typer.Typer(
    name="gfopt",
    help="Compare training neural networks with and without gradients, normalized and not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

FAILED = ("crashed", "killed", "timeout")

StudyFile = Annotated[Path, typer.Argument(help="A study file (YAML).", metavar="STUDY")]
Folder = Annotated[Path, typer.Argument(help="A results folder.", metavar="DIR")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value, as problems.deep.batch_size=64. May be repeated.",
    ),
]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="Let the study import networks from your own modules.")]


class Device(StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Engine(StrEnum):
    """What executes the runs."""

    LOCAL = "local"
    DASK = "dask"
    RAY = "ray"


class Listing(StrEnum):
    """What can be listed."""

    OPTIMIZERS = "optimizers"
    NETWORKS = "networks"
    NORMS = "norms"
    DATASETS = "datasets"
    LOSSES = "losses"


@app.command()
def run(
    study: StudyFile,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Results folder. By default results/<study>.")
    ] = None,
    overrides: Overrides = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at a time. By default one per processor, or one on a GPU.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where networks run. By default the study's.")] = None,
    engine: Annotated[Engine, typer.Option(help="What executes the runs.")] = Engine.LOCAL,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and what they will cost; start nothing.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the results that are in the folder first.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Run a study; finished runs are skipped, the report is written at the end."""
    if engine is not Engine.LOCAL:
        raise ConfigError(
            "--engine: " + expectation("local", engine.value, "The other engines are not in this version yet.")
        )
    if workers is not None and workers < 1:
        raise ConfigError("--workers: " + expectation("at least 1", workers))
    from gfopt.study import load_study

    loaded = load_study(study, overrides or (), allow_code=allow_code)
    where = None if device is None else device.value
    if dry_run:
        _forecast(loaded, where, workers)
        return
    folder = out_dir or Path("results") / loaded.config.name
    with _interruptible(folder):
        results = _run_with_progress(loaded, folder, workers, where, fresh)
    page = _report(results, results.path / "report.html")
    _verdict(results)
    out.print(f"\nReport: {escape(str(page))}", soft_wrap=True)
    raise typer.Exit(_outcome(results))


@app.command()
def status(folder: Folder) -> None:
    """How far a study is, and what failed."""
    from gfopt.results import load_results

    results = load_results(folder)
    table = Table(box=None, pad_edge=False)
    for column in ("problem", "optimizer", "done", "diverged", "failed"):
        table.add_column(column, justify="left" if column in ("problem", "optimizer") else "right")
    for (problem, optimizer), group in results.runs.groupby(["problem", "optimizer"], sort=False):
        ended = group["status"]
        table.add_row(
            escape(str(problem)),
            escape(str(optimizer)),
            str(int((ended == "ok").sum())),
            str(int((ended == "diverged").sum())),
            str(int(ended.isin(FAILED).sum())),
        )
    total = results.environment.get("runs")
    out.print(
        f"{escape(str(results.study.get('name')))}: {len(results.runs)}{f' of {total}' if total else ''} runs on disk"
    )
    if len(results.runs):
        out.print(table)
    _list_unfinished(results)
    raise typer.Exit(_outcome(results))


@app.command()
def report(
    folder: Folder,
    page: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write. By default DIR/report.html.")
    ] = None,
) -> None:
    """Write the report of a study again, and print its verdict."""
    from gfopt.results import load_results

    results = load_results(folder)
    written = _report(results, page or results.path / "report.html")
    _verdict(results)
    out.print(f"\nReport: {escape(str(written))}", soft_wrap=True)


@app.command()
def diagnose(
    study: StudyFile,
    overrides: Overrides = None,
    problem: Annotated[str | None, typer.Option(metavar="NAME", help="Only this problem.")] = None,
    repeats: Annotated[int, typer.Option(metavar="N", help="Starts of each problem; medians are shown.", min=1)] = 3,
    table: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the numbers too: FILE.csv or FILE.parquet.")
    ] = None,
    allow_code: AllowCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Why a study's networks are hard or easy to train: gradients, saturation and blindness at the start."""
    if table is not None:
        _check_table(table)
    from gfopt.study import load_study

    loaded = load_study(study, overrides or (), allow_code=allow_code)
    measured = _diagnose_with_progress(loaded, problem, repeats)
    if table is not None:
        _write_table(measured, table)
    _print_diagnosis(loaded, problem, measured, as_json=as_json)


@app.command()
def best(
    folder: Folder,
    model: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write, as model.safetensors.")],
    run_key: Annotated[
        str | None, typer.Option("--run", metavar="KEY", help="A run. By default the best on validation data.")
    ] = None,
    problem: Annotated[str | None, typer.Option(help="Choose among the runs of this problem.")] = None,
) -> None:
    """Write the winner's network as a safetensors file that gfopt and plain torch can load."""
    from gfopt.results import load_results

    results = load_results(folder)
    key = results.best_run(problem) if run_key is None else results.find(run_key)
    written = results.export(key, model)
    row = results.runs.set_index("run").loc[key]
    scores = ", ".join(
        f"{c} {row[c]:.4g}" for c in ("loss", "validation_accuracy", "test_accuracy") if c in row and row[c] == row[c]
    )
    out.print(
        f"{escape(str(written))}: run {key}, {escape(str(row['problem']))}, {escape(str(row['optimizer']))}, {scores}",
        soft_wrap=True,
    )


@app.command("list")
def list_names(
    what: Annotated[Listing | None, typer.Argument(help="What to list. By default everything.")] = None,
) -> None:
    """List what a study can name."""
    import inspect

    from gfopt import registry

    for listing in [what] if what else list(Listing):
        known = getattr(registry, listing.value)
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in known.names():
            entry = known.get(name)
            about = getattr(entry, "description", None) or (inspect.getdoc(entry) or "").split("\n")[0]
            table.add_row(name, escape(str(about)))
        out.print(f"[bold]{listing.value}[/bold]")
        out.print(table)


@app.command()
def new(file: Annotated[Path, typer.Argument(help="The study file to write.", metavar="FILE")]) -> None:
    """Write a commented study file to begin with."""
    from gfopt.config import template

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(template())
    except FileExistsError:
        raise ConfigError(
            f"{file}: " + expectation("a new file", "`one that exists`", "Choose another name.")
        ) from None
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from None
    out.print(
        f"{escape(str(file))} is written. Run it with: gfopt run {escape(shlex.quote(str(file)))}",
        soft_wrap=True,
    )


@app.command()
def schema() -> None:
    """Print the JSON schema of study files, for editors."""
    from gfopt.config import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


@app.command()
def bench(
    members: Annotated[int, typer.Option(help="Networks in the population.", min=2)] = 256,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 2,
    repeats: Annotated[int, typer.Option(help="Timed repeats; the median counts.", min=1)] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time batched evaluation against a Python loop over modules, on this machine, in one run."""
    from gfopt.engine.bench import measure

    rows = measure(members=members, threads=threads, repeats=repeats)
    if as_json:
        sys.stdout.write(json.dumps([row.as_dict() for row in rows], indent=2) + "\n")
        return
    table = Table(title=f"{members} networks, {threads} threads, evaluations a second", title_justify="left")
    for column in ("network", "norm", "rows", "loop", "vmap", "native", "native : loop"):
        table.add_column(column, justify="left" if column in ("network", "norm") else "right")
    for row in rows:
        table.add_row(
            row.network,
            row.norm,
            str(row.rows),
            f"{row.loop:,.0f}",
            f"{row.vmap:,.0f}",
            f"{row.native:,.0f}",
            f"{row.native / row.loop:.2f}",
        )
    out.print(table)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of the user's input are one message and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a sign shows `?` and loses no table
            stream.reconfigure(errors="replace")
    try:
        app(args=arguments)
    except GfoptError as error:
        err.print(f"[bold red]gfopt:[/bold red] {escape(str(error))}")
        raise SystemExit(2) from None


def _forecast(study: Study, device: str | None, workers: int | None) -> None:
    from gfopt.engine import resolve_device
    from gfopt.study.study import default_workers

    rows = study.forecast(device)
    slots = workers or default_workers(resolve_device(device or study.config.device).type)
    table = Table(box=None, pad_edge=False)
    for column in ("problem", "optimizer", "runs", "genes", "rows", "steps", "s a run"):
        table.add_column(column, justify="left" if column in ("problem", "optimizer") else "right", overflow="fold")
    for row in rows:
        table.add_row(
            escape(row.problem),
            escape(row.optimizer),
            str(row.repeats),
            f"{row.dim:,}",
            str(row.population),
            f"{row.steps:,}",
            f"{row.seconds:.2g}",
        )
    out.print(table)
    seconds = sum(row.seconds * row.repeats for row in rows) / slots
    out.print(
        f"{study.config.runs} runs, {slots} at a time: about {_duration(seconds)} of evaluation, "
        "to which the optimizers' own work and the start of each run add. Nothing was started."
    )


def _run_with_progress(study: Study, folder: Path, workers: int | None, device: str | None, fresh: bool) -> Results:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from gfopt.study.study import Progress as State

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=out, transient=False) as bar:
        task = bar.add_task("preparing", total=study.config.runs, note="")
        study.prepare(device)
        show = _shown(bar, task)

        def heard(state: State) -> None:
            failures = sum(state.counts.get(s, 0) for s in (*FAILED, "diverged"))
            running = "; ".join(f"{title} {spent:.0%}" for title, (spent, _) in list(state.running.items())[:1])
            note = f"[red]{failures} not ok[/red] " if failures else ""
            show(state.finished, note + escape(running))

        results = study.run(folder, workers=workers, device=device, fresh=fresh, progress=heard)
        bar.update(task, description="done", note="")
    return results


def _check_table(file: Path) -> None:
    """Refuse what could not be written, before anything is measured."""
    if file.suffix not in (".csv", ".parquet"):
        raise ConfigError("--out: " + expectation("a file that ends in .csv or .parquet", str(file)))
    if not file.parent.is_dir():
        raise StoreError(f"{file}: cannot be written: no such folder")


def _write_table(measured: pd.DataFrame, file: Path) -> None:
    try:
        if file.suffix == ".csv":
            measured.to_csv(file, index=False)
        else:
            measured.to_parquet(file, index=False)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error


def _diagnose_with_progress(study: Study, problem: str | None, repeats: int) -> pd.DataFrame:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:  # what is printed belongs to the result alone
        task = bar.add_task("preparing", total=None)

        def heard(index: int, total: int, label: str) -> None:
            bar.update(task, description=f"measuring {escape(label)}", completed=index, total=total)

        return study.diagnose(problem, repeats, progress=heard)


def _print_diagnosis(study: Study, problem: str | None, measured: pd.DataFrame, *, as_json: bool) -> None:
    from gfopt import analysis
    from gfopt.report import diagnosis
    from gfopt.study.diagnose import chosen_cells, rows_of

    findings = analysis.explain(measured)
    if as_json:
        rows = json.loads(measured.to_json(orient="records", double_precision=15))
        said = [{"topic": found.topic, "panel": found.panel, "text": found.text} for found in findings]
        sys.stdout.write(json.dumps({"diagnostics": rows, "findings": said}, indent=2) + "\n")
        return
    for cell in chosen_cells(study.config, problem):
        rows = rows_of(cell, measured)
        out.print(f"[bold underline]{escape(cell.label)}[/bold underline]")
        if rows.empty:
            out.print("nothing to measure: it has no network, or none that can be looked into.\n")
            continue
        out.print(diagnosis.layer_table(rows))
        out.print(diagnosis.run_line(rows))
        if (unchanged := diagnosis.invariance_table(rows)) is not None:
            out.print(unchanged)
        out.print()
    if len(measured):
        out.print(f"{diagnosis.LEGEND}\n", style="dim")
    for found in findings:
        out.print(f"• {escape(f'{found.panel}: ' if found.panel else '')}{escape(found.text)}")


def _shown(bar: Any, task: Any) -> Callable[[int, str], None]:
    def show(finished: int, note: str) -> None:
        bar.update(task, description="running", completed=finished, note=note)

    return show


class _interruptible:
    """Ctrl-C says how to go on, and ends with the shell's usual status."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is KeyboardInterrupt:
            # Impatience while Python shuts down would end it by the signal, in place of the status.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
            err.print(f"\nInterrupted. Finished runs are in {escape(str(self.folder))}; the same command continues.")
            raise SystemExit(130) from None


def _report(results: Results, page: Path) -> Path:
    from gfopt.report import write_report

    try:
        return Path(write_report(results, page) or page)
    except GfoptError:
        raise
    except OSError as error:
        raise StoreError(f"{page}: cannot be written: {error.strerror}") from error


def _verdict(results: Results) -> None:
    from gfopt.report.console import summary_table

    out.print()
    for sentence in results.verdicts():
        out.print(f"• {escape(sentence)}")
    out.print()
    out.print(summary_table(results.summary()))
    _list_unfinished(results)


def _list_unfinished(results: Results) -> None:
    bad = results.runs[results.runs["status"] != "ok"]
    for row in bad.head(10).to_dict("records"):
        out.print(
            escape(f"{row['status']}: {row['problem']}, {row['optimizer']}, repeat {row['repeat']}: {row['message']}")
        )
    if len(bad) > 10:
        out.print(f"... and {len(bad) - 10} more; runs.parquet lists them.")


def _outcome(results: Results) -> int:
    return int(results.runs["status"].isin(FAILED).any())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
