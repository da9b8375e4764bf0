"""Seconds to 90 % and 95 % training accuracy: gfopt's optimizers by name alone, and loops as users write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from gfopt import optimizers
from gfopt.bench import peers
from gfopt.bench.options import DIGITS_ROWS, BenchOptions, sizes_of
from gfopt.bench.overhead import KINDS
from gfopt.bench.peer_optimizers import Rows, Swarm, evolution_of_lists
from gfopt.bench.results import Race
from gfopt.bench.tasks import SEED, mlp_problem, task_of
from gfopt.bench.watch import Stopped, Watch
from gfopt.loop import Loop
from gfopt.problems import SupervisedProblem
from gfopt.rng import GlobalStreams, derive, generator
from gfopt.trace import Budget
from gfopt.types import Callback, Observation

NETWORK = "64-32-10"
WARM_UP = 0.3  # seconds of the run before the one that counts
ENDLESS = 10**9  # steps: the watch ends a run
DEAP, SWARM, ADAM, STRATEGY = "DEAP eaSimple, lists", "pyswarms tutorial", "Adam by hand", "OpenAI-ES by hand"
RIVALS = {"adam": ADAM, "deap-": DEAP, "ga": DEAP, "pyswarms-": SWARM, "pso": SWARM}  # by how a name begins
Trainer = Callable[[SupervisedProblem, peers.Task, Watch], None]  # until the watch stops it


def races(options: BenchOptions) -> Iterator[Race]:
    """One trainer after the other, on all training rows as one batch."""
    problem = mlp_problem(NETWORK, DIGITS_ROWS)
    start = problem.initial(1, SEED)
    task = task_of(problem, start, sizes_of(NETWORK))
    for kind in ("adam", *KINDS):
        yield race(f"gfopt {kind}", _ours(kind), problem, task, options.limit, ours=True, against=rival_of(kind))
    for name, (trainer, note) in PEERS.items():
        yield race(name, trainer, problem, task, options.limit, note=note)


def race(name: str, trainer: Trainer, problem: SupervisedProblem, task: peers.Task, limit: float, **about: Any) -> Race:
    """One trainer to its end. A short run first: what the first steps compile or import is on no clock."""
    for seconds in (min(limit, WARM_UP), limit):
        watch = Watch(lambda vector: accuracy(task, vector), seconds)
        with suppress(Stopped):
            trainer(problem, task, watch)
    return watch.race(name, **about)


def rival_of(kind: str) -> str:
    """The loop of others that the optimizer is held against."""
    return next((other for start, other in RIVALS.items() if kind.startswith(start)), STRATEGY)


def accuracy(task: peers.Task, vector: Tensor) -> float:
    """Share of the task's rows that the network of a `(D,)` vector puts in their class."""
    with torch.no_grad():
        own = {group.name: vector[group.slice].reshape(group.shape) for group in task.layout.groups}
        outputs: Tensor = functional_call(task.module, own, (task.inputs,))
    return float((outputs.argmax(dim=1) == task.targets).double().mean())


class _Watcher(Callback):
    """Tells the watch of each step of gfopt's loop, by the seconds of its ledger."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_generation_end(self, seen: Observation) -> None:
        """After a step; one that evaluated nothing only lets time pass."""
        ledger, rows, losses = seen.ledger, seen.population, seen.evaluation.loss
        if len(rows) == 0:
            rows, losses = seen.incumbent.reshape(1, -1), torch.tensor([torch.inf])
        self._watch.record(losses, rows, ledger.evaluations, ledger.seconds)


def _ours(kind: str) -> Trainer:
    def run(problem: SupervisedProblem, task: peers.Task, watch: Watch) -> None:
        del task
        options = optimizers.options_of(kind)
        start = problem.initial(optimizers.optimizer_class(kind).population_size(options), SEED)
        optimizer = optimizers.build(
            kind, options, start, generator(SEED, kind), scale=problem.scale, groups=problem.groups
        )
        Loop(problem, optimizer, start, Budget(steps=ENDLESS), seed=SEED, callbacks=[_Watcher(watch)]).run()

    return run


def _deap(problem: SupervisedProblem, task: peers.Task, watch: Watch) -> None:
    def evaluate(individual: list[float]) -> float:
        vector_to_parameters(torch.tensor(individual), task.module.parameters())
        with torch.no_grad():
            return task.loss().item()

    rows = problem.initial(64, SEED).numpy()
    with GlobalStreams(derive(SEED, "race", "deap")).active():
        evolution = evolution_of_lists(rows, evaluate, gene=0.1)
        watch.start()
        while True:
            evolution.advance()
            best = evolution.best
            loss = torch.tensor([best.fitness.values[0]])
            watch.generation(loss, torch.tensor([list(best)]), evolution.evaluations)


def _pyswarms(problem: SupervisedProblem, task: peers.Task, watch: Watch) -> None:
    rows = problem.initial(100, SEED).numpy()
    evaluations = 0

    def objective(positions: Rows) -> Rows:
        nonlocal evaluations
        losses = peers.numpy_losses(positions, inputs, targets, task.sizes)
        evaluations += len(positions)
        watch.generation(torch.from_numpy(losses), torch.from_numpy(positions).float(), evaluations)
        return losses

    inputs, targets = task.inputs.numpy().astype(np.float64), task.targets.numpy()
    with GlobalStreams(derive(SEED, "race", "pyswarms")).active():
        swarm = Swarm(rows)
        watch.start()
        while True:
            swarm.advance(objective, 10**6)


def _adam(problem: SupervisedProblem, task: peers.Task, watch: Watch) -> None:
    module = problem.module(problem.initial(1, SEED)[0]).train().requires_grad_(True)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    steps = 0
    watch.start()
    while True:
        before = parameters_to_vector(module.parameters()).detach()
        loss = torch.nn.functional.cross_entropy(module(task.inputs), task.targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
        steps += 1
        watch.generation(loss.detach().reshape(1), before.reshape(1, -1), steps)


def _evolution_strategy(problem: SupervisedProblem, task: peers.Task, watch: Watch) -> None:
    """OpenAI's evolution strategy (Salimans et al. 2017) by hand with `vmap`: mirrored noise, centred ranks."""
    stream = torch.Generator().manual_seed(SEED)
    centre = problem.initial(1, SEED)[0]
    optimizer = torch.optim.Adam([centre], lr=0.05)
    deviation, half, evaluations = 0.05, 64, 0
    watch.start()
    while True:
        noise = torch.randn(half, len(centre), generator=stream)
        noise = torch.cat([noise, -noise])
        rows = centre + deviation * noise
        losses = peers.hand_vmap(replace(task, population=rows), 16)()
        utilities = losses.argsort().argsort().float() / (len(rows) - 1) - 0.5
        centre.grad = utilities @ noise / (len(rows) * deviation)
        optimizer.step()
        evaluations += len(rows)
        watch.generation(losses, rows, evaluations)


PEERS: dict[str, tuple[Trainer, str]] = {
    DEAP: (_deap, "64 lists, cxBlend 0.1, mutGaussian 0.1 on a tenth of the genes, tournament of 3"),
    SWARM: (_pyswarms, "100 particles, c1 = c2 = 1.494, w = 0.729, starts at the network's own scale"),
    ADAM: (_adam, "learning rate 0.02; evaluations are steps"),
    STRATEGY: (_evolution_strategy, "vmap in chunks of 16, 128 members, sigma 0.05, Adam at 0.05"),
}
