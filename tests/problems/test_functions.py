import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, rosen

from gfopt import registry
from gfopt.errors import ConfigError, NotDifferentiableError, ShapeError
from gfopt.problems.functions import FunctionProblem, TestFunction, ackley, rastrigin, rosenbrock, sphere


def textbook_rastrigin(x):
    return 10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


def textbook_ackley(x):
    first = -20 * np.exp(-0.2 * np.sqrt(np.mean(x**2)))
    return first - np.exp(np.mean(np.cos(2 * np.pi * x))) + 20 + np.e


TEXTBOOK = {
    "sphere": lambda x: np.sum(x**2),
    "rosenbrock": rosen,
    "rastrigin": textbook_rastrigin,
    "ackley": textbook_ackley,
}


def test_every_registered_function_has_a_textbook_form_here():
    assert set(registry.functions.names()) == set(TEXTBOOK)
    assert {f.name for f in (sphere, rosenbrock, rastrigin, ackley)} == set(TEXTBOOK)


@pytest.mark.parametrize("name", TEXTBOOK)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.integers(2, 12))
def test_equals_the_textbook(name, seed, dim):
    function = registry.functions.get(name)
    points = np.random.default_rng(seed).uniform(*function.bounds, (4, dim))
    got = function(torch.as_tensor(points))
    np.testing.assert_allclose(got, [TEXTBOOK[name](x) for x in points], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_optimum_is_exact_flat_and_lowest(name, dtype):
    function = registry.functions.get(name)
    problem = FunctionProblem.named(name, dim=7, dtype=dtype)
    optimum = function.optimum(7).to(problem.dtype)
    evaluation = problem.evaluate(optimum.reshape(1, -1), gradient=True)
    assert problem.optimum == function.minimum
    assert evaluation.loss.item() == function.minimum
    assert evaluation.gradient.abs().max() < 1e-6  # finite at the tip of ackley, too
    around = optimum + 0.1 * torch.randn(500, 7, generator=torch.Generator().manual_seed(0)).to(optimum)
    assert (problem.evaluate(around).loss > function.minimum).all()
    low, high = problem.bounds
    assert ((low <= optimum) & (optimum <= high)).all()


@pytest.mark.parametrize("name", ["sphere", "rastrigin", "ackley"])
def test_float32_keeps_its_digits_near_the_optimum(name):
    point = np.float32([1e-4, -2e-4, 3e-4])
    got = registry.functions.get(name)(torch.as_tensor(point)).item()
    assert got == pytest.approx(TEXTBOOK[name](point.astype(float)), rel=1e-5)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_gradients_equal_finite_differences(name):
    problem = FunctionProblem.named(name, dim=3, dtype="float64")
    start = problem.initial(4, 0)

    def f(x):
        return problem.evaluate(torch.as_tensor(x).reshape(1, -1)).loss.item()

    def g(x):
        return problem.evaluate(torch.as_tensor(x).reshape(1, -1), gradient=True).gradient[0].numpy()

    for x in start.numpy():
        assert check_grad(f, g, x) < 1e-4 * (1 + np.linalg.norm(g(x)))
    together = problem.evaluate(start, gradient=True)
    torch.testing.assert_close(together.gradient, torch.stack([torch.as_tensor(g(x)) for x in start.numpy()]))


def test_rosenbrock_needs_two_coordinates():
    with pytest.raises(ConfigError, match="rosenbrock: dim: expected at least 2, got 1"):
        FunctionProblem.named("rosenbrock", 1)
    with pytest.raises(ConfigError, match="at least 2"):
        rosenbrock(torch.zeros(5, 1))
    with pytest.raises(ConfigError, match="Did you mean 'rastrigin'"):
        FunctionProblem.named("rastrign", 3)


# One idea, a sum of squares, in every form that a user may write it.
def torch_rows(x):
    return (x**2).sum(-1)


def torch_row(x):
    return (x**2).sum()


def numpy_rows(x):
    return np.sum(x**2, axis=1)


def numpy_row(x):
    return float(np.dot(x, x))


def numpy_ufunc_rows(x):
    return (np.abs(x) ** 2).sum(axis=1)


def detached_rows(x):
    return x.detach().square().sum(1)


def math_row(x):
    return sum(float(v) ** 2 for v in x)


def impatient_rows(x):
    """Changes its argument."""
    x *= 2
    return x.square().sum(1) / 4


def float32_only(x):
    if x.dtype != torch.float32:
        raise TypeError("float32 only")
    return x.square().sum(1)


@pytest.mark.parametrize(
    ("f", "vectorized", "differentiable"),
    [
        (torch_rows, True, True),
        (torch_row, False, True),
        (impatient_rows, True, True),
        (float32_only, True, True),
        (numpy_rows, True, False),
        (numpy_row, False, False),
        (numpy_ufunc_rows, True, False),
        (detached_rows, True, False),
        (math_row, False, False),
        (functools.partial(torch_rows), True, True),
    ],
)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_functions_of_every_form(f, vectorized, differentiable, dim):
    problem = FunctionProblem(f, dim, vectorized=vectorized)
    assert problem.differentiable is differentiable
    population = problem.initial(4, 3)
    before = population.clone()
    evaluation = problem.evaluate(population, step=8, seed=5, gradient=differentiable)
    torch.testing.assert_close(evaluation.loss, before.square().sum(1))
    assert torch.equal(population, before)
    assert not evaluation.loss.requires_grad
    assert evaluation.loss.dtype == population.dtype
    assert (evaluation.samples, evaluation.batch) == (1, 0)
    if differentiable:
        torch.testing.assert_close(evaluation.gradient, 2 * before)
        assert problem.why_no_gradient() == ""
    else:
        with pytest.raises(NotDifferentiableError, match=r"has none. Write it with torch"):
            problem.evaluate(population, gradient=True)
    assert problem.evaluate(population[:0]).loss.shape == (0,)


def test_a_numpy_function_sees_float64():
    seen = []

    def f(x):
        seen.append(x.dtype)
        return np.sum(x, axis=1)

    FunctionProblem(f, 3)
    assert seen[-1] == np.float64


def test_a_function_is_called_at_most_three_times_before_anything_starts():
    calls = []

    def f(x):
        calls.append(type(x))
        return np.sum(x, axis=1)

    FunctionProblem(f, 3)
    assert calls == [torch.Tensor, torch.Tensor, np.ndarray]
    calls.clear()
    FunctionProblem(lambda x: calls.append(1) or x.sum(1), 3)
    assert len(calls) == 1


def test_a_gradient_may_be_insisted_on_or_refused():
    assert FunctionProblem(torch_rows, 3, differentiable=True).differentiable
    assert not FunctionProblem(torch_rows, 3, differentiable=False).differentiable
    with pytest.raises(ConfigError, match="numpy_rows: expected a result that carries a gradient"):
        FunctionProblem(numpy_rows, 3, differentiable=True)


def test_values_that_are_not_finite_stay_for_the_loop_to_judge():
    problem = FunctionProblem(lambda x: x.log().sum(1), 2)
    values = problem.evaluate(torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0]])).loss
    assert values[0] == 0
    assert values[1].isnan()
    assert values[2] == -math.inf


@pytest.mark.parametrize(
    ("f", "vectorized", "message"),
    [
        (torch_row, True, r"expected values of shape \(2,\), one a row, got shape \(\).*vectorized=False"),
        (lambda x: x.square(), True, r"got shape \(2, 4\)"),
        (lambda x: x.sum(1, keepdim=True), True, r"got shape \(2, 1\) for an argument of shape \(2, 4\)"),
        (
            lambda x: x.sum(0, keepdim=True),
            False,
            r"expected one number, got shape \(1,\) for an argument of shape \(4,\)",
        ),
        (lambda x: None, True, "expected values .*got None"),
        (lambda x: np.sum(x**2, axis=0), True, r"got shape \(4,\)"),
    ],
)
def test_results_of_another_shape_are_refused(f, vectorized, message):
    with pytest.raises(ShapeError, match=message):
        FunctionProblem(f, 4, vectorized=vectorized)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_sum_over_the_wrong_dimension_is_seen_whatever_d_is(dim):
    with pytest.raises(ShapeError, match="one a row"):
        FunctionProblem(lambda x: x.square().sum(0), dim)


def test_a_result_that_changes_its_shape_is_refused():
    problem = FunctionProblem(lambda x: x.sum(1) if len(x) < 5 else x.sum(), 4)
    with pytest.raises(ShapeError, match=r"expected values of shape \(6,\)"):
        problem.evaluate(problem.initial(6, 0))


def test_an_error_of_the_users_own_comes_through_with_a_note():
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        FunctionProblem(broken, 3)
    assert any("function 'broken', called with a torch.float32 tensor" in note for note in caught.value.__notes__)
    assert any("numpy array it raised KeyError" in note for note in caught.value.__notes__)

    def later(x):
        if len(x) > 2:
            raise ZeroDivisionError
        return x.sum(1)

    problem = FunctionProblem(later, 3)
    with pytest.raises(ZeroDivisionError):
        problem.evaluate(problem.initial(3, 0), gradient=True)


def test_populations_of_another_shape_are_refused():
    problem = FunctionProblem(torch_rows, 4)
    for shape in ((4,), (2, 3), (1, 2, 4)):
        with pytest.raises(ShapeError, match=r"population: expected shape \(P, 4\), got"):
            problem.evaluate(torch.zeros(shape))


def test_members_start_uniformly_in_the_bounds_and_are_not_held_there():
    low, high = np.array([-3.0, 0.0, 10.0]), 12.0
    problem = FunctionProblem(torch_rows, 3, (low, high))
    start = problem.initial(4000, 1)
    assert ((problem.bounds[0] <= start) & (start <= problem.bounds[1])).all()
    torch.testing.assert_close(start.mean(0), torch.tensor([4.5, 6.0, 11.0]), rtol=0, atol=0.2)
    torch.testing.assert_close(start.std(0), problem.scale, rtol=0.05, atol=0)
    torch.testing.assert_close(problem.scale, torch.tensor([15.0, 12.0, 2.0]) / math.sqrt(12))
    assert problem.evaluate(torch.full((1, 3), 100.0)).loss.item() == 30_000


def test_members_start_normally_without_bounds():
    problem = FunctionProblem(torch_rows, 3)
    start = problem.initial(4000, 1)
    assert problem.bounds is None
    assert torch.equal(problem.scale, torch.ones(3))
    torch.testing.assert_close(start.std(0), torch.ones(3), rtol=0.05, atol=0)


@pytest.mark.parametrize("bounds", [None, (-1.0, 2.0)])
@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 20), more=st.integers(0, 20), seed=st.integers(0, 2**40))
def test_fewer_members_are_the_first_of_more(bounds, count, more, seed):
    problem = FunctionProblem(torch_rows, 5, bounds)
    start = problem.initial(count + more, seed)
    assert torch.equal(start[:count], problem.initial(count, seed))
    assert start.shape == (count + more, 5)
    assert not torch.equal(problem.initial(3, seed), problem.initial(3, seed + 1))


@pytest.mark.parametrize(
    "bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (0.0,), ([0, 0], [1, 1]), "ab", 3, (0, math.nan)]
)
def test_bounds_that_make_no_sense_are_refused(bounds):
    with pytest.raises(ConfigError, match="bounds: expected"):
        FunctionProblem(torch_rows, 3, bounds)


@pytest.mark.parametrize("dim", [0, -1, 2.0, True, "3"])
def test_dimensions_that_make_no_sense_are_refused(dim):
    with pytest.raises(ConfigError, match="dim: expected a whole number"):
        FunctionProblem(torch_rows, dim)
    with pytest.raises(ConfigError, match="f: expected a function"):
        FunctionProblem(3, 3)


def test_a_function_keeps_the_rest_of_the_contract():
    problem = FunctionProblem.named("ackley", 6, bounds=(-1.0, 1.0))
    assert (problem.dim, problem.name, problem.optimum) == (6, "ackley", 0.0)
    assert problem.bounds[1].tolist() == [1.0] * 6
    (group,) = problem.groups
    assert (group.name, group.slice, group.shape) == ("x", slice(0, 6), (6,))
    assert (problem.score(torch.zeros(6)), problem.splits) == ({}, ())
    assert problem.batch(3) == problem.batch(4) == 0
    # One evaluation counts as one forward-equivalent.
    assert problem.cost.backward_equivalents == problem.cost.forward_flops == 0
    population = problem.initial(3, 0)
    assert torch.equal(problem.probe(population).loss, problem.evaluate(population, step=3).loss)
    assert isinstance(sphere, TestFunction)
    assert FunctionProblem(lambda x: x.sum(1), 2).name == "lambda"
