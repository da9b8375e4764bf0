"""Compiled recurrent layers against torch's own ones in float64; who uses them, and who may not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.batchable import batchable
from gfopt.nn import ParameterLayout, recurrence
from gfopt.nn import _compiled_recurrence as recurrent
from gfopt.nn.recurrent import GRU, LSTM, RNN

STEPS, FEATURES, UNITS = 6, 3, 5

LAYERS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def normal(generator, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=generator)


def layer_of(generator, cell, members=3, batch=4, units=UNITS, features=FEATURES, scale=1.0):
    """The arguments of `run`, all different for every member."""
    gates = {"lstm": 4, "gru": 3}.get(cell, 1)
    of_bias = 4 if cell == "gru" else gates
    shapes = [
        (STEPS, features, batch), (gates * units, features), (gates * units, units), (of_bias * units,), (units, batch),
    ]  # fmt: skip
    tensors = [normal(generator, members, *shape, scale=scale) for shape in shapes]
    return (*tensors, normal(generator, members, units, batch) if cell == "lstm" else None)


def by_torch(cell, x, w_ih, w_hh, bias, h, c):
    """The same by torch's own layers in float64, member by member."""
    units = h.shape[1]
    states, ends = [], []
    for i in range(len(x)):
        layer = LAYERS[cell](x.shape[2], units).double()
        with torch.no_grad():
            layer.weight_ih_l0.copy_(w_ih[i])
            layer.weight_hh_l0.copy_(w_hh[i])
            layer.bias_ih_l0.copy_(bias[i, : len(w_ih[i])])
            layer.bias_hh_l0.zero_()
            if cell == "gru":
                layer.bias_hh_l0[2 * units :] = bias[i, 3 * units :]
            first = h[i].T[None].double().contiguous()
            first = (first, c[i].T[None].double().contiguous()) if cell == "lstm" else first
            out, last = layer(x[i].transpose(1, 2).double(), first)
        states.append(out.transpose(1, 2))
        ends.append((last[1] if cell == "lstm" else last)[0].T)
    return torch.stack(states), torch.stack(ends)


def assert_near(got, expected, tolerance=2e-6):
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


# Tiles hold three vectors of eight sequences: an incomplete one, one, two, three, four, and a second tile.
@pytest.mark.parametrize("batch", [1, 8, 11, 24, 32, 37, 48])
@pytest.mark.parametrize("cell", LAYERS)
def test_states_are_torchs(generator, cell, batch):
    # Five units leave one over where a tile of registers takes two or four of them.
    tensors = layer_of(generator, cell, batch=batch, scale=0.5)
    states, ends = recurrent.run(cell, *tensors)
    expected = by_torch(cell, *tensors)
    assert_near(states, expected[0])
    assert_near(ends, expected[1])


@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh"])
def test_large_numbers_saturate(generator, cell):
    tensors = layer_of(generator, cell, batch=32, scale=100.0)
    for got, expected in zip(recurrent.run(cell, *tensors), by_torch(cell, *tensors), strict=True):
        assert_near(got, expected, 1e-4)  # the sums are in the thousands, with an error that fits


@pytest.mark.parametrize("cell", LAYERS)
def test_tensors_may_lie_anyhow(generator, cell):
    x, *others = layer_of(generator, cell, batch=11)
    expected = recurrent.run(cell, x[:1].repeat(3, 1, 1, 1), *others)
    genomes = torch.cat([t.flatten(1) for t in others[:3]], dim=1)  # members' weights, with the next ones behind them
    parts = genomes.split([t[0].numel() for t in others[:3]], dim=1)
    w_ih, w_hh, bias = (part.reshape_as(t) for part, t in zip(parts, others[:3], strict=True))
    states = [None if t is None else t.mT.contiguous().mT for t in others[3:]]
    rows = x[0].permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not w_ih.is_contiguous()
    assert not states[0].is_contiguous()
    same = x[:1].expand(3, -1, -1, -1), rows.expand(3, -1, -1, -1)
    weights = (w_ih, w_hh, bias), (w_ih.mT.contiguous().mT, w_hh, bias)
    for inputs, matrices in zip(same, weights, strict=True):
        for got, wanted in zip(recurrent.run(cell, inputs, *matrices, *states), expected, strict=True):
            assert got.equal(wanted)


@pytest.mark.parametrize("cell", LAYERS)
def test_bits_depend_neither_on_threads_nor_on_the_other_members(generator, threads, cell):
    tensors = layer_of(generator, cell, members=7, batch=37)
    threads(1)
    states, ends = recurrent.run(cell, *tensors)
    threads(3)
    again = recurrent.run(cell, *tensors)
    assert again[0].equal(states)
    assert again[1].equal(ends)
    some = recurrent.run(cell, *(None if t is None else t[[5, 2]] for t in tensors))
    assert some[0].equal(states[[5, 2]])
    assert some[1].equal(ends[[5, 2]])


@pytest.mark.parametrize("cell", LAYERS)
def test_nan_stays_where_it_is(generator, cell):
    tensors = layer_of(generator, cell, batch=12)
    clean, _ = recurrent.run(cell, *tensors)
    tensors[0][0, 2, 1, 9] = torch.nan  # a number of one sequence
    tensors[2][1, 0, 0] = torch.nan  # a weight of one member
    states, ends = recurrent.run(cell, *tensors)
    assert states[0, 2:, :, 9].isnan().all()
    assert ends[0, :, 9].isnan().all()
    assert states[1].isnan().any(dim=1).all()
    states[0, 2:, :, 9] = clean[0, 2:, :, 9]
    assert states[[0, 2]].equal(clean[[0, 2]])


def test_none_at_all_is_nothing(generator):
    tensors = layer_of(generator, "gru", members=0)
    states, ends = recurrent.run("gru", *tensors)
    assert states.shape == (0, STEPS, UNITS, 4)
    assert ends.shape == (0, UNITS, 4)


class Last(nn.Module):
    """A user's network: a linear layer on the last output."""

    def __init__(self, layer, width):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


NETWORKS = {
    **{name: (lambda make=make: Last(make(FEATURES, UNITS, batch_first=True), UNITS)) for name, make in LAYERS.items()},
    "time first": lambda: Last(nn.LSTM(FEATURES, UNITS), UNITS),
    "without bias": lambda: Last(nn.LSTM(FEATURES, UNITS, bias=False, batch_first=True), UNITS),
    "stacked both ways": lambda: Last(nn.GRU(FEATURES, UNITS, 2, bidirectional=True, batch_first=True), 2 * UNITS),
    "rnn": lambda: RNN(FEATURES, 2, cell="relu"),
    "lstm every": lambda: LSTM(FEATURES, 2, hidden=[4, 6], output="every"),
    "gru both ways": lambda: GRU(FEATURES, 2, bidirectional=True),
    "lstm weight norm, no shift": lambda: LSTM(FEATURES, 2, norm="weight", shift=False),
}


def engine_of(network, inputs):
    module = prepare(network, "batch")
    batchable(module)
    layout = ParameterLayout.of(module)
    return PopulationEngine(module, layout, inputs), layout


@pytest.fixture
def formulas_refused(monkeypatch):
    """Whatever runs from here on, runs compiled."""

    def refuse(*_):
        raise AssertionError("the plain formulas were asked")

    for formulas in recurrence.CELLS.values():
        monkeypatch.setattr(formulas, "run", refuse)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_population_equals_the_modules_in_double_precision(generator, request, name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[name]()
    inputs = normal(generator, 10, STEPS, FEATURES)
    engine, layout = engine_of(network, inputs)
    population = normal(generator, 5, layout.dim, scale=0.3)
    loop = PopulationEngine(copy.deepcopy(network).double(), layout, inputs.double(), strategy="loop")
    expected = loop.outputs(population.double(), inputs.double())
    request.getfixturevalue("formulas_refused")
    outputs = engine.outputs(population, inputs)
    assert_near(outputs, expected)


def test_the_layer_has_the_same_bits_alone_and_in_a_population(generator):
    layer = nn.LSTM(FEATURES, UNITS, batch_first=True)
    batchable(layer)
    x = normal(generator, 10, STEPS, FEATURES)
    weights = {n: normal(generator, 4, *p.shape) for n, p in layer.named_parameters()}
    with torch.no_grad():
        together = torch.func.vmap(lambda own: torch.func.functional_call(layer, own, (x,))[0])(weights)
        alone = torch.func.functional_call(layer, {n: w[2] for n, w in weights.items()}, (x,))[0]
    assert alone.equal(together[2])


def test_nested_populations_run_compiled(generator, formulas_refused):
    layer = nn.GRU(FEATURES, UNITS, batch_first=True)
    batchable(layer)
    weights = {n: normal(generator, 2, 3, *p.shape) for n, p in layer.named_parameters()}
    x = normal(generator, 3, 4, STEPS, FEATURES)

    def output(own, rows):
        return torch.func.functional_call(layer, own, (rows,))[0]

    with torch.no_grad():
        got = torch.func.vmap(torch.func.vmap(output), in_dims=(0, None))(weights, x)
        for i in range(2):
            for j in range(3):
                assert output({n: w[i, j] for n, w in weights.items()}, x[j]).equal(got[i, j])


def test_gradients_need_the_formulas(generator):
    inputs = normal(generator, 9, STEPS, FEATURES)
    engine, layout = engine_of(Last(nn.LSTM(FEATURES, UNITS, batch_first=True), UNITS), inputs)
    population = normal(generator, 3, layout.dim, scale=0.5)
    losses, slopes = engine.gradients(population, inputs, lambda y: y.square().mean((-1, -2)))
    torch.testing.assert_close(losses, engine.losses(population, inputs, lambda y: y.square().mean((-1, -2))))
    assert slopes.abs().sum(1).gt(0).all()


def test_what_does_not_fit():
    plain, double = torch.zeros(2), torch.zeros(2, dtype=torch.float64)
    assert recurrent.fits([plain, nn.Parameter(plain), None])
    assert not recurrent.fits([plain, double])
    assert not recurrent.fits([plain, plain.to("meta")])
    assert not recurrent.fits([plain, nn.Buffer(plain).as_subclass(type("Own", (torch.Tensor,), {}))])
    with FlopCounterMode(display=False):
        assert not recurrent.fits([plain])


def test_a_projected_state_runs_by_the_formulas(generator):
    layer = nn.LSTM(FEATURES, UNITS, proj_size=2, batch_first=True)
    batchable(layer)
    x = normal(generator, 4, STEPS, FEATURES)
    with torch.no_grad():
        got, expected = layer(x)[0], copy.deepcopy(layer).double()(x.double())[0]
    assert_near(got, expected)
