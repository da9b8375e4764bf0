"""Torch's recurrent layers in a population: the same numbers as torch's own, batched."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from gfopt.engine import PopulationEngine, measure_cost, prepare
from gfopt.engine.batchable import batchable
from gfopt.errors import SlowPathWarning
from gfopt.nn import ParameterLayout

BATCH, STEPS, FEATURES, UNITS = 3, 5, 4, 6

KINDS = {
    "lstm": nn.LSTM,
    "lstm-projected": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=2, **options),
    "gru": nn.GRU,
    "rnn-tanh": nn.RNN,
    "rnn-relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
OPTIONS = {
    "plain": {},
    "stacked": {"num_layers": 2, "batch_first": True},
    "both ways": {"bidirectional": True},
    "stacked both ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "without bias": {"bias": False},
}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def swapped(module):
    """A batchable copy."""
    clone = copy.deepcopy(module)
    batchable(clone)
    return clone


def inputs_of(layer, dtype=torch.float64, single=False):
    shape = (BATCH, STEPS, FEATURES) if layer.batch_first else (STEPS, BATCH, FEATURES)
    return torch.randn(*((STEPS, FEATURES) if single else shape), dtype=dtype, requires_grad=True)


def first_states(layer, single=False):
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    batch = () if single else (BATCH,)
    h = torch.randn(count, *batch, layer.proj_size or UNITS, dtype=layer.weight_ih_l0.dtype, requires_grad=True)
    c = torch.randn(count, *batch, UNITS, dtype=layer.weight_ih_l0.dtype, requires_grad=True)
    return (h, c) if isinstance(layer, nn.LSTM) else h


def everything(layer, x, hx=None):
    """Outputs, last states, and gradients of a loss of them all."""
    output, last = layer(x) if hx is None else layer(x, hx)
    last = last if isinstance(last, tuple) else (last,)
    states = () if hx is None else hx if isinstance(hx, tuple) else (hx,)
    loss = (output * output.cos()).sum() + sum((k * state.sin()).sum() for k, state in enumerate(last, 2))
    return [output, *last, *torch.autograd.grad(loss, [x, *states, *layer.parameters()])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from given states"])
def test_results_and_gradients_are_torchs(kind, options, given):
    layer = KINDS[kind](FEATURES, UNITS, **OPTIONS[options]).double()
    ours = swapped(layer)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in layer.named_parameters()]
    for single in (False, True):
        x, hx = inputs_of(layer, single=single), first_states(layer, single) if given else None
        for got, expected in zip(everything(ours, x, hx), everything(layer, x, hx), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own way has no fused kernel for these
def test_single_precision_is_exact_to_a_millionth(kind):
    layer = KINDS[kind](8, 32, batch_first=True)
    x = torch.randn(32, 20, 8)
    with torch.no_grad():
        torch.testing.assert_close(swapped(layer)(x)[0], layer(x)[0], rtol=0, atol=1e-6)


class Within(nn.Module):
    """A layer anywhere in a network, with a head on its last output."""

    def __init__(self, layer, features=UNITS, given=False):
        super().__init__()
        self.encoder = nn.ModuleDict({"layer": layer})
        self.start = nn.Parameter(torch.randn(1, 1, UNITS)) if given else None
        self.head = nn.Linear(features, 2)

    def forward(self, x):
        if self.start is None:
            return self.head(self.encoder["layer"](x)[0][:, -1])
        h = self.start.expand(1, len(x), -1).contiguous()
        return self.head(self.encoder["layer"](x, h)[0][:, -1])


class Steps(nn.Module):
    """A cell, called step by step."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(UNITS, 2)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(FEATURES, UNITS)
        self.head = nn.Linear(UNITS, 2)

    def forward(self, x):
        return self.head(self.layer(pack_sequence(list(x)))[1][0][-1])


NETWORKS = {
    **{name: (lambda make=make: Within(make(FEATURES, UNITS, batch_first=True))) for name, make in KINDS.items()},
    "stacked both ways": lambda: Within(nn.GRU(FEATURES, UNITS, 2, bidirectional=True, batch_first=True), 2 * UNITS),
    "learned start": lambda: Within(nn.GRU(FEATURES, UNITS, batch_first=True), given=True),
    "dropout": lambda: Within(nn.LSTM(FEATURES, UNITS, 2, dropout=0.4, batch_first=True)),
    "lstm cell": lambda: Steps(nn.LSTMCell(FEATURES, UNITS)),
    "gru cell": lambda: Steps(nn.GRUCell(FEATURES, UNITS)),
    "rnn cell": lambda: Steps(nn.RNNCell(FEATURES, UNITS, nonlinearity="relu")),
}
NETWORKS["lstm-projected"] = lambda: Within(nn.LSTM(FEATURES, UNITS, proj_size=2, batch_first=True), 2)


def criterion(outputs):
    return outputs.square().mean((-1, -2))


def population_of(network):
    module = prepare(network, "batch")
    batchable(module)
    layout = ParameterLayout.of(module)
    population = 0.5 * torch.randn(5, layout.dim, dtype=torch.float64)
    return module, layout, population, torch.randn(7, STEPS, FEATURES, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_population_equals_the_users_own_module_one_by_one(name):
    network = NETWORKS[name]().double()
    state = {n: t.clone() for n, t in network.state_dict().items()}
    module, layout, population, inputs = population_of(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = PopulationEngine(module, layout, inputs)
    assert engine.strategy == "vmap"
    engine.tile = 3
    losses, slopes = engine.gradients(population, inputs, criterion, seed=1)
    torch.testing.assert_close(engine.losses(population, inputs, criterion, seed=1), losses, rtol=1e-10, atol=1e-12)
    assert all(t.equal(state[n]) for n, t in network.state_dict().items())
    assert type(network) in (Within, Steps)
    # Dropout masks are the engine's: there the same module one by one is what to compare with.
    plain = module if name == "dropout" else copy.deepcopy(network)
    loop = PopulationEngine(plain, layout, inputs, strategy="loop").gradients(population, inputs, criterion, seed=1)
    torch.testing.assert_close(losses, loop[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(slopes, loop[1], rtol=1e-9, atol=1e-10)


def test_a_frozen_layer_behind_genes_and_one_in_front_of_them():
    for frozen in ("encoder", "head"):
        network = Within(nn.LSTM(FEATURES, UNITS, batch_first=True)).double()
        getattr(network, frozen).requires_grad_(False)
        module, layout, population, inputs = population_of(network)
        losses, slopes = PopulationEngine(module, layout, inputs).gradients(population, inputs, criterion)
        loop = PopulationEngine(network, layout, inputs, strategy="loop").gradients(population, inputs, criterion)
        torch.testing.assert_close(losses, loop[0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(slopes, loop[1], rtol=1e-9, atol=1e-12)


def test_nested_populations_are_batched_too():
    layer = swapped(nn.LSTM(FEATURES, UNITS, batch_first=True).double())
    weights = {n: torch.randn(2, 3, *p.shape, dtype=p.dtype) for n, p in layer.named_parameters()}
    x = torch.randn(3, BATCH, STEPS, FEATURES, dtype=torch.float64)

    def output(own, rows):
        return torch.func.functional_call(layer, own, (rows,))[0]

    got = torch.func.vmap(torch.func.vmap(output), in_dims=(0, None))(weights, x)
    expected = torch.stack(
        [torch.stack([output({n: w[i, j] for n, w in weights.items()}, x[j]) for j in range(3)]) for i in range(2)]
    )
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_packed_sequences_run_one_by_one_and_say_so():
    network = Packed().double()
    module, layout, population, inputs = population_of(network)
    with pytest.warns(SlowPathWarning, match="member by member"):
        engine = PopulationEngine(module, layout, inputs)
    expected = PopulationEngine(network, layout, inputs, strategy="loop").losses(population, inputs, criterion)
    torch.testing.assert_close(engine.losses(population, inputs, criterion), expected)


def test_a_subclass_with_a_forward_of_its_own_is_left_alone():
    class Own(nn.GRU):
        def forward(self, x):
            return super().forward(x)[0][:, -1]

    layer = Own(FEATURES, UNITS, batch_first=True)
    batchable(layer)
    assert type(layer) is Own


def test_doing_it_twice_changes_nothing():
    layer = swapped(nn.LSTM(FEATURES, UNITS))
    kind = type(layer)
    batchable(layer)
    assert type(layer) is kind
    assert isinstance(copy.deepcopy(layer), nn.LSTM)


def test_dropout_lies_between_the_layers_of_a_stack_and_goes_off_in_evaluation():
    layer = nn.LSTM(FEATURES, UNITS, 2, dropout=0.5, batch_first=True).double()
    x, ours = inputs_of(layer), swapped(layer)
    assert not ours(x)[0].equal(ours(x)[0])
    torch.testing.assert_close(ours.eval()(x)[0], layer.eval()(x)[0], rtol=1e-10, atol=1e-12)
    assert ours.train()(x)[1][0][0].equal(ours(x)[1][0][0])  # the first layer comes before any


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 3, 9), "must be equal to input_size"), ((2, 2, 3, 4), "2D or 3D"), ((0, 3, 4), "sequence length")],
)
def test_wrong_inputs_are_refused_in_torchs_words(shape, words):
    with pytest.raises((RuntimeError, ValueError), match=words):
        swapped(nn.LSTM(FEATURES, UNITS))(torch.zeros(shape))
    with pytest.raises(RuntimeError, match=r"hidden\[0\] size"):
        swapped(nn.LSTM(FEATURES, UNITS))(torch.zeros(2, 3, 4), (torch.zeros(1, 2, 6), torch.zeros(1, 3, 6)))


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_operations_are_those_of_the_matrix_products(kind, gates):
    """`2 T G H (D + H)` a sample and layer; backwards every product twice, without the one for the inputs."""
    network = Within(kind(8, 32, 2, batch_first=True), 32)
    cost = measure_cost(network, torch.randn(4, 20, 8), torch.sum)
    first, second, head = 2 * 20 * gates * 32 * (8 + 32), 2 * 20 * gates * 32 * (32 + 32), 2 * 32 * 2
    assert cost.forward == first + second + head
    assert cost.backward == 2 * (first + second + head) - 2 * 20 * gates * 32 * 8
    frozen = measure_cost(network.requires_grad_(False), torch.randn(4, 20, 8), None)
    assert frozen.forward == cost.forward
