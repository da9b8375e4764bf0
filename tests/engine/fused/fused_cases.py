"""What the tests of the compiled engine share: populations, losses, and the plain float64 loop as their judge."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.criterion import Criterion
from gfopt.nn import ParameterLayout, build_network
from gfopt.problems.loss_smooth import CrossEntropy, MeanSquaredError


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(kind: str, inputs: int, outputs: int, **options: object) -> nn.Module:
    spec = {"kind": kind, "in_features": inputs, "out_features": outputs, **options}
    return build_network(spec, seed=3)


def classes(rows: int, count: int, *, weight: Tensor | None = None, ahead: int = 0) -> Criterion:
    """Cross-entropy of the rows behind those ahead."""
    targets = torch.randint(count, (rows - ahead,), generator=torch.Generator().manual_seed(rows))
    return Criterion(CrossEntropy(), targets, weight, ahead, "cross_entropy")


def values(rows: int, columns: int, *, weight: Tensor | None = None, ahead: int = 0) -> Criterion:
    """The mean squared error."""
    return Criterion(MeanSquaredError(), random(rows - ahead, columns, seed=9), weight, ahead, "squared_error")


@dataclass(frozen=True)
class Case:
    """A network with a population and samples.

    Attributes:
        module: as it is evaluated.
        layout: of its parameters.
        engine: of its batch.
        population: `(P, D)`.
        inputs: `(B, ...)`.
    """

    module: nn.Module
    layout: ParameterLayout
    engine: PopulationEngine
    population: Tensor
    inputs: Tensor

    def losses(self, criterion: Criterion) -> Tensor:
        return self.engine.losses(self.population, self.inputs, criterion)

    def loop(self, criterion: Criterion) -> Tensor:
        """`(P,)` losses of the plain module, member by member in float64."""
        outputs = self.outputs_of_loop()
        wide = replace(
            criterion,
            targets=criterion.targets if criterion.kind == "cross_entropy" else criterion.targets.double(),
            weight=None if criterion.weight is None else criterion.weight.double(),
        )
        return torch.stack([wide(one) for one in outputs])

    @torch.no_grad()
    def outputs_of_loop(self) -> Tensor:
        module = copy.deepcopy(self.module).double()
        found = []
        for vector in self.population.double():
            self.layout.assign(module, vector)
            found.append(module(self.inputs.double()))
        return torch.stack(found)


def case(
    net: nn.Module, inputs: Tensor, *, members: int = 3, spread: float = 0.5, mode: str = "batch", ahead: int = 0,
    strategy: str | None = "fused",
) -> Case:  # fmt: skip
    """Members around the network's own parameters."""
    module = prepare(net, mode, ahead)
    layout = ParameterLayout.of(module)
    population = layout.flatten(module) + spread * random(members, layout.dim, seed=members)
    return Case(module, layout, PopulationEngine(module, layout, inputs, strategy=strategy), population, inputs)


def check(found: Case, criterion: Criterion, rtol: float = 3e-6, atol: float = 1e-7) -> None:
    """Losses and outputs are those of the loop."""
    torch.testing.assert_close(found.losses(criterion).double(), found.loop(criterion), rtol=rtol, atol=atol)
    exact = found.outputs_of_loop()
    outputs = found.engine.outputs(found.population, found.inputs).double()
    torch.testing.assert_close(outputs, exact, rtol=rtol, atol=rtol * float(exact.abs().max()))
