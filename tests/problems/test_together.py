"""Requests of several runs evaluated together are what each is by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gfopt
from gfopt.errors import NotDifferentiableError
from gfopt.problems.requests import Request, in_parts


def make(batch_size=None, network=None, **options):
    spec = {"kind": "mlp", "hidden": [6], "norm": "layer"} if network is None else network
    return gfopt.SupervisedProblem(spec, "iris", batch_size=batch_size, device="cpu", **options)


def requests_of(problem, sizes=(3, 1, 4), gradient=False):
    """Populations of other sizes, at other steps of other streams."""
    return [
        Request(problem.initial(size, seed), step=2 * seed, seed=10 + seed, gradient=gradient)
        for seed, size in enumerate(sizes)
    ]


def by_itself(problem, request):
    return problem.evaluate(request.population, request.step, seed=request.seed, gradient=request.gradient)


def assert_like(found, alone, exact=True):
    assert (found.samples, found.batch) == (alone.samples, alone.batch)
    if exact:
        assert torch.equal(found.loss, alone.loss)
    torch.testing.assert_close(found.loss, alone.loss, rtol=1e-6, atol=0)
    assert (found.gradient is None) == (alone.gradient is None)
    if alone.gradient is not None:
        assert ((found.gradient - alone.gradient).norm(dim=1) <= 1e-6 * alone.gradient.norm(dim=1)).all()


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("gradient", [False, True])
def test_each_request_gets_what_evaluate_gives_it(batch_size, gradient):
    problem = make(batch_size)
    requests = requests_of(problem, gradient=gradient)
    found = problem.evaluate_together(requests)
    assert len(found) == 3
    for one, request in zip(found, requests, strict=True):
        assert_like(one, by_itself(problem, request), exact=not gradient)


class Own(nn.Sequential):
    """A network that no kernel of the engine knows."""

    def __init__(self):
        super().__init__(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Softplus(), nn.Linear(5, 3))


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (None, {"bn_mode": "reference", "network": {"kind": "mlp", "hidden": [6], "norm": "batch"}}),
        (Own, {}),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)), {}),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)), {"dropout": "member"}),
        (None, {"batch_order": "sorted"}),
        (None, {"dtype": "float64", "sample_weight": [1.0 + k % 3 for k in range(105)]}),
        (None, {"loss": lambda outputs, targets: (outputs.argmax(-1) != targets).float().mean() + outputs.std()}),
    ],
    ids=["reference", "own", "dropout", "member-dropout", "sorted", "weights", "callable"],
)
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("gradient", [False, True])
def test_so_it_does_for_other_networks_and_losses(network, options, batch_size, gradient):
    given = {"network": network, **options}
    problem = make(batch_size, **given)
    requests = requests_of(problem, gradient=gradient and problem.differentiable)
    for one, request in zip(problem.evaluate_together(requests), requests, strict=True):
        assert_like(one, by_itself(problem, request), exact=False)


def test_requests_with_and_without_gradients_keep_their_order():
    problem = make(32)
    kinds = [True, False, False, True]
    requests = [Request(problem.initial(2, k), k, k, gradient) for k, gradient in enumerate(kinds)]
    found = problem.evaluate_together(requests)
    assert [one.gradient is not None for one in found] == kinds
    for one, request in zip(found, requests, strict=True):
        assert_like(one, by_itself(problem, request), exact=False)


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("gradient", [False, True])
def test_all_are_one_computation_where_that_saves_time(batch_size, gradient, monkeypatch):
    problem, calls = make(batch_size), []
    for name in ("losses", "gradients", "losses_of_streams", "gradients_of_streams"):
        real = getattr(problem._engine, name)
        monkeypatch.setattr(
            problem._engine, name, lambda *a, real=real, **k: (calls.append(len(a[0])), real(*a, **k))[1]
        )
    problem.evaluate_together(requests_of(problem, gradient=gradient))
    assert calls[0] == 8
    calls.clear()
    row = max(problem.dim, problem._x[:batch_size].numel())
    monkeypatch.setattr("gfopt.problems.supervised.TOGETHER_ENTRIES", 5 * row)
    problem.evaluate_together(requests_of(problem, gradient=gradient))
    assert max(calls) == 4  # 3 and 1 rows, then 4


def test_parts_are_of_bounded_size_and_of_one_kind():
    sizes = [(3, False), (2, True), (3, False), (9, False), (1, False), (2, True)]
    requests = [Request(torch.zeros(size, 1), gradient=gradient) for size, gradient in sizes]
    assert list(in_parts(requests, 6)) == [[0, 2], [3], [4], [1, 5]]
    assert list(in_parts(requests, 100)) == [[0, 2, 3, 4], [1, 5]]
    assert list(in_parts(requests, 0)) == [[0], [2], [3], [4], [1], [5]]
    assert list(in_parts([], 5)) == []


@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_gradient_that_is_not_there_is_refused(batch_size):
    problem = make(batch_size, loss="classification_error")
    with pytest.raises(NotDifferentiableError, match="classification_error"):
        problem.evaluate_together(requests_of(problem, gradient=True))


@pytest.mark.parametrize("problem", ["sphere", "subspace"])
@pytest.mark.parametrize("gradient", [False, True])
def test_every_problem_answers_several_requests(problem, gradient):
    given = gfopt.FunctionProblem.named("sphere", 4)
    given = gfopt.SubspaceProblem(make(32), 3) if problem == "subspace" else given
    requests = requests_of(given, gradient=gradient)
    for one, request in zip(given.evaluate_together(requests), requests, strict=True):
        assert_like(one, by_itself(given, request))
