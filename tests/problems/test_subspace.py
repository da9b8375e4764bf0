import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.errors import ConfigError, NotDifferentiableError, ShapeError
from gfopt.problems import subspace
from gfopt.problems.functions import FunctionProblem
from gfopt.problems.projection import DenseProjection, HashedProjection
from gfopt.problems.subspace import SubspaceProblem

KINDS = ["dense", "hashed"]


class Batched(FunctionProblem):
    """A function that has minibatches, splits and parameters of different scale, to see what is passed on."""

    def __init__(self, dim=12, dtype="float64", **options):
        super().__init__(lambda x: (x.sin() * x.square()).sum(-1), dim, dtype=dtype, **options)
        self.scale = torch.linspace(0.5, 2.0, dim, dtype=self.dtype)

    splits = ("validation", "test")

    def batch(self, step):
        return step

    def evaluate(self, population, step=0, *, seed=0, gradient=False):
        evaluation = super().evaluate(population + step + seed, gradient=gradient)
        return dataclasses.replace(evaluation, samples=7, batch=self.batch(step))

    def probe(self, population):
        return self.evaluate(population, step=100)

    def score(self, parameters, split="test"):
        return {split: float(parameters.sum())}


def matrix(projection, d, dtype=torch.float64):
    """`(D, d)`."""
    return projection.forward(torch.eye(d, dtype=dtype)).mT


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(d=st.integers(1, 30), more=st.integers(0, 60), seed=st.integers(0, 2**40))
def test_columns_have_length_one_and_the_transposed_is_that(kind, d, more, seed):
    made = DenseProjection if kind == "dense" else HashedProjection
    projection = made(d + more, d, seed, torch.zeros(1, dtype=torch.float64))
    columns = matrix(projection, d)
    torch.testing.assert_close(columns.square().sum(0), torch.ones(d, dtype=torch.float64))
    g = torch.linspace(-1, 1, 2 * 3 * (d + more), dtype=torch.float64).reshape(2, 3, d + more)
    torch.testing.assert_close(projection.transposed(g), g @ columns)
    if kind == "hashed":
        torch.testing.assert_close(columns.mT @ columns, torch.eye(d, dtype=torch.float64))
        assert ((columns != 0).sum(1) == 1).all()


@pytest.mark.parametrize("made", [DenseProjection, HashedProjection])
def test_directions_depend_on_the_seed_alone(made):
    one, same, other = (made(40, 6, seed, torch.zeros(1, dtype=torch.float64)) for seed in (1, 1, 2))
    single = made(40, 6, 1, torch.zeros(1))
    assert torch.equal(matrix(one, 6), matrix(same, 6))
    assert not torch.allclose(matrix(one, 6), matrix(other, 6))
    torch.testing.assert_close(matrix(single, 6, torch.float32).double(), matrix(one, 6), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_expand_is_affine_in_the_problems_scale(kind):
    inner = Batched()
    problem = SubspaceProblem(inner, 5, seed=3, projection=kind)
    assert torch.equal(problem.expand(torch.zeros(5)), problem.origin)
    assert torch.equal(problem.origin, inner.initial(1, 3)[0])
    z = torch.randn(4, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    columns = matrix(problem._projection, 5)
    torch.testing.assert_close(problem.expand(z), problem.origin + inner.scale * (z @ columns.mT))
    assert problem.expand(z[0, 0]).shape == (12,)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_follow_the_chain_rule(kind):
    problem = SubspaceProblem(Batched(), 5, projection=kind)
    z = problem.initial(6, 0)
    evaluation = problem.evaluate(z, step=2, seed=1, gradient=True)
    leaf = z.clone().requires_grad_()
    x = problem.expand(leaf) + 3
    expected = (x.sin() * x.square()).sum(-1)
    torch.testing.assert_close(evaluation.loss, expected)
    torch.testing.assert_close(evaluation.gradient, torch.autograd.grad(expected.sum(), leaf)[0])
    assert problem.evaluate(z).gradient is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_gene_of_its_own_scale_moves_parameters_by_theirs(kind):
    inner = Batched(dim=400)
    problem = SubspaceProblem(inner, 20, projection=kind)
    assert torch.allclose(problem.scale, torch.tensor(math.sqrt(20.0), dtype=torch.float64))
    z = torch.randn(3000, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = (problem.expand(z * problem.scale) - problem.origin).std(0) / inner.scale
    assert moved.square().mean().item() == pytest.approx(1, abs=0.02)
    assert moved.min() > 0.4  # none stands still


@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 12), more=st.integers(0, 12), seed=st.integers(0, 2**40))
def test_members_start_around_the_origin(count, more, seed):
    problem = SubspaceProblem(Batched(), 5, spread=0.25)
    start = problem.initial(count + more, seed)
    assert torch.equal(start[:count], problem.initial(count, seed))
    assert (start[:1] == 0).all()
    assert start.shape == (count + more, 5)
    assert len(start.unique(dim=0)) == count + more
    many = problem.initial(2000, seed)
    assert (many[1:].std() / problem.scale[0]).item() == pytest.approx(0.25, rel=0.1)


def test_everything_else_is_the_other_problems():
    inner = Batched()
    problem = SubspaceProblem(inner, 4)
    z = problem.initial(3, 1)
    for got, expected in (
        (problem.evaluate(z, step=4, seed=2), inner.evaluate(problem.expand(z), step=4, seed=2)),
        (problem.probe(z), inner.probe(problem.expand(z))),
    ):
        assert torch.equal(got.loss, expected.loss)
        assert (got.samples, got.batch) == (expected.samples, expected.batch)
    assert problem.batch(9) == 9
    assert problem.splits == ("validation", "test")
    assert problem.score(z[1], "validation") == inner.score(problem.expand(z[1]), "validation")
    assert problem.cost is inner.cost
    assert problem.differentiable
    assert problem.why_no_gradient() == ""
    assert problem.bounds is None
    (group,) = problem.groups
    assert (problem.dim, group.slice, group.shape) == (4, slice(0, 4), (4,))


def test_a_missing_gradient_stays_missing():
    inner = Batched(differentiable=False)
    problem = SubspaceProblem(inner, 4)
    assert not problem.differentiable
    assert problem.why_no_gradient() == inner.why_no_gradient() != ""
    with pytest.raises(NotDifferentiableError):
        problem.evaluate(problem.initial(2, 0), gradient=True)


def test_gradient_descent_reaches_the_lowest_point_of_the_subspace():
    """The lowest `|theta|` on an affine space has a closed form: the origin less its projection."""
    inner = FunctionProblem.named("sphere", 30, dtype="float64")
    problem = SubspaceProblem(inner, 6, projection="hashed")
    z = problem.initial(1, 0)
    for _ in range(60):
        z = z - 0.1 / inner.scale[0] ** 2 * problem.evaluate(z, gradient=True).gradient
    columns = matrix(problem._projection, 6)
    lowest = problem.origin - columns @ (columns.mT @ problem.origin)
    torch.testing.assert_close(problem.expand(z)[0], lowest, rtol=1e-4, atol=1e-4)
    assert problem.evaluate(z).loss < inner.evaluate(problem.origin.reshape(1, -1)).loss


def test_an_origin_of_ones_own():
    origin = torch.arange(12.0)
    problem = SubspaceProblem(Batched(), 4, origin=origin)
    assert torch.equal(problem.expand(problem.initial(1, 0))[0], origin.double())
    with pytest.raises(ShapeError, match=r"origin: expected shape \(12,\), got \(3,\)"):
        SubspaceProblem(Batched(), 4, origin=torch.zeros(3))


def test_large_projections_are_hashed(monkeypatch):
    assert isinstance(SubspaceProblem(Batched(), 4)._projection, DenseProjection)
    monkeypatch.setattr(subspace, "DENSE_ENTRIES", 47)
    assert isinstance(SubspaceProblem(Batched(), 4)._projection, HashedProjection)
    assert isinstance(SubspaceProblem(Batched(), 4, projection="dense")._projection, DenseProjection)


@pytest.mark.parametrize("dim", [0, 13, 2.0, True])
def test_dimensions_that_make_no_sense_are_refused(dim):
    with pytest.raises(ConfigError, match="dim: expected a whole number between 1 and 12"):
        SubspaceProblem(Batched(), dim)


def test_options_that_make_no_sense_are_refused():
    SubspaceProblem(Batched(), 12)
    with pytest.raises(ConfigError, match="spread: expected a number of at least 0, got -1"):
        SubspaceProblem(Batched(), 3, spread=-1)
    with pytest.raises(ConfigError, match="projection: expected one of auto, dense, hashed, got 'sparse'"):
        SubspaceProblem(Batched(), 3, projection="sparse")


def test_populations_of_another_shape_are_refused():
    problem = SubspaceProblem(Batched(), 4)
    for call in (problem.evaluate, problem.probe):
        for shape in ((4,), (2, 12), (1, 2, 4)):
            with pytest.raises(ShapeError, match="expected shape"):
                call(torch.zeros(shape))
