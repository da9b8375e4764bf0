"""How exactly products are computed: by option on a GPU, in full everywhere else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gfopt
from gfopt.config import SupervisedConfig
from gfopt.engine import PopulationEngine, prepare
from gfopt.engine.device import lowered, products, resolve_precision, seeded
from gfopt.errors import ConfigError
from gfopt.nn import ParameterLayout, build_network
from gfopt.study.spec import definition

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def flags():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_names():
    assert [resolve_precision(name, GPU, torch.float32) for name in ("full", "tf32", "bf16")] == [
        "full",
        "tf32",
        "bf16",
    ]
    assert resolve_precision("full", CPU, torch.float64) == "full"
    with pytest.raises(ConfigError, match="precision: expected full, tf32 or bf16, got 'half'"):
        resolve_precision("half", GPU, torch.float32)


@pytest.mark.parametrize(("device", "dtype"), [(CPU, torch.float32), (GPU, torch.float64)], ids=str)
@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_only_float32_on_a_gpu_can_be_less_exact(device, dtype, name):
    with pytest.raises(ConfigError, match=f"precision: expected full for float.. on {device.type}, got '{name}'"):
        resolve_precision(name, device, dtype)


def test_tf32_is_on_inside_where_it_was_asked_for_and_off_elsewhere():
    before = flags()
    for precision, inside in {"full": (False, False), "tf32": (True, True), "bf16": (False, False)}.items():
        with products(GPU, precision):
            assert flags() == inside
        assert flags() == before
        with products(CPU, precision):
            assert flags() == before


def test_only_bf16_changes_types():
    weight, x = torch.randn(3, 5), torch.randn(4, 5)
    kinds = []
    for precision in ("full", "tf32", "bf16"):
        with lowered(CPU, precision):
            kinds.append((x @ weight.mT).dtype)
    assert kinds == [torch.float32, torch.float32, torch.bfloat16]
    assert (x @ weight.mT).dtype == torch.float32


NETWORKS = {
    "mlp": ({"kind": "mlp", "hidden": [16], "norm": "batch"}, (8,)),
    "residual": ({"kind": "residual", "width": 16, "blocks": 2}, (8,)),
    "cnn": ({"kind": "cnn", "channels": [4]}, (1, 8, 8)),
    "lstm": ({"kind": "lstm", "hidden": [8]}, (5, 8)),
}


@pytest.mark.parametrize("strategy", [None, "vmap", "loop"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bf16_gives_about_the_same_losses_and_gradients_in_float32(name, strategy):
    """With torch's autocast of the CPU, which picks the same products as that of a GPU."""
    spec, shape = NETWORKS[name]
    sizes = {"out_features": 3} | ({"in_features": shape[0]} if len(shape) == 1 else {"input_shape": shape})
    module = prepare(build_network({**spec, **sizes}), "batch")
    layout = ParameterLayout.of(module)
    generator = torch.Generator().manual_seed(0)
    population = 0.5 * torch.randn(4, layout.dim, generator=generator)
    inputs = torch.randn(12, *shape, generator=generator)

    def criterion(outputs):
        assert outputs.dtype == torch.float32
        return outputs.square().mean((-2, -1))

    full = PopulationEngine(module, layout, inputs, strategy=strategy).gradients(population, inputs, criterion)
    engine = PopulationEngine(module, layout, inputs, strategy=strategy, precision="bf16")
    assert engine.strategy != "fused"
    losses, slopes = engine.gradients(population, inputs, criterion)
    torch.testing.assert_close(losses, full[0], rtol=0.05, atol=1e-4)
    assert slopes.dtype == torch.float32
    assert (slopes - full[1]).norm() < 0.05 * full[1].norm()
    assert not losses.equal(full[0])


def test_recurrent_layers_take_bf16_and_compute_in_float32():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.ahead, self.lstm = nn.Linear(4, 6), nn.LSTM(6, 3, batch_first=True)

        def forward(self, x):
            states = self.lstm(self.ahead(x))[0]
            assert states.dtype == torch.float32
            return states[:, -1]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = prepare(Reads(), "batch")
    layout = ParameterLayout.of(module)
    population, inputs = layout.flatten(module).expand(3, -1), torch.ones(2, 5, 4)
    full = PopulationEngine(module, layout, inputs).outputs(population, inputs)
    less = PopulationEngine(module, layout, inputs, precision="bf16").outputs(population, inputs)
    torch.testing.assert_close(less, full, rtol=0.02, atol=1e-3)
    assert not less.equal(full)


def test_a_problem_and_a_study_take_it_and_refuse_it_on_a_cpu():
    with pytest.raises(ConfigError, match="precision: expected full for float32 on cpu, got 'tf32'"):
        gfopt.SupervisedProblem({"kind": "mlp", "hidden": [4]}, "iris", device="cpu", precision="tf32")
    flowers = {"dataset": "iris", "network": {"kind": "mlp", "hidden": [4]}, "precision": "bf16"}
    study = gfopt.Study(
        problems={"flowers": flowers}, optimizers={"adam": {"kind": "adam"}}, budget={"evaluations": 9}, device="cpu"
    )
    with pytest.raises(ConfigError, match=r"problems\.flowers.*precision: expected full for float32 on cpu"):
        study.prepare("cpu")


def test_it_is_part_of_what_a_problem_is_and_the_default_leaves_keys_as_they_were():
    def described(**options):
        return definition(SupervisedConfig(dataset="iris", network={"kind": "mlp", "hidden": [4]}, **options))

    assert described() == described(precision="full")
    assert "precision" not in described()
    assert described(precision="tf32")["precision"] == "tf32"


def test_a_seeded_generator_is_put_back():
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded(3, CPU):
            drawn.append(torch.rand(2))
    assert drawn[0].equal(drawn[1])
    assert torch.get_rng_state().equal(before)
