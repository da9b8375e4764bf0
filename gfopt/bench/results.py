"""What a benchmark found, as plain values; the ratios are computed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gfopt.errors import ConfigError, expectation

FORMAT = 1


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a cell.

    Attributes:
        name: in tables.
        median: seconds of one unit of work, over the timed rounds.
        best: the shortest.
        repeats: timed rounds.
        ours: whether it is gfopt.
        against: the contender that its ratio is about; empty for the fastest that is not gfopt.
        note: how it was timed, where that differs from the others.
    """

    name: str
    median: float
    best: float
    repeats: int
    ours: bool = False
    against: str = ""
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """The contenders of one setting, timed in turn.

    Attributes:
        labels: the setting, as network, batch, members.
        contenders: in the order of the table.
        floor: seconds that a unit of work takes at least on this machine, where that was measured.
        products: the part of it that is matrix products.
    """

    labels: Mapping[str, str | int]
    contenders: tuple[Contender, ...]
    floor: float | None = None
    products: float | None = None

    def named(self, name: str) -> Contender | None:
        """The contender of that name."""
        return next((each for each in self.contenders if each.name == name), None)

    def rival(self, contender: Contender) -> Contender | None:
        """What the ratio of `contender` is about: the one that it names, else the fastest that is not gfopt."""
        if contender.against:
            return self.named(contender.against)
        others = [each for each in self.contenders if not each.ours and each is not contender]
        return min(others, key=lambda each: each.median, default=None)

    def over(self, contender: Contender, name: str) -> float | None:
        """How many times as fast as the contender of that name another one is, by the medians."""
        other = self.named(name)
        return None if other is None else other.median / contender.median

    def speedup(self, contender: Contender) -> float | None:
        """How many times as fast as its rival a contender is, by the medians."""
        rival = self.rival(contender)
        return None if rival is None else rival.median / contender.median

    def share_of_floor(self, contender: Contender) -> float | None:
        """The floor's seconds over the contender's: 1 is as fast as the machine can be."""
        return None if self.floor is None else self.floor / contender.median

    def share_of_products(self, contender: Contender) -> float | None:
        """The share of the machine's rate of matrix products that a contender has, all its time counted."""
        return None if self.products is None else self.products / contender.median


@dataclass(frozen=True)
class Reached:
    """When a trainer first had an accuracy: seconds and evaluations (gradient steps, where it takes those)."""

    seconds: float
    evaluations: int


@dataclass(frozen=True)
class Race:
    """One trainer of the section `target`.

    Attributes:
        name: in tables.
        reached: by the accuracy, as `0.9`; one that was not reached is missing.
        accuracy: the best on the training rows.
        seconds: when it was stopped.
        evaluations: spent until then.
        ours: whether it is gfopt.
        against: the trainer that it is compared with.
        note: its settings.
    """

    name: str
    reached: Mapping[str, Reached]
    accuracy: float
    seconds: float
    evaluations: int
    ours: bool = False
    against: str = ""
    note: str = ""


@dataclass(frozen=True)
class Lead:
    """How many times as fast as another a trainer reached an accuracy; `at_least`, if the other never did."""

    ratio: float
    at_least: bool


@dataclass(frozen=True)
class Peak:
    """The section `memory`: bytes of the genomes, and the process's largest resident size while it evaluated them."""

    network: str
    members: int
    batch: int
    genomes: int
    resident: int
    seconds: float


@dataclass(frozen=True)
class Reach:
    """The section `convergence`: the loss that an optimizer reached on a task, and what it is held to.

    Attributes:
        kind: the optimizer.
        task: a function or a data set.
        loss: median over the seeds.
        goal: to be at most that.
        why: the goal is another one than the others'.
    """

    kind: str
    task: str
    loss: float
    goal: float
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.loss <= self.goal


@dataclass(frozen=True)
class BenchResults:
    """Everything that one call of the benchmark found.

    Attributes:
        machine: processor, cores, memory, operating system, date.
        versions: of the packages.
        settings: the options, among them the threads.
        hardware: measured rates: `gemm` in flop/s, passes in seconds an element.
        cells: by section.
        races: of the section `target`.
        peaks: of the section `memory`.
        reaches: of the section `convergence`.
        skipped: sections that did not run, with the reason.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    hardware: Mapping[str, float]
    cells: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict)
    races: tuple[Race, ...] = ()
    peaks: tuple[Peak, ...] = ()
    reaches: tuple[Reach, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def lead(self, race: Race, accuracy: str) -> Lead | None:
        """How `race` compares with the one that it is held against; `None` where it never reached the accuracy."""
        rival = next((each for each in self.races if each.name == race.against), None)
        if rival is None or accuracy not in race.reached:
            return None
        own, other = race.reached[accuracy].seconds, rival.reached.get(accuracy)
        return Lead((rival.seconds if other is None else other.seconds) / own, other is None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; beside the seconds the ratios, which `from_dict` computes anew."""
        plain = {"format": FORMAT, **asdict(self)}
        for section, cells in self.cells.items():
            for cell, written in zip(cells, plain["cells"][section], strict=True):
                for contender, row in zip(cell.contenders, written["contenders"], strict=True):
                    row["speedup"] = cell.speedup(contender)
                    row["share_of_floor"] = cell.share_of_floor(contender)
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> BenchResults:
        """What `as_dict` returned, after JSON.

        Raises:
            ConfigError: if it is something else.
        """
        if not isinstance(plain, Mapping) or plain.get("format") != FORMAT:
            got = plain.get("format") if isinstance(plain, Mapping) else f"`a {type(plain).__name__}`"
            raise ConfigError(expectation(f"what `gfopt bench --json` writes, of format {FORMAT}", got))
        try:
            return cls(
                **{name: plain[name] for name in ("machine", "versions", "settings", "hardware", "skipped")},
                cells={section: tuple(map(_cell, cells)) for section, cells in plain["cells"].items()},
                races=tuple(map(_race, plain["races"])),
                peaks=tuple(Peak(**row) for row in plain["peaks"]),
                reaches=tuple(Reach(**row) for row in plain.get("reaches", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                expectation("what `gfopt bench --json` writes", f"`a file without it: {error}`")
            ) from None


def _cell(row: Mapping[str, Any]) -> Cell:
    derived = ("speedup", "share_of_floor")
    contenders = [Contender(**{k: v for k, v in one.items() if k not in derived}) for one in row["contenders"]]
    return Cell(row["labels"], tuple(contenders), row["floor"], row["products"])


def _race(row: Mapping[str, Any]) -> Race:
    reached = {accuracy: Reached(**when) for accuracy, when in row["reached"].items()}
    return Race(**{**row, "reached": reached})
