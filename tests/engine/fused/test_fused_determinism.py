"""The bits of a member are its own: whoever stands beside it, wherever it stands, however many threads there are."""

from __future__ import annotations

import pytest
import torch
from fused_cases import case, classes, network, random, values

from gfopt.engine.fused.evaluator import FusedEvaluator

ROWS, INPUTS, CLASSES, MEMBERS = 45, 6, 3, 13
NETWORKS = {
    "plain": ("mlp", {"hidden": [7, 5]}),
    "batch": ("mlp", {"hidden": [7], "norm": "batch"}),
    "weight": ("mlp", {"hidden": [7], "norm": "weight"}),
    "spectral": ("mlp", {"hidden": [7, 9], "norm": "spectral"}),
    "residual": ("residual", {"width": 6, "blocks": 2, "norm": "layer"}),
}


@pytest.fixture(params=NETWORKS)
def found(request):
    kind, options = NETWORKS[request.param]
    return case(network(kind, INPUTS, CLASSES, **options), random(ROWS, INPUTS), members=MEMBERS)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def losses(found, population):
    return found.engine.losses(population, found.inputs, classes(ROWS, CLASSES))


def test_the_number_of_threads_changes_no_bit(found, threads):
    seen = []
    for count in (1, 2, 3, 5, 16):
        threads(count)
        seen.append(losses(found, found.population))
        seen.append(losses(found, found.population))
    assert all(one.equal(seen[0]) for one in seen)


def test_a_member_has_the_same_bits_in_any_population(found):
    whole = losses(found, found.population)
    alone = torch.cat([losses(found, member[None]) for member in found.population])
    assert alone.equal(whole)
    order = torch.randperm(MEMBERS, generator=torch.Generator().manual_seed(1))
    assert losses(found, found.population[order]).equal(whole[order])
    assert losses(found, torch.cat([found.population] * 5)).equal(whole.repeat(5))


def test_outputs_and_losses_belong_together(found):
    outputs = found.engine.outputs(found.population, found.inputs)
    assert outputs.shape == (MEMBERS, ROWS, CLASSES)
    criterion = classes(ROWS, CLASSES)
    torch.testing.assert_close(criterion(outputs), losses(found, found.population), rtol=1e-6, atol=0)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf, 1e30, 3e38])
def test_a_broken_member_touches_no_other(found, broken):
    whole = losses(found, found.population)
    population = found.population.clone()
    population[4] = broken
    population[9, 3] = broken
    others = [i for i in range(MEMBERS) if i not in (4, 9)]
    assert losses(found, population)[others].equal(whole[others])


def test_nan_anywhere_in_a_genome_is_nan_in_its_loss(found):
    population = found.population[:1].repeat(found.layout.dim, 1)
    population.fill_diagonal_(torch.nan)
    assert losses(found, population).isnan().all()


def test_nan_in_one_class_is_nan_in_the_loss_whichever_it_is():
    found = case(torch.nn.Linear(2, 4), random(9, 2))
    population = torch.zeros(4, 12)
    for place in range(4):
        population[place, 8 + place] = torch.nan
    assert found.engine.losses(population, found.inputs, classes(9, 4)).isnan().all()
    assert found.engine.losses(population, found.inputs, values(9, 4)).isnan().all()


def test_logits_that_are_infinite():
    found = case(torch.nn.Linear(2, 3), random(6, 2))
    population = torch.zeros(3, 9)
    population[0, 6] = torch.inf  # no distribution
    population[1, 6] = -torch.inf  # a class of probability 0, which some targets have
    population[2, 6:] = torch.tensor([3e38, -3e38, 0])
    wanted, found_losses = found.loop(classes(6, 3)), found.engine.losses(population, found.inputs, classes(6, 3))
    assert found_losses[0].isnan()
    assert found_losses[1] == torch.inf
    assert wanted.isfinite().all()
    assert found_losses[2] > 1e38


def test_the_population_and_the_samples_are_never_written_to(found):
    population, inputs = found.population.clone(), found.inputs.clone()
    losses(found, found.population)
    found.engine.outputs(found.population, found.inputs)
    assert found.population.equal(population)
    assert found.inputs.equal(inputs)


def test_any_strides_will_do(found):
    whole = losses(found, found.population)
    wide = torch.zeros(MEMBERS, 2 * found.layout.dim)
    wide[:, ::2] = found.population
    assert losses(found, wide[:, ::2]).equal(whole)
    assert losses(found, found.population.T.contiguous().T).equal(whole)
    assert losses(found, found.population[2].expand(3, -1)).equal(whole[2].expand(3))
    assert losses(found, found.population.flip(0)).equal(whole.flip(0))
    assert losses(found, found.population[::3]).equal(whole[::3])


def test_any_strides_of_the_samples_will_do(found):
    criterion = classes(ROWS, CLASSES)
    whole = found.engine.losses(found.population, found.inputs, criterion)
    turned = found.inputs.T.contiguous().T
    assert found.engine.losses(found.population, turned, criterion).equal(whole)
    spaced = torch.zeros(2 * ROWS, INPUTS)
    spaced[::2] = found.inputs
    assert found.engine.losses(found.population, spaced[::2], criterion).equal(whole)
    one = found.inputs[:1].expand(ROWS, -1)
    assert found.engine.losses(found.population, one, criterion).equal(
        found.engine.losses(found.population, one.contiguous(), criterion)
    )


def test_what_was_evaluated_before_leaves_no_trace():
    """Buffers are reused from member to member and from tile to tile."""
    for norm in ("none", "batch", "cosine"):
        found = case(network("mlp", INPUTS, CLASSES, hidden=[9, 2, 9], norm=norm), random(ROWS, INPUTS), members=4)
        whole = losses(found, found.population)
        population = found.population.clone()
        population[0] = torch.nan
        assert losses(found, population)[1:].equal(whole[1:])


def test_an_evaluator_takes_any_number_of_samples():
    found = case(network("mlp", INPUTS, CLASSES, hidden=[7], norm="batch"), random(50, INPUTS))
    evaluator = FusedEvaluator(found.module, found.layout, found.inputs)
    for rows in (2, 10, 24, 50, 77):
        inputs = random(rows, INPUTS, seed=5)
        other = FusedEvaluator(found.module, found.layout, inputs)
        criterion = [classes(rows, CLASSES)]
        torch.testing.assert_close(
            evaluator.losses(found.population, inputs[None], criterion, [3]),
            other.losses(found.population, inputs[None], criterion, [3]),
            rtol=1e-6, atol=0,
        )  # fmt: skip
