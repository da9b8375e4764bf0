"""What the commands show while they work and when they are done; each takes what it shows, and decides nothing."""

from __future__ import annotations

import atexit
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gfopt.errors import ConfigError, GfoptError, StoreError, expectation, located

if TYPE_CHECKING:
    import pandas as pd

    from gfopt.bench import BenchOptions, BenchResults
    from gfopt.results import Results
    from gfopt.study import Study
    from gfopt.study.forecast import Forecast

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

FAILED = ("crashed", "killed", "timeout")


def print_forecast(study: Study, device: str | None, workers: int | None) -> None:
    """What each problem and optimizer of a study will cost; nothing is started."""
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
    at_once = f"the repeats of a cell together, {slots} cells" if study.config.batch_repeats else str(slots)
    out.print(
        f"{study.config.runs} runs, {at_once} at a time: about {_duration(seconds)} of evaluation, "
        "to which the optimizers' own work and the start of each run add."
    )
    if study.config.tune is not None:
        _print_tuning_forecast(study, rows, slots, device)
    out.print("Nothing was started.")


def _print_tuning_forecast(study: Study, rows: list[Forecast], slots: int, device: str | None) -> None:
    """What tuning adds, and whom it leaves as they are."""
    tuned = [row for row in rows if row.tuning_runs]
    seconds = sum(row.tuning_seconds for row in tuned) / min(slots, max(1, len(tuned)))
    tune, each = study.config.tune, len(tuned)
    assert tune is not None
    out.print(
        f"Before them {each} tuning{'s' if each != 1 else ''} of {tune.trials} trials x {len(tune.seeds)} seeds, "
        f"{sum(row.tuning_runs for row in tuned)} runs: about {_duration(seconds)} more."
    )
    for reason in study.untuned(device):
        out.print(f"• {escape(reason)}.")


def run_with_progress(study: Study, folder: Path, workers: int | None, device: str | None, fresh: bool) -> Results:
    """Run a study with a live count of its runs."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from gfopt.engine.fused.evaluator import waits
    from gfopt.study.progress import Progress as State

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
        if waits():
            bar.update(task, note="compiling kernels for this machine, once")
        study.prepare(device)
        bar.update(task, note="")
        show = _shown(bar, task)

        def heard(state: State) -> None:
            failures = sum(state.counts.get(s, 0) for s in (*FAILED, "diverged"))
            running = "; ".join(f"{title} {spent:.0%}" for title, (spent, _) in list(state.running.items())[:1])
            note = f"[red]{failures} not ok[/red] " if failures else ""
            if state.tuned < state.tunings:
                note += f"tuned {state.tuned} of {state.tunings} "
            show(state.finished, note + escape(running))

        results = study.run(folder, workers=workers, device=device, fresh=fresh, progress=heard)
        bar.update(task, description="done", note="")
    return results


def check_table(file: Path) -> None:
    """Refuse what could not be written, before anything is measured."""
    if file.suffix not in (".csv", ".parquet"):
        raise ConfigError("--out: " + expectation("a file that ends in .csv or .parquet", str(file)))
    if not file.parent.is_dir():
        raise StoreError(f"{file}: cannot be written: no such folder")


def write_table(measured: pd.DataFrame, file: Path) -> None:
    """Write a table as CSV or Parquet, by its suffix.

    Raises:
        StoreError: if the file cannot be written.
    """
    try:
        if file.suffix == ".csv":
            measured.to_csv(file, index=False)
        else:
            measured.to_parquet(file, index=False)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error


def diagnose_with_progress(study: Study, problem: str | None, repeats: int) -> pd.DataFrame:
    """Measure the networks of a study at their starts, with a line that says where it is."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:  # what is printed belongs to the result alone
        task = bar.add_task("preparing", total=None)

        def heard(index: int, total: int, label: str) -> None:
            bar.update(task, description=f"measuring {escape(label)}", completed=index, total=total)

        return study.diagnose(problem, repeats, progress=heard)


def print_diagnosis(study: Study, problem: str | None, measured: pd.DataFrame, *, as_json: bool) -> None:
    """Tables of a diagnosis, one problem after the other, and the sentences that explain them."""
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


def bench_with_progress(options: BenchOptions) -> BenchResults:
    """Run a benchmark with a line that says where it is."""
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from gfopt.bench import run_bench

    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=err, transient=True) as bar:
        task = bar.add_task("preparing", total=None)
        return run_bench(options, lambda what: bar.update(task, description=f"measuring {escape(what)}"))


def read_benchmark(file: Path) -> BenchResults:
    """What `gfopt bench --json` wrote.

    Raises:
        StoreError: if the file cannot be read.
        ConfigError: if it holds something else.
    """
    from gfopt.bench import BenchResults

    with located(str(file)):
        try:
            return BenchResults.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise StoreError(f"cannot be read: {error.strerror}") from None
        except ValueError as error:
            if isinstance(error, GfoptError):
                raise
            raise ConfigError(expectation("JSON", f"`{error}`")) from None


def write_benchmark(results: BenchResults, json_file: str | None, page: Path | None) -> None:
    """Write a benchmark as JSON (`-` is the standard output) and as Markdown, where they are asked for.

    Raises:
        StoreError: if a file cannot be written.
    """
    from gfopt.bench import markdown

    figures = json.dumps(results.as_dict(), indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(figures)
    elif json_file is not None:
        _write_text(Path(json_file), figures)
    if page is not None:
        _write_text(page, markdown(results))


def print_benchmark(results: BenchResults) -> None:
    """A table for each section of a benchmark."""
    from gfopt.bench import headline, sheets

    for line in headline(results):
        out.print(escape(line), soft_wrap=True)
    for sheet in sheets(results):
        table = Table(box=None, pad_edge=False)
        for number, column in enumerate(sheet.columns):
            table.add_column(escape(column), justify="left" if number < sheet.words else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(escape, row))
        out.print(f"\n[bold]{escape(sheet.title)}[/bold]")
        out.print(table)
        for note in sheet.notes:
            out.print(escape(note), style="dim", soft_wrap=True)
    for section, reason in results.skipped.items():
        out.print(f"\n{section} was left out: {escape(reason)}.", soft_wrap=True)


def _write_text(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error


def _shown(bar: Any, task: Any) -> Callable[[int, str], None]:
    def show(finished: int, note: str) -> None:
        bar.update(task, description="running", completed=finished, note=note)

    return show


class Interruptible:
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


def write_page(results: Results, page: Path) -> Path:
    """Write the report; its path.

    Raises:
        StoreError: if the file cannot be written.
    """
    from gfopt.report import write_report

    try:
        return Path(write_report(results, page) or page)
    except GfoptError:
        raise
    except OSError as error:
        raise StoreError(f"{page}: cannot be written: {error.strerror}") from error


def print_verdict(results: Results) -> None:
    """The verdict in sentences, the table, and the runs that did not end ok."""
    from gfopt.report.console import summary_table

    out.print()
    for sentence in results.verdicts():
        out.print(f"• {escape(sentence)}")
    out.print()
    out.print(summary_table(results.summary()))
    print_unfinished(results)


def print_unfinished(results: Results) -> None:
    """The first runs that did not end ok, with their messages."""
    bad = results.runs[results.runs["status"] != "ok"]
    for row in bad.head(10).to_dict("records"):
        out.print(
            escape(f"{row['status']}: {row['problem']}, {row['optimizer']}, repeat {row['repeat']}: {row['message']}")
        )
    if len(bad) > 10:
        out.print(f"... and {len(bad) - 10} more; runs.parquet lists them.")


def exit_status(results: Results) -> int:
    """1 if any run crashed, was killed or timed out."""
    return int(results.runs["status"].isin(FAILED).any())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
