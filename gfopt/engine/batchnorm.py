"""Batch statistics in a population: every member is normalized by its own statistics, and statistics are never genes.

Three modes (`bn_mode` of a problem, the same for every optimizer, so that all minimize one objective):

- `batch`: mean and variance of the batch that is evaluated, as in training.
- `reference`: mean and variance of a fixed reference batch that runs through the network ahead of the rows
  (virtual batch normalization, Salimans et al. 2016, arXiv:1606.03498); the loss of a row then does not depend on
  the other rows. The statistics are part of the differentiated function.
- `running`: the statistics stored in the network, the same for every member, as when a trained network is fine-tuned.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from gfopt.engine.batchable import batchable
from gfopt.nn.normalization import RowStatistics

BN_MODES = ("batch", "reference", "running")


class BatchStatistics(nn.Module):
    """A BatchNorm layer without memory: it normalizes by the statistics of the rows at hand.

    Args:
        layer: the layer that it stands for; shares its `weight` and `bias`.
        reference_rows: how many leading rows give the statistics; 0 means all of them.
    """

    def __init__(self, layer: _BatchNorm, reference_rows: int = 0) -> None:
        super().__init__()
        self.weight: Tensor | None = layer.weight
        self.bias: Tensor | None = layer.bias
        self.eps = layer.eps
        self.reference_rows = reference_rows

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C)` or `(N, C, ...)` normalized per channel with the biased variance (Ioffe & Szegedy 2015)."""
        return self.normalize(x, self.weight, self.bias)

    def normalize(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """`forward` with another gain and shift, `(C,)` each."""
        if not self.reference_rows:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        affine = (t if t is None else t.reshape(shape) for t in (weight, bias))
        return self._normalized(x, x[: self.reference_rows], axes, *affine)

    def forward_members(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """The same for `(..., N, C)` rows of many members at once, with `(..., C)` weight and bias."""
        source = x[..., : self.reference_rows, :] if self.reference_rows else x
        affine = (t if t is None else t.unsqueeze(-2) for t in (weight, bias))
        return self._normalized(x, source, [-2], *affine)

    def _normalized(
        self, x: Tensor, source: Tensor, axes: list[int], weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        # Two plain means: over an axis that is not the last, torch.var_mean takes ten times as long.
        mean = source.mean(axes, keepdim=True)
        variance = (source - mean).square().mean(axes, keepdim=True)
        factor = torch.rsqrt(variance + self.eps)
        if weight is not None:
            factor = factor * weight
        normalized = (x - mean) * factor
        return normalized if bias is None else normalized + bias


def statistics_layers(module: nn.Module) -> dict[str, _BatchNorm | RowStatistics]:
    """Every layer that remembers statistics of batches, by its name; a user's own BatchNorm layers included."""
    found: dict[str, _BatchNorm | RowStatistics] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) or (isinstance(layer, RowStatistics) and layer.remember):
            found[name] = layer
    return found


def prepare(module: nn.Module, bn_mode: str, reference_rows: int = 0) -> nn.Module:
    """A copy of `module` for evaluating a population under `bn_mode`; parameter names stay as they are.

    Layers that torch cannot batch are swapped for equal ones that it can.
    """
    clone = copy.deepcopy(module).train()
    batchable(clone)
    for name, layer in statistics_layers(clone).items():
        rows = reference_rows if bn_mode == "reference" else 0
        if bn_mode == "running":
            layer.eval()
        elif isinstance(layer, RowStatistics):
            layer.remember, layer.reference_rows = False, rows
        elif name:
            parent, _, child = name.rpartition(".")
            setattr(clone.get_submodule(parent), child, BatchStatistics(layer, rows))
        else:
            return BatchStatistics(layer, rows)
    return clone


@torch.no_grad()
def calibrate(module: nn.Module, inputs: Tensor) -> None:
    """Store in every layer that remembers batches the statistics that its input has on `inputs`, in one pass.

    The layers run in evaluation mode during the pass, so that each sees what it will see later; the result is exact
    for these rows (no moving average, no unbiased correction).
    """
    layers = statistics_layers(module)
    if not layers:
        return

    def store(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        x = args[0].detach()
        if isinstance(layer, RowStatistics):
            layer.store(x)
            return
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = torch.var_mean(x, dim=axes, correction=0)
        layer.running_mean, layer.running_var = mean, variance
        layer.num_batches_tracked = torch.ones((), dtype=torch.long, device=x.device)

    handles = [layer.register_forward_pre_hook(store) for layer in layers.values()]
    before = module.training
    try:
        module.eval()(inputs)
    finally:
        module.train(before)
        for handle in handles:
            handle.remove()


def has_statistics(module: nn.Module) -> bool:
    """Whether every such layer has seen at least one batch."""
    tracked: Iterator[Tensor | None] = (layer.num_batches_tracked for layer in statistics_layers(module).values())
    return all(count is not None and int(count) > 0 for count in tracked)
