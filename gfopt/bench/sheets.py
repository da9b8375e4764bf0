"""The results as tables of text, the same for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gfopt.bench.evaluation import AT_HOME, VMAP
from gfopt.bench.results import BenchResults, Cell, Contender, Race, Reach

NOTHING = "-"
RACE_TITLE = "Seconds to a training accuracy: digits, 64-32-10, all 1437 rows as one batch"


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        section: that it shows.
        title: above it.
        columns: their headings.
        words: how many of them, from the left, are words; the others are numbers, to the right.
        rows: as long as `columns`.
        notes: sentences below it.
    """

    section: str
    title: str
    columns: tuple[str, ...]
    words: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def headline(results: BenchResults) -> tuple[str, ...]:
    """What was measured on what, a line each."""
    machine, hardware = results.machine, results.hardware
    cpu = machine["cpu"]
    threads = results.settings["threads"]
    shown = f"{cpu['model']}, {cpu['usable']} processors, {threads} thread{'s' * (threads > 1)}"
    memory = f", {machine['memory'] / 2**30:.0f} GiB" if machine.get("memory") else ""
    gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
    packages = ("torch", "numpy", "numba", "deap", "pyswarms")
    versions = ", ".join(f"{name} {results.versions[name]}" for name in packages if name in results.versions)
    return (
        f"{shown}{memory}{gpu}; {machine['platform']}",
        f"gfopt {results.versions.get('gfopt', 'from source')}, Python {results.versions['python']}, {versions}",
        f"floor: float32 matrix products {hardware['gemm'] / 1e9:,.0f} GFLOP/s, "
        f"tanh {1e9 * hardware['tanh']:.2f} ns, exp {1e9 * hardware['exp']:.2f} ns an element",
    )


def sheets(results: BenchResults) -> tuple[Sheet, ...]:
    """A table for each section that was measured, in the order of the sections."""
    made: list[Sheet] = []
    for section, of_cells in _OF_CELLS.items():
        if cells := results.cells.get(section):
            made += of_cells(cells)
    if results.races:
        made.append(_races(results))
    if results.peaks:
        made.append(_peaks(results))
    if results.reaches:
        made.append(_reaches(results))
    return tuple(made)


def _evaluation(cells: Sequence[Cell]) -> Iterator[Sheet]:
    """A table for each network."""
    for network in dict.fromkeys(cell.labels["network"] for cell in cells):
        own = [cell for cell in cells if cell.labels["network"] == network]
        heads = [f"{cell.labels['batch']} x {cell.labels['members']}" for cell in own]
        title = f"Evaluations a second of {network}, by rows of a batch x members"
        yield _rates("evaluation", title, own, heads)


def _recurrent(cells: Sequence[Cell]) -> Iterator[Sheet]:
    labels = cells[0].labels
    title = (
        "Evaluations a second of recurrent networks: "
        f"{labels['members']} members, {labels['batch']} rows, {labels['steps']} steps"
    )
    yield _rates("recurrent", title, cells, [str(cell.labels["network"]) for cell in cells])


def _rates(section: str, title: str, cells: Sequence[Cell], heads: Sequence[str]) -> Sheet:
    """A row for each contender, a column for each cell, and the two ratios below."""
    names = dict.fromkeys(each.name for cell in cells for each in cell.contenders)
    rows = [(name, *(_rate(cell.named(name)) for cell in cells)) for name in names]
    ours = [(cell, next(each for each in cell.contenders if each.ours)) for cell in cells]
    rows.append(("gfopt : best other", *(_times(cell.speedup(each)) for cell, each in ours)))
    for other in (VMAP, AT_HOME):
        if any(cell.named(other) for cell in cells):
            rows.append((f"gfopt : {other}", *(_times(cell.over(each, other)) for cell, each in ours)))
    if any(cell.products for cell in cells):
        shares = (_percent(cell.share_of_products(each)) for cell, each in ours)
        rows.append(("gfopt, of the products' rate", *shares))
    rows.append(("gfopt, of the floor", *(_percent(cell.share_of_floor(each)) for cell, each in ours)))
    return Sheet(section, title, ("", *heads), 1, tuple(rows), tuple(_remarks(cells)))


def _remarks(cells: Sequence[Cell]) -> Iterator[str]:
    """What is to be known of single contenders, once each."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        for each in cell.contenders:
            if each.note and each.name not in found.setdefault(each.note, []):
                found[each.note].append(each.name)
    for note, names in found.items():
        yield f"{', '.join(names)}: {note}."
    expected = {each.name for cell in cells for each in cell.contenders}
    if any(cell.named(name) is None for cell in cells for name in expected):
        yield f"{NOTHING} where a contender does not run: its temporaries would not fit into the memory."


def _norms(cells: Sequence[Cell]) -> Iterator[Sheet]:
    rows = [
        (each.name, str(cell.labels["batch"]), _rate(each), _times(_cost(cell, each)))
        for cell in cells
        for each in cell.contenders
    ]
    labels = cells[0].labels
    title = f"What a normalization adds to an evaluation: {labels['network']}, {labels['members']} members"
    yield Sheet("norms", title, ("norm", "batch", "evaluations/s", "times none"), 1, tuple(rows))


def _overhead(cells: Sequence[Cell]) -> Iterator[Sheet]:
    rows = []
    for cell in cells:
        setting = (f"{cell.labels['weights']:,}", str(cell.labels["members"]))
        for each in cell.contenders:
            held = () if each.against in ("", each.name) else (_times(_cost(cell, each)), each.against)
            rows.append((each.name, *setting, f"{1e3 * each.median:,.2f}", *(held or (NOTHING, NOTHING))))
    columns = ("optimizer", "weights", "members", "ms", "times", "of")
    notes = ("The objective looks at eight genes of a row and costs next to nothing.",)
    yield Sheet("optimizers", "The optimizers' own cost: a generation of ask and tell", columns, 1, tuple(rows), notes)


def _races(results: BenchResults) -> Sheet:
    targets = tuple(sorted({accuracy for race in results.races for accuracy in race.reached})) or ("0.9",)
    rows = []
    for race in results.races:
        when = [race.reached.get(target) for target in targets]
        seconds = (NOTHING if each is None else f"{each.seconds:.2f}" for each in when)
        spent = (NOTHING if each is None else f"{each.evaluations:,}" for each in when)
        pairs = tuple(text for pair in zip(seconds, spent, strict=True) for text in pair)
        rows.append((race.name, *pairs, f"{race.accuracy:.3f}", f"{race.seconds:.1f}", *_leads(results, race, targets)))
    columns = [text for target in targets for text in (f"{float(target):.0%}: s", "evaluations")]
    held = [f"{float(target):.0%}: times as fast" for target in targets]
    notes = [f"{race.name}: {race.note}." for race in results.races if race.note and not race.ours]
    notes.insert(0, "gfopt's optimizers run with their defaults; one seed each.")
    all_columns = ("trainer", *columns, "best accuracy", "stopped at s", *held, "as")
    return Sheet("target", RACE_TITLE, all_columns, 1, tuple(rows), tuple(notes))


def _leads(results: BenchResults, race: Race, targets: Sequence[str]) -> tuple[str, ...]:
    found = [results.lead(race, target) for target in targets]
    shown = (NOTHING if lead is None else f"{'> ' * lead.at_least}{lead.ratio:.2f}" for lead in found)
    return (*shown, race.against or NOTHING)


def _peaks(results: BenchResults) -> Sheet:
    rows = [
        (p.network, str(p.members), str(p.batch), _giga(p.genomes), _giga(p.resident), f"{p.seconds:.1f}")
        for p in results.peaks
    ]
    columns = ("network", "members", "batch", "genomes GB", "peak GB", "s")
    notes = ("The largest resident size of a process that draws and evaluates the population.",)
    return Sheet("memory", "Peak memory", columns, 1, tuple(rows), notes)


def _reaches(results: BenchResults) -> Sheet:
    tasks = dict.fromkeys(each.task for each in results.reaches)
    kinds = dict.fromkeys(each.kind for each in results.reaches)
    found = {(each.kind, each.task): each for each in results.reaches}
    rows = [(kind, *(_reach(found.get((kind, task))) for task in tasks)) for kind in kinds]
    notes = ["! misses what it is held to; * is held to something else:"]
    notes += [f"{e.kind} on {e.task}: at most {e.goal:.3g}, as {e.why}." for e in results.reaches if e.why]
    title = "Loss reached from the name alone: 20,000 evaluations in 10 dimensions (3,000 of a gradient); 1,000 epochs"
    return Sheet("convergence", title, ("optimizer", *tasks), 1, tuple(rows), tuple(notes))


def _reach(reach: Reach | None) -> str:
    if reach is None:
        return NOTHING
    return f"{reach.loss:.2g}{'' if reach.met else ' !'}{' *' if reach.why else ''}"


def _rate(contender: Contender | None) -> str:
    return NOTHING if contender is None else f"{1 / contender.median:,.0f}"


def _cost(cell: Cell, contender: Contender) -> float | None:
    speedup = cell.speedup(contender)
    return None if speedup is None else 1 / speedup


def _times(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:.2f}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.0%}"


def _giga(count: int) -> str:
    return f"{count / 1e9:.2f}"


_OF_CELLS: Mapping[str, Callable[[Sequence[Cell]], Iterator[Sheet]]] = {
    "evaluation": _evaluation,
    "norms": _norms,
    "recurrent": _recurrent,
    "optimizers": _overhead,
}
