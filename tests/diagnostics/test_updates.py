import math

import numpy as np
import pytest
import torch

from gfopt.diagnostics import angle_between, update_sizes
from gfopt.diagnostics.updates import layer_places, module_of
from gfopt.errors import ShapeError
from gfopt.nn import MLP, ParameterLayout

LAYOUT = ParameterLayout.of(MLP(3, 2, hidden=[4], norm="weight"))


def vector():
    return torch.randn(LAYOUT.dim, dtype=torch.float64)


def test_ratios_are_those_of_numpy():
    before, after = vector(), vector()
    for row, group in zip(update_sizes(before, after, LAYOUT.groups), LAYOUT.groups, strict=True):
        w, v = before[group.slice].numpy(), after[group.slice].numpy()
        assert row.name == group.name
        assert row.update_ratio == pytest.approx(np.linalg.norm(v - w) / np.linalg.norm(w), rel=1e-12)
        if len(group.shape) > 1:
            w, v = w.reshape(group.shape), v.reshape(group.shape)
            cosines = (w * v).sum(1) / np.linalg.norm(w, axis=1) / np.linalg.norm(v, axis=1)
            assert row.effective_angle == pytest.approx(np.arccos(cosines).mean(), rel=1e-9)
        else:
            assert math.isnan(row.effective_angle)


def test_no_step_and_a_step_of_one_percent():
    before = vector()
    still, scaled = (update_sizes(before, a * before, LAYOUT.groups) for a in (1.0, 1.01))
    assert all(row.update_ratio == 0 for row in still)
    assert all(row.update_ratio == pytest.approx(0.01) for row in scaled)
    # A longer row is no other direction: nothing that a scale-invariant layer could feel.
    assert all(row.effective_angle < 1e-12 for row in scaled if not math.isnan(row.effective_angle))


def test_zeros_have_no_size_to_compare_with():
    before, after = torch.zeros(LAYOUT.dim), torch.ones(LAYOUT.dim)
    assert all(math.isnan(row.update_ratio) for row in update_sizes(before, after, LAYOUT.groups))
    assert all(math.isnan(row.effective_angle) for row in update_sizes(before, after, LAYOUT.groups))


def test_a_row_of_zeros_is_left_out_of_the_angle():
    groups = ParameterLayout.of(torch.nn.Linear(2, 2, bias=False)).groups
    before, after = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
    assert update_sizes(before, after, groups)[0].effective_angle == pytest.approx(math.pi / 4)


def test_the_angle_shrinks_as_the_row_grows():
    """What mutation of a fixed strength comes to in a scale-invariant layer: about sigma sqrt(D) / |w|."""
    noise = 0.1 * torch.randn(200, 64, dtype=torch.float64)
    rows = torch.randn(200, 64, dtype=torch.float64)
    rows /= rows.norm(dim=1, keepdim=True)
    small, large = (float(angle_between(s * rows, s * rows + noise).mean()) for s in (1.0, 18.0))
    assert 0.55 < small < 0.75  # atan(0.8) = 0.67
    assert 0.04 < large < 0.048  # 0.8 / 18 = 0.044: the measured angle after 600 generations of row growth


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi / 2, math.pi - 1e-9, math.pi])
def test_angles_are_exact_at_both_ends(angle):
    first = torch.tensor([2.0, 0.0], dtype=torch.float64)
    second = 3 * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert float(angle_between(first, second)) == pytest.approx(angle, rel=1e-9, abs=1e-15)


def test_layers_are_numbered_as_they_are_declared():
    assert layer_places(LAYOUT.groups) == {
        "layers.0.weight": 1,
        "layers.0.gain": 1,
        "layers.0.shift": 1,
        "layers.1.weight": 2,
        "layers.1.shift": 2,
    }
    assert module_of("x") == "x"


@pytest.mark.parametrize("shape", [(LAYOUT.dim + 1,), (1, LAYOUT.dim), ()])
def test_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=rf"after: expected shape \({LAYOUT.dim},\)"):
        update_sizes(vector(), torch.zeros(shape), LAYOUT.groups)
