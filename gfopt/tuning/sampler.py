"""Where to look next: optuna's samplers behind a small ask/tell, quiet and from a seed of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from gfopt.errors import ConfigError, MissingExtraError, expectation, suggestion
from gfopt.optimizers.space import Choice, Dimension, Integer
from gfopt.rng import undisturbed
from gfopt.tuning.spaces import contains

if TYPE_CHECKING:
    import optuna

Values: TypeAlias = dict[str, Any]

SAMPLERS = ("tpe", "random", "qmc")
STARTUP_TRIALS = 10  # random ones before TPE trusts its model, as optuna's default; at most half of all


def check_sampler(name: object) -> None:
    """Refuse a sampler that is unknown or whose library is missing, before anything starts.

    Raises:
        ConfigError: naming the nearest known one.
        MissingExtraError: naming the extra to install.
    """
    if name not in SAMPLERS:
        wanted = f"one of {', '.join(SAMPLERS)}"
        raise ConfigError("sampler: " + expectation(wanted, name, suggestion(name, SAMPLERS)))
    _optuna()


class Sampler:
    """Proposes values of the tuned options; a minimizer.

    The same name, space, seed and answers give the same proposals.

    Args:
        name: `tpe`, a tree-structured Parzen estimator that learns from what it is told; `random`, independent draws;
            `qmc`, a scrambled Sobol' sequence, which covers the numbers evenly (choices are drawn independently).
        space: option to what it is chosen from, at least one.
        seed: of its random numbers.
        trials: how many there will be.

    References:
        Bergstra, Bardenet, Bengio & Kegl 2011, Algorithms for hyper-parameter optimization; Bergstra & Bengio 2012,
        Random search for hyper-parameter optimization.

    Raises:
        ConfigError, MissingExtraError: as `check_sampler`.
    """

    def __init__(self, name: str, space: Mapping[str, Dimension], seed: int, trials: int) -> None:
        check_sampler(name)
        self.name, self.space = name, dict(space)
        self._optuna = _optuna()
        with self._quiet():
            self._distributions = {option: self._distribution(dim) for option, dim in self.space.items()}
            self._study = self._optuna.create_study(sampler=self._make(seed % 2**32, trials))
        self._asked: optuna.trial.Trial | None = None

    def know(self, values: Values, objective: float) -> None:
        """Learn of a trial that was not asked for; values outside the space teach nothing."""
        known = all(contains(dimension, values[option]) for option, dimension in self.space.items())
        if not known and self.name != "qmc":
            return
        if not known:  # it reads the dimensions off the first trial, and nothing else
            values = {o: d.values[0] if isinstance(d, Choice) else d.low for o, d in self.space.items()}
        params = {option: values[option] for option in self.space}
        with self._quiet():
            self._study.add_trial(
                self._optuna.trial.create_trial(params=params, distributions=dict(self._distributions), value=objective)
            )

    def ask(self) -> Values:
        """Values of all options of the space; a proposal that was not answered is forgotten."""
        with self._quiet():
            if self._asked is not None:
                self._study.tell(self._asked, state=self._optuna.trial.TrialState.FAIL)
            self._asked = self._study.ask(dict(self._distributions))
        return {option: self._asked.params[option] for option in self.space}

    def tell(self, objective: float) -> None:
        """What the last proposal came to: lower is better, `+inf` the worst."""
        assert self._asked is not None, "ask first"
        with self._quiet():
            self._study.tell(self._asked, objective)
        self._asked = None

    def _make(self, seed: int, trials: int) -> Any:
        samplers = self._optuna.samplers
        if self.name == "random":
            return samplers.RandomSampler(seed=seed)
        if self.name == "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=min(STARTUP_TRIALS, max(1, trials // 2)))
        choices = samplers.RandomSampler(seed=seed)
        return samplers.QMCSampler(
            scramble=True, seed=seed, independent_sampler=choices, warn_independent_sampling=False
        )

    def _distribution(self, dimension: Dimension) -> Any:
        distributions = self._optuna.distributions
        if isinstance(dimension, Choice):
            return distributions.CategoricalDistribution(dimension.values)
        if isinstance(dimension, Integer):
            return distributions.IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Optuna says nothing inside: its log level is put back, its warnings are about its own future."""
        level = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            self._optuna.logging.set_verbosity(level)


def _optuna() -> Any:
    """The library.

    Raises:
        MissingExtraError: naming the extra to install.
    """
    try:
        with undisturbed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ModuleNotFoundError as error:
        fix = "Install it with: pip install 'gfopt[tune]'"
        wanted = f"the package {error.name}, which tuning needs"
        raise MissingExtraError(expectation(wanted, "`none`", fix)) from error
    return optuna
