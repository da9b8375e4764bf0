"""What `gfopt bench` measures: sections, sizes, repeats; checked once, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gfopt import registry
from gfopt.engine import resolve_device
from gfopt.errors import ConfigError, expectation, suggestion

TIMED = ("evaluation", "norms", "recurrent", "optimizers", "target", "memory")
SECTIONS = (*TIMED, "convergence")  # the last one times nothing and takes minutes: only where it is named
NORMS = ("none", "batch", "layer", "weight", "cosine")
DIGITS_ROWS = 1437  # training rows; the other 360 of scikit-learn's 1797 digits are for the test
LOOP_MEMBERS = 64  # the rate of a loop over members does not depend on how many it goes through


@dataclass(frozen=True)
class GPUCase:
    """One cell of the section `evaluation` on a GPU."""

    network: str
    members: int
    batch: int


@dataclass(frozen=True)
class BenchOptions:
    """Sizes and repeats of a benchmark.

    Attributes:
        sections: of `SECTIONS`.
        networks: tanh MLPs as `64-32-10`, or `64-[64]x10-10` for ten hidden layers of 64.
        members: sizes of the population.
        batches: rows of a batch; 1437 is the whole training set of digits.
        norms: of the hidden layers of the second network, `none` among them.
        norm_members: networks in the population of the section `norms`.
        overhead_networks: whose numbers of weights the optimizers' own cost is measured at.
        overhead_members: rows of a generation there.
        repeats: timed rounds.
        threads: of torch and of the libraries behind numpy.
        device: `cpu` or `cuda`; a GPU has the section `evaluation` alone.
        patience: seconds that a contender may take of one cell's rounds before it sits out the rest.
        loop_members: networks on which a loop over members is timed.
        limit: seconds after which a trainer of the section `target` is stopped.
        gpu_cases: what is evaluated on a GPU.
    """

    sections: tuple[str, ...] = TIMED
    networks: tuple[str, ...] = ("64-32-10", "64-128-128-10", "64-[64]x10-10")
    members: tuple[int, ...] = (64, 256, 1024)
    batches: tuple[int, ...] = (256, DIGITS_ROWS)
    norms: tuple[str, ...] = NORMS
    norm_network: str = "64-128-128-10"
    norm_members: int = 256
    overhead_networks: tuple[str, ...] = ("64-32-10", "64-128-128-10")
    overhead_members: int = 256
    repeats: int = 7
    threads: int = 1
    device: str = "cpu"
    patience: float = 6.0
    loop_members: int = LOOP_MEMBERS
    limit: float = 60.0
    gpu_cases: tuple[GPUCase, ...] = (GPUCase("784-256-256-10", 1024, 1024), GPUCase("64-32-10", 4096, DIGITS_ROWS))

    def __post_init__(self) -> None:
        if not self.sections or not self.networks:
            raise ConfigError("benchmark: " + expectation("at least one section and one network", "none"))
        for name in self.sections:
            if name not in SECTIONS:
                raise ConfigError("only: " + expectation("a section", name, suggestion(name, SECTIONS)))
        for name in self.norms:
            registry.norms.check(name)
        for name in (*self.networks, *self.overhead_networks, self.norm_network):
            sizes_of(name)
        least = {"members": 2, "batches": 2, "repeats": 1, "threads": 1}
        for name, low in least.items():
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value < low:
                    raise ConfigError(f"{name}: " + expectation(f"a whole number of at least {low}", value))
        if too_large := [rows for rows in self.batches if rows > DIGITS_ROWS]:
            raise ConfigError("batches: " + expectation(f"at most the {DIGITS_ROWS} training rows", too_large[0]))
        if not 0 < self.limit < float("inf"):
            raise ConfigError("limit: " + expectation("a positive number of seconds", self.limit))


def bench_options(
    *, quick: bool = False, only: Iterable[str] = (), norms: Sequence[str] = (), **given: Any
) -> BenchOptions:
    """Options as the command line gives them: what is `None` keeps its default.

    Args:
        quick: small sizes, few repeats, and the sections that are quick; under a minute on two cores.
        only: sections, all of them by default.
        norms: names of norms, or `("all",)`.
        **given: other fields of `BenchOptions`.

    Raises:
        ConfigError: for an unknown section or norm, a number out of range, or a device that is not there.
    """
    base = _QUICK if quick else BenchOptions()
    changes: dict[str, Any] = {"threads": torch.get_num_threads()}
    changes |= {name: value for name, value in given.items() if value is not None}
    changes["device"] = resolve_device(changes.get("device", "cpu")).type
    if sections := tuple(dict.fromkeys(only)):
        changes["sections"] = sections
    elif changes["device"] != "cpu":
        changes["sections"] = ("evaluation",)
    if norms:
        names = registry.norms.names() if tuple(norms) == ("all",) else norms
        changes["norms"] = tuple(dict.fromkeys(("none", *names)))
    made = replace(base, **changes)
    if made.device != "cpu" and made.sections != ("evaluation",):
        fix = "A GPU has the section evaluation alone."
        raise ConfigError("only: " + expectation("evaluation", ",".join(made.sections), fix))
    return made


def sizes_of(network: str) -> tuple[int, ...]:
    """Units of each layer of a name such as `64-32-10` or `64-[64]x10-10`, inputs first.

    Raises:
        ConfigError: if it is no such name.
    """
    sizes: list[int] = []
    for part in network.split("-"):
        found = re.fullmatch(r"([1-9]\d*)|\[([1-9]\d*)\]x([1-9]\d*)", part)
        if found is None:
            raise ConfigError("network: " + expectation("layer sizes such as 64-32-10 or 64-[64]x10-10", network))
        sizes += [int(found[1])] if found[1] else [int(found[2])] * int(found[3])
    if len(sizes) < 3:
        raise ConfigError("network: " + expectation("inputs, at least one hidden layer, and outputs", network))
    return tuple(sizes)


_QUICK = BenchOptions(
    sections=("evaluation", "norms", "recurrent", "optimizers"),
    members=(64,),
    batches=(256,),
    norm_members=64,
    overhead_networks=("64-32-10",),
    overhead_members=64,
    repeats=3,
    patience=0.4,
    loop_members=16,
    limit=10.0,
)
