"""Pure random search draws from the distribution it says, whatever the losses are."""

from __future__ import annotations

import numpy as np
import torch

from gfopt import optimizers
from gfopt.testing import driving
from gfopt.testing.driving import drive, make, same


def test_losses_do_not_matter() -> None:
    one, other = (drive(make("random-search"), objective, (0, 0, 1)) for objective in (driving.sphere, driving.rugged))
    assert same(one, other)


def test_genes_have_the_mean_of_the_start_and_the_scale_as_standard_deviation() -> None:
    start = torch.stack([torch.linspace(-1, 1, 5), torch.linspace(-1, 3, 5)])
    scale = torch.tensor([0.1, 0.2, 0.5, 1.0, 2.0])
    start = torch.cat([start, start.mean(dim=0).expand(3998, 5)])
    optimizer = optimizers.build("random-search", {"population": 4000}, start, np.random.default_rng(0), scale=scale)
    rows = drive(optimizer, driving.sphere, (0, 0))[1][0]
    # 5 standard errors of a mean and of a standard deviation of 4000 normal numbers.
    error = 5 / 4000**0.5
    assert ((rows.mean(dim=0) - torch.linspace(-1, 2, 5)).abs() < error * scale).all()
    assert ((rows.std(dim=0) / scale - 1).abs() < error / 2**0.5).all()
