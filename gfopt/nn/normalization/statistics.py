"""Statistics over the rows of a batch: taken in training, remembered for evaluation.

torch has its own layer for batch normalization. What other members of the family gather from a batch they share with
this class: running averages as buffers, never as parameters; and no memory at all where a population is evaluated,
so that each member is a function of its genome and the batch alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

Statistics = dict[str, Tensor]


class RowStatistics(nn.Module, ABC):
    """Standardizes rows by what `collect` gathers from them, and in evaluation by what is stored.

    Args:
        initial: name to the value of each statistic before any batch.

    Attributes:
        momentum: weight of a new batch in the running averages, as in torch.
        remember: keep running averages.
        reference_rows: how many leading samples give the statistics; 0 means all of them.
        num_batches_tracked: batches seen.
    """

    momentum = 0.1
    num_batches_tracked: Tensor

    def __init__(self, initial: Statistics) -> None:
        super().__init__()
        self.remember = True
        self.reference_rows = 0
        self._initial = initial
        for name, value in initial.items():
            self.register_buffer(f"running_{name}", value.clone())
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def reset_parameters(self) -> None:
        """Forget every batch."""
        for name, value in self._initial.items():
            getattr(self, f"running_{name}").copy_(value)
        self.num_batches_tracked.zero_()

    @abstractmethod
    def collect(self, rows: Tensor) -> Statistics:
        """What `(..., N, C)` rows say; leading axes count networks."""

    @abstractmethod
    def apply_to(self, rows: Tensor, statistics: Statistics) -> Tensor:
        """`(..., N, C)` standardized rows."""

    def forward(self, rows: Tensor, per_sample: int = 1) -> Tensor:
        """`(..., N, C)` standardized rows.

        Args:
            rows: `(..., N, C)`.
            per_sample: how many rows in a row belong to one sample, as the positions of a picture.
        """
        if not self.training:
            return self.apply_to(rows, self.stored())
        source = rows[..., : self.reference_rows * per_sample, :] if self.reference_rows else rows
        found = self.collect(source)
        if self.remember:
            self._average(found)
        return self.apply_to(rows, found)

    def stored(self) -> Statistics:
        """The running averages."""
        return {name: getattr(self, f"running_{name}") for name in self._initial}

    @torch.no_grad()
    def store(self, rows: Tensor) -> None:
        """Remember the statistics of exactly these rows."""
        for name, value in self.collect(rows.detach()).items():
            getattr(self, f"running_{name}").copy_(value)
        self.num_batches_tracked.fill_(1)

    @torch.no_grad()
    def _average(self, found: Statistics) -> None:
        for name, value in found.items():
            running: Tensor = getattr(self, f"running_{name}")
            setattr(self, f"running_{name}", torch.lerp(running, value.detach().to(running), self.momentum))
        self.num_batches_tracked = self.num_batches_tracked + 1


class Moments(RowStatistics):
    """Mean and biased variance of each channel.

    Args:
        channels: `C`.
        eps: inside the root.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__({"mean": torch.zeros(channels), "var": torch.ones(channels)})
        self.eps = eps

    def collect(self, rows: Tensor) -> Statistics:
        """`mean` and `var`, `(..., C)` each."""
        mean = rows.mean(-2, keepdim=True)  # two plain means: torch.var_mean is slow over this axis
        return {"mean": mean.squeeze(-2), "var": (rows - mean).square().mean(-2)}

    def apply_to(self, rows: Tensor, statistics: Statistics) -> Tensor:
        """`(z - mu) / sqrt(var + eps)`."""
        mean, variance = (statistics[name].unsqueeze(-2) for name in ("mean", "var"))
        return (rows - mean) * torch.rsqrt(variance + self.eps)


class Means(RowStatistics):
    """The mean of each of `channels` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__({"mean": torch.zeros(channels)})

    def collect(self, rows: Tensor) -> Statistics:
        """`mean`, `(..., C)`."""
        return {"mean": rows.mean(-2)}

    def apply_to(self, rows: Tensor, statistics: Statistics) -> Tensor:
        """`z - mu`."""
        return rows - statistics["mean"].unsqueeze(-2)
