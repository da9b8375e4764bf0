"""A trained network together with the scaling of its data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfopt.data import Scaling


class ScaledNetwork(nn.Module):
    """A network that takes inputs in their own units and gives targets in theirs.

    It computes in float64, so that a row's prediction does not depend on the rows beside it by more than float64's
    rounding, and large values with small differences survive their scaling.

    Args:
        network: for scaled inputs; becomes float64.
        inputs: of its inputs.
        targets: of its outputs; of logits, the identity.

    Attributes:
        network: the network itself.
        input_mean, input_scale: `(F,)`.
        target_mean, target_scale: of one row's outputs.
    """

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, network: nn.Module, inputs: Scaling, targets: Scaling) -> None:
        super().__init__()
        self.network = network.double()
        for name, scaling in (("input", inputs), ("target", targets)):
            self.register_buffer(f"{name}_mean", torch.tensor(scaling.mean))
            self.register_buffer(f"{name}_scale", torch.tensor(scaling.scale))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F)` inputs to `(N, C)` logits or `(N, K)` predicted values."""
        scaled = (x.to(self.input_mean) - self.input_mean) / self.input_scale
        outputs: Tensor = self.network(scaled)
        return outputs * self.target_scale + self.target_mean

    @property
    def input_scaling(self) -> Scaling:
        """What is done to the inputs."""
        return Scaling(self.input_mean.cpu().numpy(), self.input_scale.cpu().numpy())

    @property
    def target_scaling(self) -> Scaling:
        """What is undone of the outputs."""
        return Scaling(self.target_mean.cpu().numpy(), self.target_scale.cpu().numpy())
