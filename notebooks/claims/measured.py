"""Claims that a direct measurement decides, in a second and without training."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from claim import Claim, Judgement, choose
from evidence import Evidence
from torch import Tensor, nn
from torch.nn import functional as F

from gfopt import registry
from gfopt.diagnostics import backward_gain, gradient_flow
from gfopt.nn import MLP, NormalizedLinear, NormLayer

SEEDS = 3
DEPTH, WIDTH, ROWS = 20, 64, 256


def number(value: Tensor | float) -> float:
    """A plain number, off the graph."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def gain_per_layer(activation: str, norm: str, init: object = "torch") -> float:
    """Backward gain at the start of a deep network, the geometric mean over seeds."""
    gains = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        network = MLP(WIDTH, 10, hidden=[WIDTH] * DEPTH, activation=activation, norm=norm, init=init).double()
        x, y = torch.randn(ROWS, WIDTH, dtype=torch.float64), torch.randint(10, (ROWS,))
        flow = gradient_flow(network, x, y, F.cross_entropy)
        gains.append(backward_gain([layer.norm for layer in flow[:-1]]))
    return number(np.exp(np.mean(np.log(gains))))


def squashing(_: Evidence) -> Judgement:
    """Chains of one number: no squashing and a vanishing derivative, squashing and an exploding one."""
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    linear, squashed = x, x
    for _layer in range(20):
        linear = 0.5 * linear
        squashed = torch.sin(10 * squashed)
    without, with_ = (number(torch.autograd.grad(y, x)[0].abs()) for y in (linear, squashed))
    return Judgement(
        choose(without < 1e-3 and with_ > 1e3, "wrong: neither necessary nor sufficient", "true"),
        f"20 layers of 0.5 x, which squash nothing: derivative {without:.1e}; 20 layers of sin(10 x), which squash "
        f"everything into [-1, 1]: {with_:.1e}. What counts is the product of weights and slopes",
    )


def normalization_cures(evidence: Evidence) -> Judgement:
    """Backward gain per layer with each norm, sigmoid and tanh."""
    norms = ("none", "batch", "layer", "weight", "cosine")
    gains = {f: [gain_per_layer(f, norm) for norm in norms] for f in ("sigmoid", "tanh")}

    def draw(ax) -> None:
        for shift, (activation, values) in zip((-0.2, 0.2), gains.items(), strict=True):
            ax.bar(np.arange(len(norms)) + shift, values, 0.38, label=activation)
        ax.axhline(1, color="0.4", linewidth=0.8)
        ax.set(xticks=range(len(norms)), xticklabels=norms, ylabel="backward gain per layer", yscale="log")
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize="small")

    sigmoid = dict(zip(norms, gains["sigmoid"], strict=True))
    holds = sigmoid["batch"] > 0.8 and sigmoid["layer"] < 0.8
    said = ", ".join(f"{norm} {value:.2f}" for norm, value in sigmoid.items())
    return Judgement(
        choose(holds, "true if it is batch normalization, or the activation is centred", "undecided"),
        f"backward gain of {DEPTH} sigmoid layers: {said}; of tanh: "
        + ", ".join(f"{norm} {value:.2f}" for norm, value in zip(norms, gains["tanh"], strict=True)),
        evidence.figure("backward_gain", draw),
    )


def weight_gradients_hide_it(_: Evidence) -> Judgement:
    """dL/dz against dL/dW of a deep tanh network without biases."""
    torch.manual_seed(0)
    network = MLP(WIDTH, 10, hidden=[WIDTH] * DEPTH, activation="tanh", shift=False).double()
    x, y = torch.randn(ROWS, WIDTH, dtype=torch.float64), torch.randint(10, (ROWS,))
    flow = gradient_flow(network, x, y, F.cross_entropy)[:-1]
    signal, weights = flow[0].norm / flow[-1].norm, flow[0].weight_norm / flow[-1].weight_norm
    return Judgement(
        choose(signal < 1e-2 and weights > 0.1, "wrong: the weights' gradients may hide it", "true"),
        f"tanh, {DEPTH} layers without biases, first layer over last: dL/dz {signal:.1e}, dL/dW {weights:.2g}",
    )


def interval(_: Evidence) -> Judgement:
    """The largest standardized value of one batch, and of a cosine."""
    z = torch.zeros(1000, 1, dtype=torch.float64)
    z[0] = 1.0
    largest = number(NormLayer(1, "batch").double()(z).abs().max())
    torch.manual_seed(0)
    cosine = number(NormalizedLinear(8, 8, "cosine", gain=False, shift=False)(1e3 * torch.randn(999, 8)).abs().max())
    return Judgement(
        choose(largest > 10 and cosine <= 1 + 1e-6, "wrong, except for cosine normalization", "true"),
        f"one outlier among 1000 rows is standardized to {largest:.1f} (the bound is sqrt(N - 1) = "
        f"{math.sqrt(999):.1f}); cosines of inputs a thousand times as large stay at {cosine:.2f}",
    )


def zero_one(_: Evidence) -> Judgement:
    """Mean, variance and range of a standardized batch."""
    torch.manual_seed(0)
    out = NormLayer(4, "batch").double()(torch.randn(512, 4, dtype=torch.float64) * 3 + 7)
    mean, variance = number(out.mean(0).abs().max()), number(out.var(0, correction=0).mean())
    low, high = number(out.min()), number(out.max())
    return Judgement(
        choose(
            low < 0 < 1 < high and mean < 1e-6, "wrong: mean 0 and variance 1 (min-max scaling maps to [0, 1])", "true"
        ),
        f"mean {mean:.0e}, variance {variance:.3f}, values from {low:.1f} to {high:.1f}",
    )


def gain_and_shift(_: Evidence) -> Judgement:
    """Which of the two undoes the standardization, and how."""
    torch.manual_seed(0)
    z = torch.randn(64, 3, dtype=torch.float64) * 2 + 5
    layer = NormLayer(3, "batch").double()
    with torch.no_grad():
        layer.gain.copy_((z.var(0, correction=0) + 1e-5).sqrt())
        layer.shift.copy_(z.mean(0))
    error = number((layer(z) - z).abs().max())
    return Judgement(
        choose(error < 1e-9, "wrong where it swaps them: g scales, b shifts", "undecided"),
        f"with g = the standard deviation and b = the mean, the layer gives its input back to {error:.0e}",
    )


def bn_memory(_: Evidence) -> Judgement:
    """Floats of statistics, and what backward keeps, for a layer with and without batch normalization."""
    kept = {}
    for norm in ("none", "batch"):
        total = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        network = MLP(64, 10, hidden=[256] * 4, activation="tanh", norm=norm)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            network(torch.randn(128, 64)).sum()
        kept[norm] = total
    buffers = sum(b.numel() for b in network.buffers() if b.is_floating_point())
    share = buffers / sum(p.numel() for p in network.parameters())
    more = kept["batch"] / kept["none"] - 1
    return Judgement(
        choose(share < 0.05 and more > 0.1, "wrong for the statistics, true for backprop's activations", "undecided"),
        f"4 layers of 256 units: the statistics are {buffers} numbers, {100 * share:.1f} % of the parameters; "
        f"backward keeps {100 * more:.0f} % more at batch 128. Gradient-free training keeps none of it",
    )


def cosine_bounded(_: Evidence) -> Judgement:
    """What a cosine output layer can fit."""
    bounds = {classes: math.log(1 + (classes - 1) * math.exp(-2)) for classes in (2, 10)}
    torch.manual_seed(0)
    products = number((torch.randn(1000, 8) * 1e3 @ torch.randn(8, 8)).abs().max())
    return Judgement(
        choose(products > 1e3, "true, and it has a price as output layer", "undecided"),
        f"dot products reached {products:.0f} on large inputs, cosines at most 1; with cosines as logits the "
        f"cross-entropy stays above {bounds[2]:.2f} for 2 and {bounds[10]:.2f} for 10 classes: give them a gain",
    )


def whitening_cost(_: Evidence) -> Judgement:
    """Time of a forward and backward pass with whitening over batch normalization, by width."""
    ratios = {}
    for width in (16, 64, 256):
        torch.manual_seed(0)
        z = torch.randn(512, width)
        ratios[width] = _seconds("whitening", z) / _seconds("batch", z)
    said = ", ".join(f"{ratio:.0f} times at {width} units" for width, ratio in ratios.items())
    return Judgement(
        choose(ratios[256] > ratios[16] and ratios[256] > 3, "true, and more so the wider the layer", "undecided"),
        f"a forward and backward pass of ZCA whitening takes the time of batch normalization {said} (512 rows)",
    )


def _seconds(norm: str, z: Tensor) -> float:
    """The fastest of several passes."""
    layer, taken = NormLayer(z.shape[1], norm), []
    for _ in range(7):
        rows = z.clone().requires_grad_()
        begin = time.perf_counter()
        layer(rows).square().mean().backward()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def weight_scale(_: Evidence) -> Judgement:
    """dh/dx and dL/dW when the weights grow tenfold."""
    errors, ratios = [], []
    norms = [n for n in registry_norms() if registry.norms.get(n).neutral]
    for norm in norms:
        jacobians, gradients = zip(*(_jacobian(norm, factor) for factor in (1.0, 10.0)), strict=True)
        errors.append(number((jacobians[1] - jacobians[0]).abs().max() / jacobians[0].abs().max()))
        ratios.append(number(gradients[0].norm() / gradients[1].norm()))
    holds = max(errors) < 1e-4 and all(abs(r - 10) < 0.01 for r in ratios)
    return Judgement(
        choose(holds, "true of dh/dx and dL/dW, wrong that backprop does not see it", "undecided"),
        f"weights times 10 under {len(norms)} norms ({', '.join(norms)}): dh/dx changes by at most "
        f"{max(errors):.0e}, dL/dW is {min(ratios):.2f} to {max(ratios):.2f} times smaller. So backprop does see the "
        f"scale: in the size of its steps",
    )


def registry_norms() -> list[str]:
    """Norms that a dense layer can have."""
    return [n for n in registry.norms.names() if not registry.norms.get(n).pictures_only]


def _jacobian(norm: str, factor: float) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    layer = NormalizedLinear(7, 6, norm, gain=False, shift=False, eps=1e-12).double()
    layer.norm.apply(_forget)
    with torch.no_grad():
        layer.weight.mul_(factor)
    x = torch.randn(24, 7, dtype=torch.float64, requires_grad=True)
    z = layer(x)
    directions = torch.randn(24, 6, dtype=torch.float64)
    loss = torch.sin(z).mul(directions).sum()
    weight_gradient = torch.autograd.grad(loss, layer.weight, retain_graph=True)[0]
    return torch.autograd.grad((z * directions).sum(), x)[0], weight_gradient


def _forget(part: nn.Module) -> None:
    if hasattr(part, "remember"):
        part.remember = False


def data_scale(_: Evidence) -> Judgement:
    """Output change when the whole batch, or each sample by itself, is scaled."""
    torch.manual_seed(0)
    x = torch.randn(24, 7, dtype=torch.float64)
    each = x * torch.logspace(-1, 1, 24, dtype=torch.float64)[:, None]
    whole, single = {}, {}
    for norm in ("batch", "layer", "cosine", "weight"):
        layer = NormalizedLinear(7, 6, norm, gain=False, shift=False, eps=1e-12).double()
        before = layer(x)
        whole[norm] = number((layer(5 * x) - before).abs().max())
        single[norm] = number((layer(each) - before).abs().max())
    holds = all(whole[n] < 1e-6 for n in ("batch", "layer", "cosine")) and whole["weight"] > 0.1 < single["batch"]
    return Judgement(
        choose(
            holds, "true if the whole batch is scaled; for each sample by itself only layer and cosine", "undecided"
        ),
        "change of the output, batch scaled by 5: "
        + _listed(whole)
        + "; each sample by another factor: "
        + _listed(single),
    )


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0e}" if value < 1e-3 else f"{name} {value:.1f}" for name, value in values.items())


def constant_error_carousel(_: Evidence) -> Judgement:
    """dc_T / dc_0 of an LSTM cell after 200 steps, by forget-gate bias."""
    factors = {
        bias: number(torch.sigmoid(torch.tensor(bias, dtype=torch.float64)) ** 200) for bias in (0.0, 1.0, 2.0, 5.0)
    }
    measured = {bias: _carried(bias) for bias in factors}
    same = all(math.isclose(factors[b], measured[b], rel_tol=1e-9) for b in factors)
    said = ", ".join(f"{value:.1e} at bias {bias:g}" for bias, value in measured.items())
    return Judgement(
        choose(same and measured[0.0] < 1e-30, "true if the forget gate is open", "undecided"),
        f"what is left of the cell's gradient after 200 steps: {said}, exactly sigmoid(bias)^200",
    )


def _carried(bias: float, steps: int = 200) -> float:
    cell = nn.LSTMCell(1, 1).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[1] = bias  # torch's order of gates: input, forget, cell, output
    start = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    h, c = torch.zeros_like(start), start
    for _ in range(steps):
        h, c = cell(torch.zeros_like(start), (h, c))
    return number(torch.autograd.grad(c.sum(), start)[0])


def residual_path(_: Evidence) -> Judgement:
    """Backward gain of residual blocks h + f(W h)."""
    gains = {}
    for name, f in (("tanh", torch.tanh), ("sigmoid", torch.sigmoid), ("relu", torch.relu)):
        torch.manual_seed(0)
        layers = [nn.Linear(WIDTH, WIDTH).double() for _ in range(DEPTH)]
        h = torch.randn(ROWS, WIDTH, dtype=torch.float64, requires_grad=True)
        states = [h]
        for layer in layers:
            states.append(states[-1] + f(layer(states[-1])))
        loss = F.cross_entropy(states[-1][:, :10], torch.randint(10, (ROWS,)))
        norms = [number(g.norm()) for g in torch.autograd.grad(loss, states)]
        gains[name] = backward_gain(norms)
    return Judgement(
        choose(min(gains.values()) >= 1, "true", "undecided"),
        "backward gain of h + f(W h): " + ", ".join(f"{name} {gain:.2f}" for name, gain in gains.items()),
    )


def leaky_maximum(_: Evidence) -> Judgement:
    """max(a x, x) against LeakyReLU, and the derivative at 0."""
    x = torch.tensor([1.0, -1.0])
    outside = torch.maximum(2 * x, x).tolist(), F.leaky_relu(x, 2.0).tolist()
    zero = torch.zeros((), requires_grad=True)
    slope = number(torch.autograd.grad(F.leaky_relu(zero, 0.1), zero)[0])
    inside = torch.equal(torch.maximum(0.1 * x, x), F.leaky_relu(x, 0.1))
    return Judgement(
        choose(inside and outside[0] != outside[1], "true if 0 <= a <= 1", "undecided"),
        f"at a = 2 the maximum gives {outside[0]} for 1 and -1, LeakyReLU {outside[1]}; the derivative at 0 is "
        f"{slope:.1f} in torch for a = 0.1, a convention, not 1",
    )


def only_moments(_: Evidence) -> Judgement:
    """Skewness and correlation that batch normalization leaves."""
    rng = np.random.default_rng(0)
    skewed = rng.exponential(size=(4000, 1))
    z = torch.as_tensor(np.hstack([skewed, skewed + rng.normal(size=(4000, 1))]))
    out = NormLayer(2, "batch").double()(z).detach().numpy()
    skewness, correlation = number((out[:, 0] ** 3).mean()), number(np.corrcoef(out.T)[0, 1])
    return Judgement(
        choose(skewness > 1 and correlation > 0.3, "wrong: first and second moment of each unit only", "undecided"),
        f"of an exponential unit the skewness stays {skewness:.1f}, its correlation with another {correlation:.2f}",
    )


def batch_of_one(_: Evidence) -> Judgement:
    """What is left of the data with two rows."""
    torch.manual_seed(0)
    two = NormLayer(5, "batch", gain=False, shift=False, eps=1e-12).double()(torch.randn(2, 5).double())
    only_signs = bool(torch.allclose(two.abs(), torch.ones_like(two)))
    return Judgement(
        choose(only_signs, "true: the size of a batch, not the number of batches", "undecided"),
        "with 2 rows every standardized value is -1 or 1, whatever the data; gfopt refuses fewer than 8",
    )


CLAIMS = (
    Claim("Gradients vanish because activations squash their input into a smaller range.", "measurement", squashing),
    Claim("A vanishing gradient shows in the gradients of the weights.", "measurement", weight_gradients_hide_it),
    Claim("Normalization cures vanishing gradients.", "measurement; vanishing_depth", normalization_cures),
    Claim("LeakyReLU is max(a x, x), with derivative 1 at 0.", "measurement", leaky_maximum),
    Claim("Residual connections give the gradient a shorter path.", "measurement; residual", residual_path),
    Claim("An LSTM mitigates vanishing gradients.", "measurement; long_lag", constant_error_carousel),
    Claim("Normalization maps its input to a definite interval.", "measurement", interval),
    Claim("Batch normalization maps each dimension to (0, 1).", "measurement", zero_one),
    Claim("In h = f(g (x - mu) / sigma + b), g places back and b scales.", "measurement", gain_and_shift),
    Claim("After normalization, inputs always have the standard distribution.", "measurement", only_moments),
    Claim("Batch normalization needs large batches.", "measurement; batch_size_and_batchnorm", batch_of_one),
    Claim("Batch normalization stores statistics, which costs much memory.", "measurement", bn_memory),
    Claim("Dot products are unbounded, cosines are bounded.", "measurement", cosine_bounded),
    Claim("Whitening is expensive.", "measurement; normalization_x_optimizer", whitening_cost),
    Claim(
        "Scaling the weights leaves dh/dx as it is and divides dL/dW by the factor, so backprop does not see it.",
        "measurement; learning_rate_and_weight_scale",
        weight_scale,
    ),
    Claim("Batch, layer and cosine normalization are invariant to the scale of the data.", "measurement", data_scale),
)
