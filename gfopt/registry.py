"""Names of what can be put into a study, each with the place of its class; nothing is imported before it is asked for.

To add one: write its file and add one line here. Other packages add theirs through entry points of the same group.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from gfopt.errors import ConfigError, MissingExtraError, expectation, suggestion


class Registry:
    """A lazy table from name to object.

    Args:
        kind: what the names stand for, used in messages, as `optimizer`; other packages' entry points are of the
            group `gfopt.<kind>s`.
        table: name to `package.module:attribute`, with the extra of gfopt that it needs behind it, as
            `gfopt.optimizers.cma_es:CMAES [cma]`.
    """

    def __init__(self, kind: str, table: dict[str, str]) -> None:
        self.kind = kind
        self._group = f"gfopt.{kind}s"
        self._own = {name: EntryPoint(name, value, self._group) for name, value in table.items()}

    @cached_property
    def _foreign(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self._group):
            if point.name in self._own or point.name in found:
                other = (self._own | found)[point.name]
                raise ConfigError(
                    f"the {self.kind} {point.name!r} is defined twice: {point.value} of {_package(point)} clashes "
                    f"with {other.value} of {_package(other)}. Uninstall one of them."
                )
            found[point.name] = point
        return found

    def names(self) -> tuple[str, ...]:
        """All names: the package's own in the order of its table, then other packages'."""
        return (*self._own, *sorted(self._foreign))

    def check(self, name: object) -> str:
        """`name` itself if it is known.

        Raises:
            ConfigError: naming the nearest known one.
        """
        if not isinstance(name, str) or name not in self.names():
            raise ConfigError(expectation(f"a known {self.kind}", name, suggestion(name, self.names())))
        return name

    def get(self, name: str) -> Any:
        """The object behind `name`; imports its module.

        Raises:
            ConfigError: if it is unknown, or another package's that has no such object.
            MissingExtraError: if a library that it needs is not installed, with what to install.
        """
        point = self._point(name)
        try:
            return point.load()
        except ModuleNotFoundError as error:
            if not self.extra(name):
                raise
            fix = f"Install it with: pip install 'gfopt[{self.extra(name)}]'"
            wanted = f"the package {error.name}, which the {self.kind} {name} needs"
            raise MissingExtraError(expectation(wanted, "`none`", fix)) from error
        except AttributeError as error:
            if name in self._own:
                raise
            got = f"`{point.value} of {_package(point)}: {error}`"
            raise ConfigError(expectation(f"an entry point to the {self.kind} {name!r}", got)) from error

    def source(self, name: str) -> str:
        """The package that `name` comes from, as `gfopt`."""
        return _package(self._point(name))

    def extra(self, name: str) -> str:
        """The extra of gfopt that `name` needs, as `cma`; empty if it needs none."""
        extras = self._point(name).extras
        return extras[0] if extras and name in self._own else ""

    def _point(self, name: str) -> EntryPoint:
        self.check(name)
        return self._own[name] if name in self._own else self._foreign[name]


def _package(point: EntryPoint) -> str:
    return "gfopt" if point.dist is None else point.dist.name


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
