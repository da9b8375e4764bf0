import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gfopt.diagnostics.backward import LayerGradient, backward_gain, gradient_flow
from gfopt.errors import ConfigError, NetworkError, NotDifferentiableError
from gfopt.nn import NormalizedLinear
from gfopt.problems.losses import CrossEntropy
from gfopt.rng import torch_seeded

WIDTH, DEPTH, ROWS = 64, 20, 256


@pytest.fixture(autouse=True)
def seeded():
    """The networks of these tests are drawn by torch's own constructors."""
    with torch_seeded(0):
        yield


def half_square(outputs, targets):
    """Mean over samples of `|o - t|^2 / 2`, whose gradient is `(o - t) / B`."""
    return (outputs - targets).square().sum(1).mean() / 2


def deep(activation, norm="none", weights=None):
    """`DEPTH` layers of `WIDTH` and an output layer, in torch's default initialization, float64."""
    layers = []
    for _ in range(DEPTH):
        linear = NormalizedLinear(WIDTH, WIDTH, norm) if norm != "none" else nn.Linear(WIDTH, WIDTH)
        if weights is not None:
            weights(linear.weight)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10)).double()


def gain(activation, norm="none", weights=None, seeds=3):
    """Geometric mean of the gain per hidden layer over seeds, for cross-entropy on random labels."""
    logs = []
    for seed in range(seeds):
        with torch_seeded(seed):
            network = deep(activation, norm, weights)
            inputs, labels = torch.randn(ROWS, WIDTH, dtype=torch.float64), torch.randint(10, (ROWS,))
        flow = gradient_flow(network, inputs, labels, CrossEntropy())
        assert [layer.layer for layer in flow] == list(range(1, DEPTH + 2))
        logs.append(math.log(backward_gain([layer.norm for layer in flow[:-1]])))
    return math.exp(sum(logs) / seeds)


def glorot(weight):
    nn.init.xavier_normal_(weight)


def he(weight):
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def tiny(weight):
    nn.init.normal_(weight, std=0.01)


# Figures measured once by other code for depth 20, width 64 (Glorot & Bengio 2010 show the effect), and, as
# formulas, what theory says: an identity or ReLU layer with Var w = 1 / (3 n) passes the share 1/3 or 1/6 of
# the signal's variance; Yang et al. 2019, arXiv:1902.08129, treat ReLU after BatchNorm.
@pytest.mark.parametrize(
    ("activation", "norm", "weights", "expected", "tolerance"),
    [
        (nn.Sigmoid, "none", None, 0.141, 0.02),
        (nn.Sigmoid, "none", glorot, 0.236, 0.03),
        (nn.Sigmoid, "batch", None, 1.03, 0.10),
        (nn.Sigmoid, "layer", None, 0.40, 0.05),
        (nn.Sigmoid, "weight", None, 0.24, 0.04),
        (nn.Sigmoid, "cosine", None, 0.06, 0.02),
        (nn.Tanh, "none", None, 0.573, 0.05),
        (nn.Tanh, "none", glorot, 0.933, 0.06),
        (nn.Tanh, "none", tiny, 0.080, 0.01),
        (nn.Tanh, "batch", tiny, 1.10, 0.08),
        (nn.ReLU, "none", he, 1.0, 0.10),
        (nn.ReLU, "none", None, math.sqrt(1 / 6), 0.04),
        (nn.ReLU, "batch", None, math.sqrt(math.pi / (math.pi - 1)), 0.06),
        (nn.Identity, "none", None, 1 / math.sqrt(3), 0.02),
    ],
)
def test_gain_per_layer_is_the_known_one(activation, norm, weights, expected, tolerance):
    assert gain(activation, norm, weights) == pytest.approx(expected, abs=tolerance)


def test_a_chain_of_two_linear_layers_by_hand():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        network[1].weight.copy_(torch.tensor([[3.0, 4.0]]))
    inputs, targets = torch.tensor([[1.0, 1.0], [2.0, 0.0]]), torch.tensor([[1.0], [0.0]])
    # Outputs 11 and 6, so the samples' own signals at the output are 10 and 6; one layer back they are
    # |(3, 4)| = 5 times that. The weights' gradients are the means of signal times input, ((3, 4) x (11, 5)) and
    # (11, 10).
    assert gradient_flow(network, inputs, targets, half_square) == [
        LayerGradient(1, "0", pytest.approx(5 * (10 + 6) / 2), pytest.approx(5 * math.hypot(11, 5))),
        LayerGradient(2, "1", pytest.approx((10 + 6) / 2), pytest.approx(math.hypot(11, 10))),
    ]


def test_the_weights_gradient_is_that_of_autograd_from_all_uses_together():
    network = Convolutional().double().eval()
    inputs, targets = (t.double() for t in images())
    flow = gradient_flow(network, inputs, targets, half_square)
    half_square(network(inputs), targets).backward()
    for row in flow:
        weight = network.get_submodule(row.name).weight
        assert row.weight_norm == pytest.approx(float(weight.grad.norm()), rel=1e-12)
    assert flow[1].weight_norm == flow[2].weight_norm  # one layer, used twice


def test_the_weights_gradients_hide_what_the_signal_shows():
    with torch_seeded(1):  # without biases, as in Glorot & Bengio 2010, section 4.2.1
        network, inputs = deep(nn.Tanh), torch.randn(ROWS, WIDTH, dtype=torch.float64)
        labels = torch.randint(10, (ROWS,))
    with torch.no_grad():
        for layer in network[::2]:
            layer.bias.zero_()
    flow = gradient_flow(network, inputs, labels, CrossEntropy())[:-1]
    assert 3e-6 < flow[0].norm / flow[-1].norm < 1e-3  # other code measured 2e-5
    assert 0.3 < flow[0].weight_norm / flow[-1].weight_norm < 4  # and 1.15


class Tagger(nn.Module):
    """Sequences `(B, T, 3)` through torch's own recurrent and attention layers."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.memory = nn.LSTM(3, 4, batch_first=batch_first)
        self.look = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.head = nn.Linear(4, 2)
        self.axis = 1 if batch_first else 0

    def forward(self, x):
        states, _ = self.memory(x)
        looked, _ = self.look(states, states, states, need_weights=False)
        return self.head(looked.mean(self.axis))


def test_recurrent_and_attention_layers_are_layers():
    network, inputs = Tagger(), torch.linspace(-1, 1, 60).reshape(4, 5, 3)
    flow = gradient_flow(network, inputs, torch.ones(4, 2), half_square)
    assert [row.name for row in flow] == ["memory", "look", "head"]
    half_square(network(inputs), torch.ones(4, 2)).backward()
    weights = [network.memory.weight_ih_l0, network.memory.weight_hh_l0]
    assert flow[0].weight_norm == pytest.approx(math.hypot(*(float(w.grad.norm()) for w in weights)), rel=1e-5)
    assert all(row.norm > 0 for row in flow)


def test_samples_are_counted_along_their_own_axis():
    first, second = Tagger(), Tagger(batch_first=False)
    second.load_state_dict(first.state_dict())
    inputs, targets = torch.linspace(-1, 1, 60).reshape(4, 5, 3), torch.ones(4, 2)
    expected = gradient_flow(first, inputs, targets, half_square)
    found = gradient_flow(second, inputs.transpose(0, 1), targets, half_square)
    assert [row.norm for row in found] == pytest.approx([row.norm for row in expected], rel=1e-5)


def test_a_users_own_layer_and_parametrized_weights_are_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.eye(3))

        def forward(self, x):
            return x @ self.matrix

    network = nn.Sequential(Own(), nn.LayerNorm((4, 3)), nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    flow = gradient_flow(network, torch.rand(5, 4, 3), torch.ones(5, 2), lambda o, t: half_square(o.mean(1), t))
    assert [row.name for row in flow] == ["0", "2"]
    assert all(row.weight_norm > 0 for row in flow)


def test_the_norm_does_not_depend_on_the_batch_size():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    targets = torch.zeros(5, 2, dtype=torch.float64)
    once = gradient_flow(network, inputs, targets, half_square)
    twice = gradient_flow(network, inputs.repeat(2, 1), targets.repeat(2, 1), half_square)
    assert [v.norm for v in once] == pytest.approx([v.norm for v in twice], rel=1e-12)


class Convolutional(nn.Module):
    """Its layers run in another order than they are declared, one twice, with an activation in place."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4 * 3 * 3, 2)
        self.body = nn.ModuleDict({"conv": nn.Conv2d(1, 4, 3), "again": nn.Conv2d(4, 4, 3, padding=1)})
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = functional.relu(self.norm(self.body["conv"](x)), inplace=True)
        for _ in range(2):
            x = functional.relu(self.body["again"](x), inplace=True)
        return self.head(self.drop(x).flatten(1))


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 1, 5, 5, generator=generator), torch.zeros(6, 2)


def test_layers_come_in_the_order_in_which_they_run():
    flow = gradient_flow(Convolutional(), *images(), half_square)
    assert [(v.layer, v.name) for v in flow] == [
        (1, "body.conv"),
        (2, "body.again"),
        (3, "body.again"),
        (4, "head"),
    ]
    assert all(v.norm > 0 for v in flow)


def test_an_activation_in_place_changes_nothing():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=False), nn.Linear(4, 2))
    inputs, targets = torch.linspace(-1, 1, 15).reshape(5, 3), torch.ones(5, 2)
    expected = gradient_flow(network, inputs, targets, half_square)
    network[1].inplace = True
    assert gradient_flow(network, inputs, targets, half_square) == expected


def test_the_parts_of_a_layer_are_no_layers():
    class Block(NormalizedLinear):
        def __init__(self):
            super().__init__(3, 3)
            self.inner = nn.Linear(3, 3)

        def forward(self, x):
            return super().forward(self.inner(x))

    flow = gradient_flow(nn.Sequential(Block(), nn.Linear(3, 2)), torch.ones(4, 3), torch.zeros(4, 2), half_square)
    assert [v.name for v in flow] == ["0", "1"]


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training):
    network = Convolutional().train(training)
    network.body["conv"].weight.grad = torch.full_like(network.body["conv"].weight, 3.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    inputs, targets = images()
    with torch.no_grad():
        first = gradient_flow(network, inputs, targets, half_square)
    assert torch.equal(torch.get_rng_state(), random)
    torch.rand(3)
    assert gradient_flow(network, inputs, targets, half_square) == first  # dropout draws the same mask
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert (network.body["conv"].weight.grad == 3).all()
    assert all(p.grad is None for name, p in network.named_parameters() if name != "body.conv.weight")
    assert all(part.training is training for part in network.modules())
    assert not any(part._forward_hooks for part in network.modules())
    assert inputs.grad is None
    assert not inputs.requires_grad


def test_hooks_go_even_if_the_loss_fails():
    def broken(outputs, targets):
        raise KeyError("mine")

    network = nn.Linear(3, 2)
    with pytest.raises(KeyError, match="mine"):
        gradient_flow(network, torch.ones(4, 3), torch.zeros(4, 2), broken)
    assert not network._forward_hooks


def test_frozen_parameters_have_a_signal_all_the_same():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs, targets = torch.ones(5, 3), torch.zeros(5, 2)
    expected = gradient_flow(network, inputs, targets, half_square)
    network.requires_grad_(False)
    assert gradient_flow(network, inputs, targets, half_square) == expected


def test_a_layer_that_the_loss_does_not_see_has_norm_0():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.seen = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.seen(self.cut(x).detach())

    flow = gradient_flow(Detached(), torch.ones(4, 3), torch.zeros(4, 2), half_square)
    assert flow[0].norm == 0 < flow[1].norm


def test_a_signal_whose_square_underflows_is_still_measured():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        network[1].weight.fill_(1e-30)
    flow = gradient_flow(network, torch.ones(1, 1), torch.ones(1, 1), half_square)
    assert flow[0].norm == pytest.approx(1e-30, rel=1e-4)


def test_what_cannot_be_measured_is_refused():
    inputs, targets = torch.ones(4, 3), torch.zeros(4, 2)
    with pytest.raises(NetworkError, match="runs a layer with weights"):
        gradient_flow(nn.Tanh(), inputs, inputs, half_square)
    with pytest.raises(ConfigError, match=r"expected one number, got `shape \(4, 2\)`"):
        gradient_flow(nn.Linear(3, 2), inputs, targets, lambda o, t: o - t)
    with pytest.raises(NotDifferentiableError, match="carries a gradient"):
        gradient_flow(nn.Linear(3, 2), inputs, targets, lambda o, t: (o > 0).float().mean())


def test_backward_gain_of_a_geometric_sequence():
    assert backward_gain([0.5**k for k in range(9, -1, -1)]) == pytest.approx(0.5)
    assert backward_gain([8.0, 4.0, 2.0]) == pytest.approx(2.0)
    assert backward_gain([3.0, 3.0]) == pytest.approx(1.0)
    assert backward_gain([1e-300, 1e-200]) == pytest.approx(1e-100)
    # Least squares through (1, 0), (2, 0), (3, 3): slope 3/2 in log10.
    assert backward_gain([1.0, 1.0, 1000.0]) == pytest.approx(10**-1.5)


def test_backward_gain_of_a_lost_or_broken_signal():
    assert backward_gain([0.0, 1e-20, 1.0]) == 0.0
    assert math.isnan(backward_gain([math.inf, 1.0]))
    assert math.isnan(backward_gain([1.0, math.nan, 0.0]))
    for wrong in ([], [1.0], 3.0):
        with pytest.raises(ConfigError, match="at least 2 layers"):
            backward_gain(wrong)
