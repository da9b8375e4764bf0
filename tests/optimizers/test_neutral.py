"""Projection: lengths of neutral rows change and nothing else, least of all the function of a network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gfopt
from gfopt.optimizers.neutral import project, tangential
from gfopt.types import Group

MIXED = (
    Group("a", slice(0, 6), (2, 3), "rows"),
    Group("b", slice(6, 12), (2, 3)),
    Group("c", slice(12, 20), (2, 2, 2), "rows"),
    Group("d", slice(20, 26), (2, 3), "matrix"),
    Group("e", slice(26, 27), (), "rows"),
)
LENGTHENED = ((0, 3), (3, 6), (12, 16), (16, 20), (20, 26), (26, 27))  # what is scaled together in MIXED


class TestProject:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_neutral_rows_get_the_length_of_the_initialization_and_keep_their_direction(
        self, dtype: torch.dtype
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        rows = 7 * torch.randn(4, 30, generator=generator, dtype=dtype)
        scale = torch.rand(30, generator=generator, dtype=dtype) + 0.1
        kept = rows.clone()
        projected = project(rows, MIXED, scale)
        assert torch.equal(rows, kept)
        assert projected.dtype is dtype
        free = torch.ones(30, dtype=torch.bool)
        for first, last in LENGTHENED:
            free[first:last] = False
            old, new = rows[:, first:last].double(), projected[:, first:last].double()
            length = math.sqrt(sum(float(s) ** 2 for s in scale[first:last]))
            torch.testing.assert_close(new.norm(dim=1), torch.full((4,), length).double(), rtol=3e-7, atol=0)
            cosine = torch.nn.functional.cosine_similarity(old, new)
            torch.testing.assert_close(cosine, torch.ones(4).double(), rtol=0, atol=1e-12)
        assert torch.equal(projected[:, free], rows[:, free])

    @pytest.mark.parametrize("groups", [(), MIXED[1:2]])
    def test_what_has_nothing_neutral_is_returned_itself(self, groups: tuple[Group, ...]) -> None:
        rows = torch.ones(2, 30)
        assert project(rows, groups, torch.ones(30)) is rows
        assert tangential(rows, rows, groups) is rows

    def test_rows_without_a_direction_stay(self) -> None:
        rows = torch.zeros(3, 30)
        rows[1, 1] = torch.inf
        rows[2, 0:3] = torch.tensor([3e30, 0.0, 4e30])  # its square is no number of float32
        projected = project(rows, MIXED, torch.ones(30))
        assert torch.equal(projected[:2], rows[:2])
        torch.testing.assert_close(projected[2, :3], 3**0.5 * torch.tensor([0.6, 0.0, 0.8]))
        velocity = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
        assert tangential(velocity, torch.zeros(3, 30), MIXED).equal(velocity)

    def test_nothing_to_project_of_no_rows(self) -> None:
        assert project(torch.empty(0, 30), MIXED, torch.ones(30)).shape == (0, 30)

    @given(st.integers(1, 3000), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**32 - 1))
    @settings(max_examples=40, deadline=None)
    def test_projecting_twice_is_projecting_once_bit_for_bit(self, width: int, dtype: torch.dtype, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(3, 2 * width, generator=generator, dtype=dtype) * 10 ** torch.randn(1, generator=generator)
        groups = (Group("w", slice(0, 2 * width), (2, width), "rows"),)
        once = project(rows.to(dtype), groups, torch.rand(2 * width, generator=generator, dtype=dtype) + 0.01)
        scale = torch.rand(2 * width, generator=torch.Generator().manual_seed(seed), dtype=dtype) + 0.01
        once = project(once, groups, scale)
        assert torch.equal(project(once, groups, scale), once)


@pytest.mark.parametrize(("dtype", "eps", "tolerance"), [
    ("float32", 1e-5, 1e-3), ("float32", 1e-6, 1e-4), ("float64", 1e-14, 1e-9),
])  # fmt: skip
@pytest.mark.parametrize("norm", ["batch", "weight", "cosine", "pearson", "layer", "rms"])
def test_the_function_of_a_network_stays(norm: str, dtype: str, eps: float, tolerance: float) -> None:
    data = gfopt.data.from_arrays(*_table(), test_fraction=0.25)
    network = {"kind": "mlp", "hidden": [9, 7], "activation": "tanh", "norm": norm, "eps": eps}
    problem = gfopt.SupervisedProblem(network, data, dtype=dtype, device="cpu")
    assert [group.name for group in problem.groups if group.neutral] == ["layers.0.weight", "layers.1.weight"]
    rows = 3 * problem.initial(4, seed=1)  # as after a while of growing
    projected = project(rows, problem.groups, problem.scale)
    assert (projected[:, : 5 * 9].norm(dim=1) < 0.6 * rows[:, : 5 * 9].norm(dim=1)).all()
    worst = 0.0
    for old, new in zip(rows, projected, strict=True):
        outputs = []
        for vector in (old, new):
            module, inputs, _ = problem.training_view(vector)
            with torch.no_grad():
                outputs.append(module(inputs))
        worst = max(worst, float((outputs[0] - outputs[1]).abs().max()))
    assert worst < tolerance


def test_it_does_not_stay_without_a_normalization() -> None:
    data = gfopt.data.from_arrays(*_table(), test_fraction=0.25)
    for mode, norm in (("batch", "none"), ("running", "batch")):  # stored statistics do not follow the weights
        network = {"kind": "mlp", "hidden": [9], "norm": norm}
        problem = gfopt.SupervisedProblem(network, data, device="cpu", bn_mode=mode)
        rows = 3 * problem.initial(2, seed=1)
        assert project(rows, problem.groups, problem.scale) is rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tangential_velocity_has_no_part_along_neutral_rows(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(4, 30, generator=generator, dtype=dtype)
    velocity = torch.randn(4, 30, generator=generator, dtype=torch.float64)  # pyswarms' are, whatever its positions
    left = tangential(velocity, position, MIXED)
    lost = velocity - left
    for first, last in LENGTHENED:
        along = (left[:, first:last] * position[:, first:last]).sum(1)
        assert float(along.abs().max()) < 1e-12
        # What is taken away is along the row: of a 2 x n matrix of the two, the smaller singular value is 0.
        pair = torch.stack([lost[:, first:last], position[:, first:last].double()], dim=1)
        if last - first > 1:
            assert float(torch.linalg.svdvals(pair)[:, 1].max()) < 1e-12
        lost[:, first:last] = 0
    assert not lost.any()


def _table() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((80, 5))
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
