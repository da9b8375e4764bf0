"""The command line: parses, calls, prints. Exit status 0 all runs ended, 1 some did not, 2 the input is wrong."""

from __future__ import annotations

import io
import json
import shlex
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gfopt.errors import ConfigError, GfoptError, StoreError, expectation
from gfopt.terminal import (
    FAILED,
    Interruptible,
    bench_with_progress,
    check_table,
    diagnose_with_progress,
    err,
    exit_status,
    out,
    print_benchmark,
    print_diagnosis,
    print_forecast,
    print_unfinished,
    print_verdict,
    read_benchmark,
    run_with_progress,
    write_benchmark,
    write_page,
    write_table,
)

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="gfopt",
    help="Compare training neural networks with and without gradients, normalized and not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    FUNCTIONS = "functions"


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
        print_forecast(loaded, where, workers)
        return
    folder = out_dir or Path("results") / loaded.config.name
    with Interruptible(folder):
        results = run_with_progress(loaded, folder, workers, where, fresh)
    page = write_page(results, results.path / "report.html")
    print_verdict(results)
    out.print(f"\nReport: {escape(str(page))}", soft_wrap=True)
    raise typer.Exit(exit_status(results))


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
    print_unfinished(results)
    raise typer.Exit(exit_status(results))


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
    written = write_page(results, page or results.path / "report.html")
    print_verdict(results)
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
        check_table(table)
    from gfopt.study import load_study

    loaded = load_study(study, overrides or (), allow_code=allow_code)
    measured = diagnose_with_progress(loaded, problem, repeats)
    if table is not None:
        write_table(measured, table)
    print_diagnosis(loaded, problem, measured, as_json=as_json)


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables, for scripts.")] = False,
) -> None:
    """List what a study can name: what it is, where it comes from, and what it can handle."""
    from gfopt.listing import entries, listing_table

    listings = {listing.value: entries(listing.value) for listing in ([what] if what else list(Listing))}
    if as_json:
        plain = {name: [asdict(entry) for entry in found] for name, found in listings.items()}
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")
        return
    for name, found in listings.items():
        out.print(listing_table(name, found))


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
    only: Annotated[
        str | None,
        typer.Option(
            metavar="SECTION,...",
            help="Of evaluation, norms, recurrent, optimizers, target, memory: by default all; convergence.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and few repeats: under a minute.")] = False,
    members: Annotated[str | None, typer.Option(metavar="N,...", help="Sizes of the population.")] = None,
    batches: Annotated[str | None, typer.Option("--batch", metavar="N,...", help="Rows of a batch.")] = None,
    networks: Annotated[
        str | None, typer.Option("--network", metavar="NAME,...", help="Networks, as 64-32-10 or 64-[64]x10-10.")
    ] = None,
    norms: Annotated[str | None, typer.Option(metavar="NAME,...|all", help="Normalizations.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads. By default as many as torch uses.")] = None,
    repeats: Annotated[int | None, typer.Option(metavar="N", help="Timed rounds; their median counts.")] = None,
    limit: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="After which a trainer of `target` is stopped.")
    ] = None,
    device: Annotated[Device, typer.Option(help="A GPU has the section evaluation alone.")] = Device.CPU,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the networks would be evaluated; time nothing.")
    ] = False,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write all figures; - prints them instead of tables.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Show what --json wrote; measure nothing.")
    ] = None,
) -> None:
    """Time gfopt on this machine beside what users write instead, and beside what the machine can do."""
    from gfopt import bench as benchmark

    options = benchmark.bench_options(
        quick=quick,
        only=_names(only),
        members=_numbers("--members", members),
        batches=_numbers("--batch", batches),
        networks=_names(networks) or None,
        norms=_names(norms),
        threads=threads,
        repeats=repeats,
        limit=limit,
        device=device.value,
    )
    if explain:
        out.print(escape(benchmark.explain(options)), soft_wrap=True)
        return
    files = [file for file in (page, None if json_file in (None, "-") else Path(str(json_file))) if file is not None]
    for file in files:
        if not file.parent.is_dir():
            raise StoreError(f"{file}: cannot be written: no such folder")
    results = bench_with_progress(options) if source is None else read_benchmark(source)
    write_benchmark(results, json_file, page)
    if json_file != "-":
        print_benchmark(results)


def _names(text: str | None) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """The whole numbers of a list with commas."""
    try:
        return tuple(int(part) for part in _names(text)) or None
    except ValueError:
        raise ConfigError(f"{option}: " + expectation("whole numbers with commas between", text)) from None


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
