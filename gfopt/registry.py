"""Names of what can be put into a study, each with the place of its class; nothing is imported before it is asked for.

To add one: write its file and add one line here. Other packages add theirs through entry points of the same group.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from gfopt.errors import ConfigError, expectation, suggestion


class Registry:
    """A lazy table from name to object.

    Args:
        kind: what the names stand for, used in messages, as `optimizer`.
        table: name to `package.module:attribute`.
    """

    def __init__(self, kind: str, table: dict[str, str]) -> None:
        self.kind = kind
        self._table = table

    @cached_property
    def _foreign(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=f"gfopt.{self.kind}s"):
            if point.name in self._table or point.name in found:
                raise ConfigError(f"the {self.kind} {point.name!r} is defined twice: {point.value} clashes")
            found[point.name] = point
        return found

    def names(self) -> tuple[str, ...]:
        """All names: the package's own in the order of its table, then other packages'."""
        return (*self._table, *sorted(self._foreign))

    def check(self, name: object) -> str:
        """`name` itself if it is known.

        Raises:
            ConfigError: naming the nearest known one.
        """
        if not isinstance(name, str) or name not in self.names():
            raise ConfigError(expectation(f"a known {self.kind}", name, suggestion(name, self.names())))
        return name

    def get(self, name: str) -> Any:
        """The object behind `name`; imports its module."""
        self.check(name)
        if name in self._foreign:
            return self._foreign[name].load()
        module, _, attribute = self._table[name].partition(":")
        return getattr(importlib.import_module(module), attribute)


optimizers = Registry(
    "optimizer",
    {
        "sgd": "gfopt.optimizers.backprop:SGD",
        "rmsprop": "gfopt.optimizers.backprop:RMSprop",
        "adam": "gfopt.optimizers.backprop:Adam",
        "adamw": "gfopt.optimizers.backprop:AdamW",
        "deap-ga": "gfopt.optimizers.deap_ga:GeneticAlgorithm",
        "pyswarms-gbest": "gfopt.optimizers.pyswarms_pso:GlobalBest",
        "pyswarms-lbest": "gfopt.optimizers.pyswarms_pso:LocalBest",
        "pso": "gfopt.optimizers.pso:ParticleSwarm",
        "ga": "gfopt.optimizers.ga:GeneticAlgorithm",
        "openai-es": "gfopt.optimizers.openai_es:OpenAIES",
        "snes": "gfopt.optimizers.snes:SNES",
        "random-search": "gfopt.optimizers.random_search:RandomSearch",
    },
)

networks = Registry(
    "network",
    {
        "mlp": "gfopt.nn.mlp:MLP",
        "residual": "gfopt.nn.residual:ResidualMLP",
        "cnn": "gfopt.nn.cnn:CNN",
        "residual_cnn": "gfopt.nn.residual_cnn:ResidualCNN",
        "rnn": "gfopt.nn.recurrent:RNN",
        "lstm": "gfopt.nn.recurrent:LSTM",
        "gru": "gfopt.nn.recurrent:GRU",
    },
)

norms = Registry(
    "norm",
    {
        "none": "gfopt.nn.normalization.base:Identity",
        "batch": "gfopt.nn.normalization.batch:BatchNorm",
        "layer": "gfopt.nn.normalization.per_sample:LayerNorm",
        "weight": "gfopt.nn.normalization.weights:WeightNorm",
        "cosine": "gfopt.nn.normalization.weights:CosineNorm",
        "pearson": "gfopt.nn.normalization.weights:PearsonNorm",
        "rms": "gfopt.nn.normalization.per_sample:RMSNorm",
        "group": "gfopt.nn.normalization.per_sample:GroupNorm",
        "instance": "gfopt.nn.normalization.per_sample:InstanceNorm",
        "mean": "gfopt.nn.normalization.batch:MeanOnlyBatchNorm",
        "weight_mean": "gfopt.nn.normalization.batch:WeightMeanNorm",
        "weight_standardization": "gfopt.nn.normalization.weights:WeightStandardization",
        "centred_weight": "gfopt.nn.normalization.weights:CentredWeightNorm",
        "spectral": "gfopt.nn.normalization.weights:SpectralNorm",
        "whitening": "gfopt.nn.normalization.whitening:Whitening",
        "iternorm": "gfopt.nn.normalization.whitening:IterNorm",
        "ghost": "gfopt.nn.normalization.batch:GhostBatchNorm",
        "batch_renorm": "gfopt.nn.normalization.batch:BatchRenorm",
        "filter_response": "gfopt.nn.normalization.per_sample:FilterResponseNorm",
    },
)

datasets = Registry(
    "dataset",
    {
        "iris": "gfopt.data.tables:iris",
        "wine": "gfopt.data.tables:wine",
        "breast_cancer": "gfopt.data.tables:breast_cancer",
        "digits": "gfopt.data.tables:digits",
        "diabetes": "gfopt.data.tables:diabetes",
        "moons": "gfopt.data.generated:moons",
        "spirals": "gfopt.data.generated:spirals",
        "xor": "gfopt.data.generated:xor",
        "parity": "gfopt.data.generated:parity",
        "sine": "gfopt.data.generated:sine",
        "sinc_shift": "gfopt.data.sinc_shift:sinc_shift",
        "adding": "gfopt.data.sequences:adding",
        "latch": "gfopt.data.sequences:latch",
        "parity_sequence": "gfopt.data.sequences:parity_sequence",
        "copy_memory": "gfopt.data.sequences:copy_memory",
        "mackey_glass": "gfopt.data.timeseries:mackey_glass",
        "sunspots": "gfopt.data.timeseries:sunspots",
        "sequential_digits": "gfopt.data.pictures:sequential_digits",
        "digits_images": "gfopt.data.pictures:digits_images",
        "mnist_sample": "gfopt.data.pictures:mnist_sample",
        "idx": "gfopt.data.idx:idx",
        "fashion_mnist": "gfopt.data.idx:fashion_mnist",
        "openml": "gfopt.data.openml:openml",
    },
)

losses = Registry(
    "loss",
    {
        "cross_entropy": "gfopt.problems.losses:CrossEntropy",
        "binary_cross_entropy": "gfopt.problems.losses:BinaryCrossEntropy",
        "mse": "gfopt.problems.losses:MeanSquaredError",
        "classification_error": "gfopt.problems.losses:ClassificationError",
        "f1_error": "gfopt.problems.losses:F1Error",
        "auc_error": "gfopt.problems.losses:AUCError",
        "cost_matrix": "gfopt.problems.losses:CostMatrix",
    },
)

functions = Registry(
    "function",
    {
        "sphere": "gfopt.problems.functions:sphere",
        "rosenbrock": "gfopt.problems.functions:rosenbrock",
        "rastrigin": "gfopt.problems.functions:rastrigin",
        "ackley": "gfopt.problems.functions:ackley",
    },
)
