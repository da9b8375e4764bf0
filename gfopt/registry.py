"""Names of what can be put into a study, each with the place of its class; nothing is imported before it is asked for.

To add one: write its file and add one line here. Other packages add theirs through entry points of the same group.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from gfopt.errors import ConfigError, GfoptError, MissingExtraError, expectation, suggestion


class Registry:
    """A lazy table from name to object.

    What another package adds is imported when its name is used, and only then can it fail: with a `ConfigError` that
    names the package. A name that two packages claim is nobody's until one of them is uninstalled.

    Args:
        kind: what the names stand for, used in messages, as `optimizer`.
        table: name to `package.module:attribute`, with the extra of gfopt that it needs behind it, as
            `gfopt.optimizers.cma_es:CMAES [cma]`.
        base: class that other packages' objects must have, as `package.module:attribute`.
        form: whether they are a `subclass` of it, an `instance`, or `either`.
        plural: the group of other packages' entry points is `gfopt.<plural>`; by default the kind and an s.
    """

    def __init__(
        self,
        kind: str,
        table: Mapping[str, str],
        *,
        base: str,
        form: Literal["subclass", "instance", "either"],
        plural: str = "",
    ) -> None:
        self.kind = kind
        self.group = f"gfopt.{plural or kind + 's'}"
        self._base, self._form = EntryPoint(kind, base, self.group), form
        self._own = {name: EntryPoint(name, value, self.group) for name, value in table.items()}

    @cached_property
    def _foreign(self) -> dict[str, list[EntryPoint]]:
        """Other packages' names, each with all that claim it."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def names(self) -> tuple[str, ...]:
        """All names: the package's own in the order of its table, then other packages'."""
        return (*self._own, *sorted(set(self._foreign) - set(self._own)))

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
            ConfigError: if it is unknown or claimed twice, or another package's that cannot be imported or is
                something else.
            MissingExtraError: if a library that it needs is not installed, with what to install.
        """
        point = self._point(name)
        return self._load_own(point) if name in self._own else self._load_foreign(point)

    def loadable(self) -> tuple[str, ...]:
        """Names whose objects can be had here; imports all of them."""
        return tuple(name for name in self.names() if not self.failure(name))

    def failure(self, name: str) -> str:
        """Why `get(name)` would raise, empty where it would not; imports its module."""
        try:
            self.get(name)
        except GfoptError as error:
            return str(error)
        return ""

    def source(self, name: str) -> str:
        """The package that `name` comes from, as `gfopt`; several, with commas between, if they all claim it."""
        return ", ".join(map(_package, self._claims(name)))

    def extra(self, name: str) -> str:
        """The extra of gfopt that `name` needs, as `cma`; empty if it needs none."""
        self.check(name)
        extras = self._own[name].extras if name in self._own else ()
        return extras[0] if extras else ""

    def _load_own(self, point: EntryPoint) -> Any:
        try:
            return point.load()
        except ModuleNotFoundError as error:
            extra = self.extra(point.name)
            if not extra:
                raise
            fix = f"Install it with: pip install 'gfopt[{extra}]'"
            wanted = f"the package {error.name}, which the {self.kind} {point.name} needs"
            raise MissingExtraError(expectation(wanted, "`none`", fix)) from error

    def _load_foreign(self, point: EntryPoint) -> Any:
        wanted = f"the {self.kind} {point.name!r} at {point.value} of {_package(point)}"
        try:
            found = point.load()
        except Exception as error:
            raise ConfigError(expectation(wanted, f"`{type(error).__name__}: {error}`")) from error
        base = self._base.load()
        is_subclass = isinstance(found, type) and issubclass(found, base) if self._form != "instance" else False
        is_instance = isinstance(found, base) if self._form != "subclass" else False
        if not (is_subclass or is_instance):
            form = {"subclass": "a subclass", "instance": "an instance", "either": "a subclass or an instance"}
            raise ConfigError(expectation(f"{wanted} to be {form[self._form]} of {self._base.value}", found))
        return found

    def _claims(self, name: str) -> list[EntryPoint]:
        """All entry points of that name, the package's own first."""
        self.check(name)
        own = [self._own[name]] if name in self._own else []
        return own + self._foreign.get(name, [])

    def _point(self, name: str) -> EntryPoint:
        first, *others = self._claims(name)
        if others:
            clash = f"{others[0].value} of {_package(others[0])} clashes with {first.value} of {_package(first)}"
            raise ConfigError(f"the {self.kind} {name!r} is defined twice: {clash}. Uninstall one of them.")
        return first


def _package(point: EntryPoint) -> str:
    return "gfopt" if point.dist is None else point.dist.name


optimizers = Registry(
    "optimizer",
    {
        "sgd": "gfopt.optimizers.backprop:SGD",
        "rmsprop": "gfopt.optimizers.backprop:RMSprop",
        "adagrad": "gfopt.optimizers.backprop:Adagrad",
        "adadelta": "gfopt.optimizers.backprop:Adadelta",
        "rprop": "gfopt.optimizers.backprop:Rprop",
        "adam": "gfopt.optimizers.adam:Adam",
        "adamw": "gfopt.optimizers.adam:AdamW",
        "nadam": "gfopt.optimizers.adam:NAdam",
        "radam": "gfopt.optimizers.adam:RAdam",
        "lbfgs": "gfopt.optimizers.lbfgs:LBFGS",
        "memetic": "gfopt.optimizers.memetic:Memetic",
        "deap-ga": "gfopt.optimizers.deap_ga:GeneticAlgorithm",
        "deap-mu-plus-lambda": "gfopt.optimizers.deap_mu_lambda:MuPlusLambda",
        "deap-mu-comma-lambda": "gfopt.optimizers.deap_mu_lambda:MuCommaLambda",
        "deap-islands": "gfopt.optimizers.deap_islands:Islands",
        "pyswarms-gbest": "gfopt.optimizers.pyswarms_pso:GlobalBest",
        "pyswarms-lbest": "gfopt.optimizers.pyswarms_pso:LocalBest",
        "pyswarms-von-neumann": "gfopt.optimizers.pyswarms_topologies:VonNeumann",
        "pyswarms-random": "gfopt.optimizers.pyswarms_topologies:RandomNeighbours",
        "pyswarms-pyramid": "gfopt.optimizers.pyswarms_topologies:Pyramid",
        "pyswarms-binary": "gfopt.optimizers.pyswarms_binary:BinarySwarm",
        "pso": "gfopt.optimizers.pso:ParticleSwarm",
        "ga": "gfopt.optimizers.ga:GeneticAlgorithm",
        "openai-es": "gfopt.optimizers.openai_es:OpenAIES",
        "snes": "gfopt.optimizers.snes:SNES",
        "xnes": "gfopt.optimizers.xnes:XNES",
        "pgpe": "gfopt.optimizers.pgpe:PGPE",
        "cem": "gfopt.optimizers.cem:CEM",
        "ars": "gfopt.optimizers.ars:ARS",
        "spsa": "gfopt.optimizers.spsa:SPSA",
        "1+1-es": "gfopt.optimizers.one_plus_one_es:OnePlusOneES",
        "simulated-annealing": "gfopt.optimizers.simulated_annealing:SimulatedAnnealing",
        "leea": "gfopt.optimizers.leea:LEEA",
        "deap-cma": "gfopt.optimizers.deap_cma:CMA",
        "deap-cma-1+lambda": "gfopt.optimizers.deap_cma:OnePlusLambda",
        "deap-de": "gfopt.optimizers.deap_de:DifferentialEvolution",
        "deap-es": "gfopt.optimizers.deap_es:EvolutionStrategy",
        "cma": "gfopt.optimizers.cma_es:CMAES [cma]",
        "sep-cma": "gfopt.optimizers.sep_cma:Separable [cma]",
        "nevergrad": "gfopt.optimizers.nevergrad_optimizers:Nevergrad [nevergrad]",
        "random-search": "gfopt.optimizers.random_search:RandomSearch",
        "best-of-n": "gfopt.optimizers.best_of_n:BestOfN",
        "initial": "gfopt.optimizers.initial:Initial",
        "chain": "gfopt.optimizers.chain:Chain",
    },
    base="gfopt.optimizers.base:Optimizer",
    form="subclass",
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
    base="gfopt.nn.build:NetworkKind",
    form="instance",  # of a protocol, which a class has too
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
    base="gfopt.nn.normalization.base:Normalization",
    form="subclass",
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
    base="gfopt.data.source:Source",
    form="instance",
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
    base="gfopt.problems.loss_base:Loss",
    form="either",
    plural="losses",
)

functions = Registry(
    "function",
    {
        "sphere": "gfopt.problems.functions:sphere",
        "rosenbrock": "gfopt.problems.functions:rosenbrock",
        "rastrigin": "gfopt.problems.functions:rastrigin",
        "ackley": "gfopt.problems.functions:ackley",
    },
    base="gfopt.problems.benchmark_functions:TestFunction",
    form="instance",
)
