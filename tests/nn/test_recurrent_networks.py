"""Recurrent networks by name, against torch's layers, formulas written in numpy, and closed forms."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import gfopt
from gfopt import registry
from gfopt.engine import PopulationEngine, calibrate, measure_cost, prepare
from gfopt.errors import NetworkError, ShapeError
from gfopt.nn import ParameterLayout, build_network
from gfopt.nn.recurrence import Layer, recur

KINDS = ("rnn", "lstm", "gru")
REFUSED = ("instance", "filter_response", "whitening", "iternorm")
RECURRENT_NORMS = [name for name in registry.norms.names() if name not in REFUSED]
STEPS, FEATURES, UNITS, OUT = 5, 3, 6, 2


def build(kind, **options):
    """In double precision, with gains and shifts that are not 1 and 0."""
    spec = {"kind": kind, "input_shape": [STEPS, FEATURES], "out_features": OUT, "hidden": [UNITS], **options}
    network = build_network(spec).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.rpartition(".")[2] in ("gain", "shift", "bias"):
                parameter.uniform_(0.5, 1.5)
    return network


def sequences(batch=7, steps=STEPS):
    return torch.randn(batch, steps, FEATURES, dtype=torch.float64)


def test_a_description_becomes_a_network_for_rows_of_pictures():
    network = build_network({"kind": "lstm", "input_shape": [8, 8], "out_features": 10})
    assert network(torch.randn(4, 8, 8)).shape == (4, 10)
    assert sum(p.numel() for p in network.parameters()) == 4 * 32 * (8 + 32 + 1) + 10 * (32 + 1)
    every = build_network({"kind": "gru", "input_shape": [8, 8], "out_features": 10, "output": "every"})
    assert every(torch.randn(4, 8, 8)).shape == (4, 8, 10)


def torchs(network):
    """Torch's layer with the parameters of a network of ours; the second of its two biases is 0."""
    options, kind = network.options, {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[type(network).__name__]
    extra = {"nonlinearity": options.cell} if kind is nn.RNN else {}
    layer = kind(
        FEATURES, UNITS, len(options.hidden), bidirectional=options.bidirectional, batch_first=True, **extra
    ).double()
    with torch.no_grad():
        for depth, directions in enumerate(network.layers):
            for ours, end in zip(directions, ("", "_reverse"), strict=False):
                rows = ours.bias.new_zeros(layer.weight_ih_l0.shape[0])
                if kind is nn.GRU:
                    rows[2 * UNITS :] = ours.bias[3 * UNITS :]
                getattr(layer, f"bias_ih_l{depth}{end}").copy_(ours.bias[: len(rows)])
                getattr(layer, f"bias_hh_l{depth}{end}").copy_(rows)
                getattr(layer, f"weight_ih_l{depth}{end}").copy_(torch.cat([part.weight for part in ours.input]))
                getattr(layer, f"weight_hh_l{depth}{end}").copy_(torch.cat([part.weight for part in ours.state]))
    return layer


@pytest.mark.parametrize("kind", ["rnn", "rnn-relu", "lstm", "gru"])
@pytest.mark.parametrize("options", [{}, {"hidden": [UNITS, UNITS], "bidirectional": True}], ids=["one", "stacked"])
def test_a_network_computes_what_torchs_layer_does(kind, options):
    cell = {"cell": "relu"} if kind == "rnn-relu" else {}
    network = build(kind[:4].rstrip("-"), **cell, **options)
    layer, x = torchs(network), sequences()
    output, last = layer(x)
    h_n = last[0] if isinstance(last, tuple) else last
    ends = torch.cat(list(h_n[-2:] if network.options.bidirectional else h_n[-1:]), dim=1)
    torch.testing.assert_close(network(x), network.head(ends), rtol=1e-10, atol=1e-12)
    every = copy.deepcopy(network)
    every.options = every.options.model_copy(update={"output": "every"})
    torch.testing.assert_close(every(x), network.head(output), rtol=1e-10, atol=1e-12)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def layer_normed(z, gain, shift, step):
    del step
    mean, variance = z.mean(-1, keepdims=True), z.var(-1, keepdims=True)
    return gain * (z - mean) / np.sqrt(variance + 1e-5) + shift


def batch_normed(z, gain, shift, step):
    """Over the batch at this step alone."""
    del step
    return gain * (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) + shift


def numpy_lstm(network, x, normed):
    """Ba et al. 2016, eq. 20-22, and Cooijmans et al. 2017, eq. 6-8; the states of every step."""
    (layer,) = network.layers[0]
    p = {name: tensor.detach().numpy() for name, tensor in layer.named_parameters()}
    h = c = np.zeros((len(x), UNITS))
    for t in range(x.shape[1]):
        z = (
            normed(x[:, t] @ p["input.0.weight"].T, p["input.0.gain"], 0, t)
            + normed(h @ p["state.0.weight"].T, p["state.0.gain"], 0, t)
            + p["bias"]
        )
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normed(c, p["cell_norm.gain"], p["cell_norm.shift"], t))
    return h @ network.head.weight.detach().numpy().T + network.head.shift.detach().numpy()


def numpy_gru(network, x, normed):
    """Ba et al. 2016, eq. 26-28: candidate and gates are normalized apart."""
    (layer,) = network.layers[0]
    p = {name: tensor.detach().numpy() for name, tensor in layer.named_parameters()}
    b_rz, b_n, b_u = np.split(p["bias"], [2 * UNITS, 3 * UNITS])
    h = np.zeros((len(x), UNITS))
    for t in range(x.shape[1]):
        rows = [normed(x[:, t] @ p[f"input.{k}.weight"].T, p[f"input.{k}.gain"], 0, t) for k in (0, 1)]
        states = [normed(h @ p[f"state.{k}.weight"].T, p[f"state.{k}.gain"], 0, t) for k in (0, 1)]
        r, z = np.split(sigmoid(rows[0] + states[0] + b_rz), 2, axis=1)
        n = np.tanh(rows[1] + b_n + r * (states[1] + b_u))
        h = (1 - z) * n + z * h
    return h @ network.head.weight.detach().numpy().T + network.head.shift.detach().numpy()


@pytest.mark.parametrize(("kind", "formula"), [("lstm", numpy_lstm), ("gru", numpy_gru)])
@pytest.mark.parametrize(("norm", "normed"), [("layer", layer_normed), ("batch", batch_normed)])
def test_a_normalized_network_is_the_formula_of_its_paper(kind, formula, norm, normed):
    network, x = build(kind, norm=norm), sequences()
    np.testing.assert_allclose(network(x).detach().numpy(), formula(network, x.numpy(), normed), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_normalized_as_those_of_a_dense_layer(kind):
    """The rows of both products count by their direction alone: any lengths leave the output as it is."""
    network, x = build(kind, norm="weight"), sequences()
    expected = network(x)
    with torch.no_grad():
        for layer in (*network.layers[0][0].input, *network.layers[0][0].state):
            layer.weight.mul_(torch.rand(len(layer.weight), 1, dtype=torch.float64) + 0.5)
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-12)
    plain = copy.deepcopy(network)
    fast = plain.layers[0][0]
    torch.testing.assert_close(
        torch.stack(list(fast._step_by_step(x)), dim=1), fast._at_once(x), rtol=1e-10, atol=1e-12
    )


def criterion(outputs):
    return outputs.square().flatten(1).mean(1) if outputs.ndim > 2 else outputs.square().mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", RECURRENT_NORMS)
def test_a_population_equals_its_members_one_by_one(kind, norm):
    both_ways = norm in ("none", "batch")
    module = prepare(build(kind, norm=norm, bidirectional=both_ways, output="every" if both_ways else "last"), "batch")
    layout, inputs = ParameterLayout.of(module), sequences(batch=9)
    population = layout.flatten(module) + 0.3 * torch.randn(4, layout.dim, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = PopulationEngine(module, layout, inputs)
    assert engine.strategy == "vmap"
    engine.tile = 3
    losses, slopes = engine.gradients(population, inputs, criterion)
    expected = PopulationEngine(module, layout, inputs, strategy="loop").gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, expected[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slopes, expected[1], rtol=1e-8, atol=1e-10)


def test_batch_statistics_belong_to_a_step_in_training():
    """Cooijmans et al. 2017, section 3: at each step its own mean and variance."""
    network = build("lstm", norm="batch")
    x = sequences(batch=50) + torch.arange(STEPS)[None, :, None] * 10.0  # every step lies elsewhere
    network(x)
    product = network.layers[0][0].input[0]
    means = torch.stack([norm.statistics.running_mean for norm in (product.norm, *product.later)])
    assert means.shape == (STEPS, 4 * UNITS)
    expected = 0.1 * (x.mean(0) @ product.weight.T)  # a tenth of the way from 0
    torch.testing.assert_close(means, expected.detach(), rtol=1e-10, atol=1e-10)


def test_after_calibration_evaluation_repeats_the_training_batch():
    network, x = build("lstm", norm="batch", hidden=[UNITS, UNITS]), sequences(batch=50)
    expected = network(x)
    calibrate(network, x)
    torch.testing.assert_close(network.eval()(x), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(network(x[:1]), expected[:1], rtol=1e-9, atol=1e-10)  # whoever else is in the batch
    longer = sequences(batch=2, steps=STEPS + 3)  # later steps have the statistics of the last
    assert network(longer).isfinite().all()


def test_batch_gains_start_small_and_all_others_at_one():
    for norm, start in {"batch": 0.1, "layer": 1.0, "weight": 1.0}.items():
        network = build_network({"kind": "lstm", "input_shape": [4, 3], "out_features": 2, "norm": norm})
        gains = [p for name, p in network.named_parameters() if name.endswith("gain")]
        assert len(gains) == (2 if norm == "weight" else 3)
        assert all((gain == start).all() for gain in gains)


@pytest.mark.parametrize("forget_bias", [0.0, 2.0, 5.0, 20.0])
def test_the_constant_error_carousel(forget_bias):
    """With gates that see neither input nor state, `dc_T / dc_0 = sigmoid(b_f)^T`: only a bias keeps a gradient."""
    steps = 200
    c = torch.randn(1, UNITS, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, 4 * UNITS, dtype=torch.float64)
    bias[:, UNITS : 2 * UNITS] = forget_bias
    x = torch.randn(1, steps, FEATURES, 3, dtype=torch.float64)
    w_ih, w_hh = (torch.zeros(1, 4 * UNITS, k, dtype=torch.float64) for k in (FEATURES, UNITS))
    _, last = recur("lstm", Layer(x, w_ih, w_hh, bias, torch.zeros_like(c), c))
    (slope,) = torch.autograd.grad(last.sum(), c)
    expected = torch.sigmoid(torch.tensor(forget_bias, dtype=torch.float64)) ** steps
    torch.testing.assert_close(slope, expected.expand_as(slope), rtol=1e-10, atol=0)


@pytest.mark.parametrize("steps", [1, 20, 200])
def test_a_contracting_rnn_forgets_at_least_geometrically(steps):
    """`|dh_T / dh_0| <= rho^T` for a recurrent weight of `rho` times an orthogonal one (Pascanu et al. 2013)."""
    rho, batch = 0.9, UNITS
    weight = rho * torch.linalg.qr(torch.randn(1, UNITS, UNITS, dtype=torch.float64)).Q
    x = torch.randn(1, steps, FEATURES, 1, dtype=torch.float64).expand(-1, -1, -1, batch)
    w_ih = torch.randn(1, UNITS, FEATURES, dtype=torch.float64)
    h = torch.zeros(1, UNITS, batch, dtype=torch.float64, requires_grad=True)
    out, _ = recur("tanh", Layer(x, w_ih, weight, torch.zeros(1, UNITS, dtype=torch.float64), h))
    # Every column of the batch is the same run: column k asks for the slope of unit k.
    (jacobian,) = torch.autograd.grad(out[0, -1].diagonal().sum(), h)
    assert 0 < torch.linalg.matrix_norm(jacobian[0], 2) <= rho**steps


def test_initialization_is_gate_by_gate_with_a_forget_bias_and_one_bias_vector():
    network = build_network({"kind": "lstm", "input_shape": [4, 3], "out_features": 2, "hidden": [5]})
    (layer,) = network.layers[0]
    for gate in layer.state[0].weight.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5), rtol=0, atol=1e-5)
    assert (layer.bias[5:10] == 1).all()
    assert not (layer.bias[:5] == 1).any()
    assert [name for name, _ in layer.named_parameters()] == ["bias", "input.0.weight", "state.0.weight"]
    with torch.no_grad():
        layer.bias.zero_()
    layer.reset_parameters()
    assert (layer.bias[5:10] == 1).all()
    spec = {"kind": "lstm", "input_shape": [4, 3], "out_features": 2, "hidden": [5], "forget_bias": 3.0}
    bias = build_network({**spec, "init": "glorot"}).layers[0][0].bias
    assert bias.tolist() == [0.0] * 5 + [3.0] * 5 + [0.0] * 10


@pytest.mark.parametrize("kind", KINDS)
def test_without_gain_and_shift_only_weights_are_learned(kind):
    network = build(kind, norm="layer", gain=False, shift=False)
    assert all(name.endswith("weight") for name, _ in network.layers.named_parameters())
    assert network(sequences()).isfinite().all()
    assert build(kind, shift=False)(sequences()).isfinite().all()


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_operations_are_those_of_the_matrix_products(kind, gates, norm):
    cost = measure_cost(build(kind, norm=norm), sequences(), torch.sum)
    assert cost.forward == 2 * STEPS * gates * UNITS * (FEATURES + UNITS) + 2 * UNITS * OUT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": []}, ["hidden", "at least 1"]),
        ({"hidden": [0]}, ["hidden", "0"]),
        ({"cell": "sigmoid"}, ["cell", "'tanh' or 'relu'"]),
        ({"output": "first"}, ["output", "'last' or 'every'"]),
        ({"forget_bias": 1.0}, ["known option of 'rnn'", "forget_bias"]),
        ({"norm": "batc"}, ["known norm", "Did you mean 'batch'"]),
        ({"norm": "layer", "hidden": [1]}, ["hidden.0", "at least 2 units"]),
        ({"norm": ["layer"], "hidden": [4, 4]}, ["norm", "each of the 2 layers"]),
        ({"norm": "instance"}, ["hidden.0", "recurrent form", "positions of a picture", "Use batch, layer or weight"]),
        ({"norm": "whitening"}, ["recurrent form", "covariance"]),
        ({"input_shape": [64]}, ["input_shape", "(T, features)", "(64,)", "mlp"]),
        ({"input_shape": [3, 8, 8]}, ["input_shape", "(T, features)", "(3, 8, 8)"]),
    ],
)
def test_wrong_descriptions_are_refused(change, words):
    spec = {"kind": "rnn", "input_shape": [STEPS, FEATURES], "out_features": OUT, "hidden": [UNITS]}
    with pytest.raises(NetworkError) as caught:
        build_network({**spec, **change})
    for word in words:
        assert word in str(caught.value)


def test_a_forget_bias_without_a_bias_is_refused():
    spec = {"kind": "lstm", "input_shape": [STEPS, FEATURES], "out_features": OUT, "shift": False}
    with pytest.raises(NetworkError, match="forget_bias: expected a network that learns a bias"):
        build_network({**spec, "forget_bias": 1.0})
    assert build_network(spec)(torch.randn(2, STEPS, FEATURES)).shape == (2, OUT)


@pytest.mark.parametrize("shape", [(4, FEATURES), (4, STEPS, FEATURES + 1), (4, 0, FEATURES), (4, STEPS, FEATURES, 1)])
def test_rows_that_are_no_sequences_are_refused(shape):
    with pytest.raises(ShapeError, match=rf"sequences \(B, T, {FEATURES}\)"):
        build("gru")(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(("kind", "optimizer"), [("lstm", "adam"), ("lstm", "deap-ga")])
def test_a_small_task_is_learned_by_any_optimizer(kind, optimizer):
    """Which class a sequence belongs to, its first step says."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(120, 4, 1)).astype(np.float32)
    data = gfopt.data.from_arrays(x, (x[:, 0, 0] > 0).astype(int), test_fraction=0.25)
    problem = gfopt.SupervisedProblem({"kind": kind, "hidden": [8]}, data, device="cpu")
    budget = {"evaluations": 60 if optimizer == "adam" else 2000}
    options = {"learning_rate": 0.05} if optimizer == "adam" else {}
    run = gfopt.minimize(problem, optimizer, budget=budget, seed=0, **options)
    assert run.status == "ok"
    assert run.best_loss < 0.45  # ln 2 = 0.69 is chance
    assert run.module()(torch.as_tensor(x)).shape == (120, 2)
