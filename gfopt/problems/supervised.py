"""A network, a data set and a loss as one problem, the same for backprop and for every gradient-free optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gfopt.data import Dataset, ImportanceOptions, batch_rows, load_dataset
from gfopt.engine import (
    PopulationEngine,
    calibrate,
    measure_cost,
    prepare,
    resolve_device,
    resolve_dtype,
    statistics_layers,
)
from gfopt.engine.batchnorm import has_statistics
from gfopt.engine.criterion import Criterion
from gfopt.engine.device import full_precision, resolve_precision
from gfopt.engine.dropout import DROPOUT_MASKS, drops, give_members_masks, still
from gfopt.engine.parametrizations import settle
from gfopt.errors import (
    NotDifferentiableError,
    ShapeError,
)
from gfopt.nn import (
    Normalization,
    ParameterLayout,
    gene_scale,
    initial_vectors,
    initialize_from_data,
    redundant_genes,
    wants_data,
    with_neutral,
)
from gfopt.problems.base import Cost, Problem
from gfopt.problems.checks import check_outputs, checked_batch_size, checked_bn_mode, fixed_order, one_of
from gfopt.problems.losses import CallableLoss, Loss
from gfopt.problems.metrics import metrics
from gfopt.problems.parts import Network, as_network, loss_weights, objective_losses, template_of
from gfopt.problems.requests import Request, in_parts
from gfopt.rng import derive, generator
from gfopt.types import Evaluation

STANDARD_LOSSES = ("cross_entropy", "binary_cross_entropy", "classification_error", "mse")
PROBE_ROWS = 1024  # training rows that the incumbent is judged on
REFERENCE_ROWS = 128  # rows that give the statistics of `bn_mode="reference"`
CALIBRATION_ROWS = 10_000  # training rows that re-estimate the winner's BatchNorm statistics, in one exact pass
COST_ROWS = 256  # rows on which the operations of one sample are counted
TOGETHER_ENTRIES = 2**26  # numbers in the populations, or data, of runs evaluated as one; more would save no time
SCORE_ROWS = 8192  # rows of a held-out split that run through the network at once


class SupervisedProblem(Problem):
    """Train `network` on `dataset`: a flat vector of its trainable parameters in, losses and gradients out.

    Args:
        network: an `nn.Module`, a factory that is called once per member, or a spec such as
            `{"kind": "mlp", "hidden": [32], "norm": "batch"}` whose sizes come from the data set.
        dataset: a `Dataset` or the name of one.
        loss: a name of `gfopt list losses`, or a callable `(outputs, targets)` that returns one loss per row or a
            scalar over all rows.
        objective: `{"loss": ..., "surrogate": ...}`: everyone is reported on `loss`, optimizers that need a gradient
            minimize `surrogate`.
        batch_size: rows per evaluation; `None` means the whole training set.
        device: `auto`, `cpu` or `cuda`.
        dtype: `float32` or `float64`.
        precision: of float32 matrix products and convolutions on a GPU while training: `full`; `tf32`, faster, with a
            relative error of a product of about 5e-4; or `bf16`, faster still, about 4e-3, recurrent layers excepted.
            The reported loss and the scores are computed in full precision.
        batch_order: `shuffled` anew in every epoch, or `sorted` by target and always the same: class by class, the
            worst case for batch statistics.
        dropout: `shared` drops the same units of every member (common random numbers, so that members differ by their
            parameters alone), `member` draws a mask for each.
        bn_mode: whose statistics BatchNorm uses while training: `batch`, `reference` or `running`
            (see `gfopt.engine.batchnorm`).
        sample_weight: `(N,)` weights of the training rows in the loss.
        importance: weights against covariate shift, as `{"weights": "ulsif", "flattening": 1.0}` (see
            `gfopt.data.ImportanceOptions`): they multiply `sample_weight` in the loss, and they weigh the validation
            loss, which then estimates the test loss. A minibatch divides by the sum of its own weights, so small ones
            weigh a little less sharply than the whole.
        trainable: a pattern such as `"head.*"`, several, or a predicate on names: only these are genes.

    Raises:
        ConfigError, NetworkError, DataError: if the parts do not fit, in words that say how to mend it.
    """

    def __init__(
        self,
        network: Network,
        dataset: Dataset | str,
        *,
        loss: str | Mapping[str, Any] | Callable[..., Any] | Loss = "cross_entropy",
        objective: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        batch_order: str = "shuffled",
        dropout: str = "shared",
        device: str = "auto",
        dtype: str = "float32",
        precision: str = "full",
        bn_mode: str = "batch",
        sample_weight: np.ndarray | Sequence[float] | None = None,
        importance: Mapping[str, Any] | ImportanceOptions | None = None,
        trainable: str | Sequence[str] | Callable[[str], bool] | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype)
        self.precision = resolve_precision(precision, self.device, self.dtype)
        self.dataset = load_dataset(dataset) if isinstance(dataset, str) else dataset
        self.loss, self.surrogate = objective_losses(loss, objective)
        for part in {id(self.loss): self.loss, id(self.surrogate): self.surrogate}.values():
            part.check(self.dataset)
        weights = loss_weights(self.dataset, sample_weight, importance)
        self.effective_sample_size = weights.effective_sample_size
        self._load_data(weights.train, weights.validation)
        self.batch_size = checked_batch_size(batch_size, self.dataset)
        self._order = fixed_order(batch_order, self.dataset)
        self._masks = one_of("dropout", dropout, DROPOUT_MASKS)
        self._network = as_network(network, self.dataset, self.loss, self.surrogate)
        self._module = template_of(self._network).to(self.dtype)
        self.layout = ParameterLayout.of(self._module, trainable)
        self.bn_mode = checked_bn_mode(bn_mode, self._module, self.batch_size or len(self._x))
        self.dim = self.layout.dim
        self.groups = with_neutral(self.layout.groups, self._module, self._is_invariant)
        self.n_redundant = redundant_genes(self.groups, self._module)
        self.bounds = None
        self.scale = gene_scale(self._network, self.layout).to(self.device, self.dtype)
        if self.bn_mode == "running" and not has_statistics(self._module):
            first = initial_vectors(self._network, self.layout, 1, 0)[0]
            self.layout.assign(self._module, first.to(self.dtype))
            calibrate(self._module, self._x[:CALIBRATION_ROWS].cpu())
        self._module.to(self.device)
        self._prepare_engines()
        self._examine()
        self._scored: tuple[Tensor, nn.Module] | None = None

    def initial(self, count: int, seed: int) -> Tensor:  # noqa: D102 - as in the contract
        vectors = initial_vectors(self._network, self.layout, count, seed).to(self.device, self.dtype)
        if wants_data(self._module):
            for row, vector in enumerate(vectors):
                module = copy.deepcopy(self._probe_engine.module)
                self.layout.assign(module, vector)
                initialize_from_data(module, self._reference)
                vectors[row] = self.layout.flatten(module)
        return vectors

    def ready(self, *, gradient: bool = False) -> None:  # noqa: D102 - as in the contract
        self._engine.ready(gradient=gradient)

    def batch(self, step: int) -> int:  # noqa: D102 - as in the contract
        return 0 if self.batch_size is None else step

    def evaluate(self, population: Tensor, step: int = 0, *, seed: int = 0, gradient: bool = False) -> Evaluation:
        """Losses, and gradients if asked for, of `(P, D)` rows on minibatch `step` of stream `seed`.

        The gradient, and the loss that comes with it, are the surrogate's where the objective names one.
        """
        population = self._checked(population)
        if gradient and not self.differentiable:
            raise NotDifferentiableError(self.why_no_gradient())
        rows = self._rows(step, seed)
        inputs = self._inputs(rows)
        criterion = self._criterion(self.surrogate if gradient else self.loss, rows)
        mask = derive(seed, "dropout", step)
        if not gradient:
            values = self._engine.losses(population, inputs, criterion, seed=mask)
            return Evaluation(values, None, len(inputs), self.batch(step))
        values, gradients = self._engine.gradients(population, inputs, criterion, seed=mask)
        return Evaluation(values, gradients, len(inputs), self.batch(step))

    def evaluate_together(self, requests: Sequence[Request]) -> list[Evaluation]:
        """What `evaluate` gives for each request, the members of all of them side by side, each on its own rows."""
        if drops(self._engine.module):  # masks are drawn for a population by itself
            return super().evaluate_together(requests)
        found: dict[int, Evaluation] = {}
        for places in in_parts(requests, TOGETHER_ENTRIES // max(self.dim, self._x[: self.batch_size].numel())):
            mine = [requests[place] for place in places]
            losses, gradients, samples = self._side_by_side(mine)
            first = 0
            for place, request in zip(places, mine, strict=True):
                own = slice(first, first + len(request.population))
                gradient = None if gradients is None else gradients[own]
                found[place] = Evaluation(losses[own], gradient, samples, self.batch(request.step))
                first = own.stop
        return [found[place] for place in range(len(requests))]

    def _side_by_side(self, requests: Sequence[Request]) -> tuple[Tensor, Tensor | None, int]:
        """Losses, gradients and the rows that each member saw, of the members of all requests one after the other."""
        gradient = requests[0].gradient
        population = torch.cat([self._checked(request.population) for request in requests])
        # A row alone would be computed another way, and its rounding tell whether other runs are still there.
        alone = len(population) == 1
        if self.batch_size is None:
            whole = self.evaluate(population.expand(2, -1) if alone else population, gradient=gradient)
            return whole.loss, whole.gradient, whole.samples
        if gradient and not self.differentiable:
            raise NotDifferentiableError(self.why_no_gradient())
        members = [len(request.population) for request in requests]
        rows = [self._rows(request.step, request.seed) for request in requests]
        inputs = torch.stack([self._inputs(mine) for mine in rows])
        criteria = [self._criterion(self.surrogate if gradient else self.loss, mine) for mine in rows]
        seeds = [0] * len(requests)  # of masks, of which there are none
        if not gradient:
            losses = self._engine.losses_of_streams(population, inputs, criteria, members, seeds)
            return losses, None, inputs.shape[1]
        stream = [place for place, count in enumerate(members) for _ in range(count)] * (2 if alone else 1)
        each = [criteria[place] for place in stream]
        pair = population.expand(2, -1) if alone else population
        losses, gradients = self._engine.gradients_of_streams(pair, inputs[stream], each, [0] * len(stream))
        return losses, gradients, inputs.shape[1]

    def probe(self, population: Tensor) -> Evaluation:
        """Reported losses on up to 1024 fixed training rows, with dropout off."""
        inputs = self._inputs(self._probe_rows)
        criterion = self._criterion(self.loss, self._probe_rows)
        values = self._probe_engine.losses(self._checked(population), inputs, criterion)
        return Evaluation(values, None, len(inputs), 0)

    def score(self, parameters: Tensor, split: str = "test") -> dict[str, float]:
        """The reported loss and the task's metrics on a split; BatchNorm statistics re-estimated on training rows.

        With importance weights the validation loss is weighted; the metrics never are.
        """
        x, y = self.dataset.split(split)
        module = self._scoring_module(parameters)
        inputs = torch.as_tensor(np.array(x), dtype=self.dtype)
        targets = self.loss.targets(np.array(y), self.dtype)
        with torch.no_grad(), full_precision(self.device):
            outputs = torch.cat([module(part.to(self.device)).cpu() for part in torch.split(inputs, SCORE_ROWS)])
            weight = self._validation_weight if split == "validation" else None
            value = float(torch.as_tensor(self.loss(outputs, targets, weight)))
        scale = self.dataset.target_scaling.scale if self.dataset.task == "regression" else 1.0
        return {"loss": value, **metrics(self.dataset.task, outputs, targets, target_scale=scale)}

    @property
    def splits(self) -> tuple[str, ...]:  # noqa: D102 - as in the contract
        return self.dataset.splits

    def module(self, parameters: Tensor) -> nn.Module:
        """A network of its own that holds `(D,)` parameters, in evaluation mode, BatchNorm statistics re-estimated.

        With `bn_mode="running"` the statistics are those that it was trained with; with `reference` those of the
        reference rows.
        """
        return self._fill(copy.deepcopy(self._module), parameters)

    def _fill(self, module: nn.Module, parameters: Tensor) -> nn.Module:
        self.layout.assign(module, self._checked(parameters.reshape(1, -1))[0])
        settle(module)
        with full_precision(self.device):
            if self.bn_mode == "batch":
                calibrate(module, self._x[:CALIBRATION_ROWS])
            elif self.bn_mode == "reference":
                calibrate(module, self._reference)
        return module.eval()

    def why_no_gradient(self) -> str:
        """The part that has no gradient, and what to do about it; empty if there is one."""
        flat = [type(m).__name__ for m in self._module.modules() if not getattr(m, "differentiable", True)]
        if flat:
            return (
                f"the network has no useful gradient: its layer {flat[0]} is not differentiable. Train it gradient-free"
            )
        if not self.surrogate.differentiable:
            return (
                f"the loss {self.surrogate.name} has no useful gradient. Give gradient optimizers a differentiable "
                f"surrogate: objective={{loss: {self.loss.name}, surrogate: cross_entropy}}"
            )
        return ""

    def template(self) -> nn.Module:
        """A copy of the network's structure, on the CPU; its values mean nothing."""
        return copy.deepcopy(self._module).cpu()

    @property
    def out_features(self) -> int:
        """Numbers that the network returns for a row."""
        return self._out_features

    @property
    def judged_by(self) -> str:
        """`loss` where the reported loss is the study's own choice (F1, costs, a callable), else `task`."""
        return "task" if self.loss.name in STANDARD_LOSSES else "loss"

    def training_view(self, parameters: Tensor, step: int = 0, *, seed: int = 0) -> tuple[nn.Module, Tensor, Criterion]:
        """What one member computes during training, for looking inside.

        Returns:
            A network of its own that holds `(D,)` parameters, the rows of minibatch `step` of stream `seed`, and the
            map from its outputs to the loss that gradients are taken of.
        """
        module = copy.deepcopy(self._engine.module)
        self.layout.assign(module, self._checked(parameters.reshape(1, -1))[0])
        rows = self._rows(step, seed)
        inputs = self._inputs(rows)
        return module, inputs, self._criterion(self.surrogate, rows)

    def _load_data(self, weight: Tensor | None, validation_weight: Tensor | None) -> None:
        """Move the training rows, their targets and weights to the device once; choose the fixed rows."""
        self._x = torch.as_tensor(np.array(self.dataset.x_train), dtype=self.dtype, device=self.device)
        y = np.array(self.dataset.y_train)
        self._targets = {id(loss): loss.targets(y, self.dtype).to(self.device) for loss in (self.loss, self.surrogate)}
        count = len(self._x)
        self._weight = None if weight is None else weight.to(self._x)
        self._validation_weight = None if validation_weight is None else validation_weight.to(self.dtype)
        probe = np.arange(count)
        if count > PROBE_ROWS:
            probe = np.sort(generator("probe", count).choice(count, PROBE_ROWS, replace=False))
        self._probe_rows = torch.as_tensor(probe, device=self.device)
        reference = batch_rows(count, min(count, REFERENCE_ROWS), derive("reference"), 0)
        self._reference = self._x[torch.as_tensor(np.array(reference), device=self.device)]

    def _prepare_engines(self) -> None:
        self._ahead = len(self._reference) if self.bn_mode == "reference" and statistics_layers(self._module) else 0
        module = prepare(self._module, self.bn_mode, self._ahead)
        if self._masks == "member":
            give_members_masks(module)
        size = self.batch_size or len(self._x)
        example = self._with_reference(self._x[:size])
        self._engine = PopulationEngine(module, self.layout, example, precision=self.precision)
        quiet = copy.deepcopy(module)
        still(quiet)
        rows = self._with_reference(self._x[self._probe_rows])
        self._probe_engine = PopulationEngine(quiet, self.layout, rows, strategy=self._engine.strategy)

    def _examine(self) -> None:
        """Run one member before anything starts: output shape, differentiability, cost."""
        size = self.batch_size or len(self._x)
        inputs = self._with_reference(self._x[:size])
        outputs = self._engine.outputs(self.layout.flatten(self._module).reshape(1, -1), inputs)[:, self._ahead :]
        for loss in (self.loss, self.surrogate):
            check_outputs(outputs, size, loss, self.dataset)
            if isinstance(loss, CallableLoss):
                loss.examine(outputs[0], self._targets[id(loss)][:size])
        self._out_features = int(outputs.shape[-1])
        self.differentiable = not self.why_no_gradient()
        module = copy.deepcopy(self._engine.module).cpu()
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in self.layout.names)
        rows = inputs[: self._ahead + COST_ROWS].cpu()
        measured = measure_cost(module, rows, Tensor.sum if self.differentiable else None)
        self.cost = Cost(measured.forward, measured.backward, measured.backward / measured.forward)

    def _rows(self, step: int, seed: int) -> Tensor | None:
        """Row numbers of minibatch `step`; `None` for the whole training set."""
        if self.batch_size is None:
            return None
        rows = batch_rows(len(self._x), self.batch_size, seed, step, self._order)
        return torch.as_tensor(np.array(rows), device=self.device)

    def _inputs(self, rows: Tensor | None) -> Tensor:
        """The samples of these rows, `None` for all of the training set; behind the reference rows, if any."""
        # Not by brackets: torch does that in threads which then keep the cores busy, waiting for more.
        return self._with_reference(self._x if rows is None else self._x.index_select(0, rows))

    def _with_reference(self, inputs: Tensor) -> Tensor:
        return torch.cat([self._reference, inputs]) if self._ahead else inputs

    def _criterion(self, loss: Loss, rows: Tensor | None) -> Criterion:
        """The loss on these rows, of `(..., B, C)` or `(..., B, T, C)` outputs; reference rows do not count."""
        targets, weight = self._targets[id(loss)], self._weight
        if rows is not None:
            targets = targets.index_select(0, rows)
            weight = None if weight is None else weight.index_select(0, rows)
        if self.dataset.steps is not None:
            return Criterion(loss, targets, weight, self._ahead, axis=-3)
        return Criterion(loss, targets, weight, self._ahead, loss.compiled)

    def _scoring_module(self, parameters: Tensor) -> nn.Module:
        """What `module(parameters)` gives, in one module that is used again and again; kept for the same vector."""
        if self._scored is None:
            self._scored = (parameters.clone(), self.module(parameters))
        elif not torch.equal(self._scored[0], parameters):
            self._scored = (parameters.clone(), self._fill(self._scored[1], parameters))
        return self._scored[1]

    def _checked(self, population: Tensor) -> Tensor:
        if population.ndim != 2 or population.shape[1] != self.dim:
            raise ShapeError(f"population: expected shape (P, {self.dim}), got {tuple(population.shape)}")
        return population.to(self.device, self.dtype)

    def _is_invariant(self, norm: Normalization) -> bool:
        """Whether a norm's statistics follow the weights: stored ones do not."""
        return not (norm.of_batch and self.bn_mode == "running")
