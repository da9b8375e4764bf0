"""Weights of training rows that make their weighted loss estimate the loss on test rows, under covariate shift.

Where only the distribution of inputs differs, `E_train[w loss] = E_test[loss]` with `w = p_test(x) / p_train(x)`
(Shimodaira 2000). The ratio is the true one, where a data set knows it, or is estimated from training inputs and
*unlabelled* test inputs. The latter is the transductive setting: the test rows' inputs, never their labels, are known
before training. Scores on these test rows are honest for them; for other rows of the same distribution the inputs
have had a small part in them.

Weighting pays where the model cannot fit everywhere (misspecified): it then fits where the test rows are. A model that
can represent the truth is unbiased without weights, and weights only add variance: as many rows count as the effective
sample size says.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from gfopt import rng
from gfopt.data.dataset import Dataset, Inputs
from gfopt.data.density_ratio import Ratio, fit_classifier, fit_kliep, fit_ulsif, standardized
from gfopt.errors import ConfigError, DataError, expectation, located
from gfopt.options import parse

FEW_EFFECTIVE = 0.05  # share of the rows below which weights get a warning
# A density ratio has mean 1 over the training rows. An estimate far from it found no training rows where test rows are.
MEAN_RANGE = (0.2, 5.0)

_ESTIMATORS: Mapping[str, Callable[[Inputs, Inputs], Ratio]] = {
    "classifier": fit_classifier,
    "kliep": fit_kliep,
    "ulsif": fit_ulsif,
}


class ImportanceWarning(UserWarning):
    """Importance weights leave so few effective rows that the result will vary from sample to sample."""


class ImportanceOptions(BaseModel):
    """Importance weights of a problem's training rows.

    Attributes:
        weights: `none`; `true`, the known density ratio; or one estimated from training inputs and unlabelled test
            inputs by a probabilistic `classifier`, by `kliep` or by `ulsif`.
        flattening: exponent `lambda` in [0, 1] of the ratio: 0 weighs all rows alike, 1 is unbiased, between them
            some bias buys less variance (Shimodaira 2000).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: Literal["none", "true", "classifier", "kliep", "ulsif"] = Field(examples=["ulsif"])
    flattening: float = Field(1.0, ge=0, le=1, strict=True)

    @field_validator("weights", mode="before")
    @classmethod
    def _yaml_reads_true_as_a_truth_value(cls, value: object) -> object:
        return "true" if value is True else value


@dataclass(frozen=True, eq=False)
class ImportanceWeights:
    """Weights with mean 1 over the training rows.

    The loss divides by the sum of the weights, so their scale changes nothing; with mean 1, as a density ratio has it,
    a weight reads as the number of rows that a row counts for.

    Attributes:
        train: `(N,)` weights of the training rows.
        validation: `(V,)` weights of the validation rows, with which their loss estimates the test loss (Sugiyama,
            Krauledat & Müller 2007); `None` where they are not known.
        effective_sample_size: of `train`, in rows.
    """

    train: Inputs = field(repr=False)
    validation: Inputs | None = field(repr=False)
    effective_sample_size: float


def importance_options(given: Mapping[str, object] | ImportanceOptions | None) -> ImportanceOptions | None:
    """The checked form of an `importance:` mapping; `None` for none.

    Raises:
        ConfigError: naming the key, what was expected and what was got.
    """
    if given is None:
        return None
    with located("importance"):
        if isinstance(given, Mapping) and given.get("weights") is True:
            given = {**given, "weights": "true"}
        return parse(ImportanceOptions, given)


def importance_weights(dataset: Dataset, options: ImportanceOptions) -> ImportanceWeights | None:
    """The weights that a problem's loss gets; `None` for `weights: none`.

    Args:
        dataset: training inputs, and test inputs or true ratios.
        options: which weights.

    Warns:
        ImportanceWarning: if less than 5 % of the rows are left in effect.

    Raises:
        ConfigError: for true weights of a data set that does not know them, and estimated ones without test rows.
        DataError: if training and test inputs hardly overlap, so that no weights can make up for it.
    """
    if options.weights == "none":
        return None
    with located("importance"):
        train, validation = _true(dataset) if options.weights == "true" else _estimated(dataset, options.weights)
        _check_overlap(train, options.weights)
        train = train**options.flattening
        scale = train.mean()
        size = effective_sample_size(train)
        if size < FEW_EFFECTIVE * len(train):
            warnings.warn(_few(dataset, size, options), ImportanceWarning, stacklevel=3)
        if validation is not None:
            validation = validation**options.flattening / scale
            validation = validation if validation.any() else None
        return ImportanceWeights(train / scale, validation, size)


def effective_sample_size(weights: Inputs) -> float:
    """`(sum w)^2 / sum w^2`: the number of equally weighted rows whose mean varies as much (Kish 1965).

    Args:
        weights: `(N,)`, not negative, not all 0.
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def _true(dataset: Dataset) -> tuple[Inputs, Inputs | None]:
    if dataset.importance is None:
        fix = "Use weights: classifier, kliep or ulsif; shift: {kind: biased-resampling} and sinc_shift know theirs."
        got = f"`{dataset.name}`, which does not know it, or whose ratio is not finite"
        raise ConfigError("weights: " + expectation("a data set with a true density ratio", got, fix))
    return dataset.importance, dataset.importance_validation


def _estimated(dataset: Dataset, method: str) -> tuple[Inputs, Inputs | None]:
    if len(dataset.x_test) < 2 or len(dataset.x_train) < 2:
        fix = "Load the data with a test_fraction above 0, or with test rows of your own."
        got = f"`{len(dataset.x_train)}` training and {len(dataset.x_test)} test rows"
        raise ConfigError("weights: " + expectation("at least two rows of each kind to compare", got, fix))
    train, validation = _fit(_Sample(dataset.fingerprint(), dataset), method)
    return train, validation if len(validation) else None


@dataclass(frozen=True)
class _Sample:
    """A data set that equals another of the same content."""

    fingerprint: str
    dataset: Dataset = field(compare=False)


# A memory only: runs of one study share their data, and an estimate takes as long as a short run.
@lru_cache(maxsize=8)
def _fit(sample: _Sample, method: str) -> tuple[Inputs, Inputs]:
    data = sample.dataset
    plain = standardized(data.x_train, data.x_test)
    ratio = _ESTIMATORS[method](_shuffled(plain(data.x_train), "train"), _shuffled(plain(data.x_test), "test"))
    validation = plain(data.x_validation)
    return ratio(plain(data.x_train)), ratio(validation) if len(validation) else np.empty(0)


def _shuffled(rows: Inputs, part: str) -> Inputs:
    """Folds and pairs of rows are of neighbours in the order of the rows, which a file may have sorted."""
    return rows[rng.generator("importance", part).permutation(len(rows))]


def _check_overlap(raw: Inputs, method: str) -> None:
    mean = float(raw.mean()) if np.isfinite(raw).all() else np.inf
    estimated = method in _ESTIMATORS
    least, most = MEAN_RANGE
    if mean > 0 and (not estimated or least <= mean <= most) and effective_sample_size(raw) >= 2:
        return
    got = f"`estimated ratios of mean {mean:.2g} over the training rows, where 1 is right`"
    if mean > 0 and (not estimated or least <= mean <= most):
        got = "`weights that are carried by a single row`"
    fix = (
        "No weights make up for rows that are missing: collect or generate training rows there, lower the shift's "
        "severity, or use weights: none."
    )
    raise DataError("weights: " + expectation("training inputs where the test inputs are", got, fix))


def _few(dataset: Dataset, size: float, options: ImportanceOptions) -> str:
    count = len(dataset.x_train)
    return (
        f"importance weights ({options.weights}) on {dataset.name} leave an effective sample of {size:.1f} of {count} "
        f"training rows, below {FEW_EFFECTIVE:.0%}: results will vary from sample to sample. Use a flattening below "
        f"{options.flattening:g}, more training rows, or weights: none where the model can fit both parts."
    )
