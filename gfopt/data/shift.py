"""Covariate shift on purpose: training rows from another distribution of inputs than the test rows.

The test rows stand for the target distribution. Validation rows are drawn as the training rows are, because that is
all that somebody has who does not know the target distribution's labels; weighted by importance they estimate the
test loss (Sugiyama, Krauledat & Müller 2007). Which rows go where depends on the seed and the inputs; labels are
looked at only by `split-by-group` without a column, and to refuse a shift that leaves a class without training rows.

References:
    Shimodaira 2000, Improving predictive inference under covariate shift, J. Statistical Planning and Inference 90.
    Sugiyama, Krauledat & Müller 2007, Covariate shift adaptation by importance weighted cross validation, JMLR 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.stats import rankdata

from gfopt import rng
from gfopt.data.dataset import Inputs
from gfopt.data.source import RawData
from gfopt.data.splits import Split
from gfopt.errors import ConfigError, DataError, expectation, located, suggestion
from gfopt.options import parse

# Biased resampling keeps the row with the highest feature value exp(-5 severity) times as often as that with the
# lowest: at severity 1 a fifth of the rows stays, and the weights of the others are worth a sixth of their number.
STEEPNESS = 5.0

Column = Annotated[int, Field(strict=True)] | str
Ratio = NDArray[np.float64]


class ShiftOptions(BaseModel):
    """How the training rows differ from the test rows; severity 0 is no shift at all.

    Attributes:
        kind: `biased-resampling` keeps training and validation rows with a known probability that falls with a
            feature, down to `exp(-5 severity)`; `split-by-feature` trains below and tests above the quantile
            `1 - test_fraction` of a feature; `split-by-group` tests on other groups than it trains on;
            `corruption` spoils the inputs of the test rows.
        severity: from 0 to 1. Of the two splits, the share of rows that are placed by the rule and not at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["biased-resampling", "split-by-feature", "split-by-group", "corruption"] = Field(
        examples=["biased-resampling"]
    )
    severity: float = Field(0.5, ge=0, le=1, strict=True, description="from 0, no shift at all, to 1")
    feature: Column | None = Field(
        None, description="column to shift along, by name or position; null: the first principal component"
    )
    group: Column | None = Field(None, description="column of the groups; null: the class label")
    corruption: Literal["noise", "scale", "drop"] = Field(
        "noise",
        description="normal noise of `severity` standard deviations, every feature times its own factor "
        "exp(severity N(0, 1)), or a share `severity` of the features replaced by their training means",
    )

    @model_validator(mode="after")
    def _options_of_the_kind(self) -> ShiftOptions:
        for option, kinds in _KINDS_OF.items():
            if option in self.model_fields_set and self.kind not in kinds:
                fix = f"It belongs to {' and '.join(kinds)}."
                raise ValueError(f"{option}: " + expectation(f"no such option for {self.kind}", option, fix))
        return self


_KINDS_OF = {
    "feature": ("biased-resampling", "split-by-feature"),
    "group": ("split-by-group",),
    "corruption": ("corruption",),
}


def shift_options(given: Mapping[str, object] | ShiftOptions | None) -> ShiftOptions | None:
    """The checked form of a `shift:` mapping; `None` for none.

    Raises:
        ConfigError: naming the key, what was expected and what was got.
    """
    if given is None:
        return None
    with located("shift"):
        return parse(ShiftOptions, given)


def shift_rows(
    raw: RawData, rows: Split, how: ShiftOptions, seed: int, *, own_parts: bool = False
) -> tuple[Split, Ratio | None]:
    """The split after the shift, and the true density ratio of every row.

    Args:
        raw: all rows.
        rows: the split without shift.
        how: the shift.
        seed: of the random choices.
        own_parts: whether there are test or validation rows beside `raw`.

    Returns:
        The new split, and `(N,)` ratios of the density of inputs among test rows to that among training rows, up
        to a constant; `None` where it is not known, or not finite.

    Raises:
        ConfigError: for a column that is not there.
        DataError: for rows or columns that cannot be shifted so, or a part or class that is left without rows.
    """
    with located("shift"):
        if how.severity == 0:
            return rows, np.ones(len(raw.x)) if raw.importance is None else raw.importance
        if how.kind == "corruption":
            return rows, None
        _check_splittable(raw, rows, how, own_parts)
        # The same numbers at every severity, so that a row that moved at one has moved at every higher one.
        draws = rng.generator(int(seed), "shift", how.kind).random(len(raw.x))
        if how.kind == "biased-resampling":
            found = _biased(rows, position(raw, how.feature), how.severity, draws)
        else:
            above = _highest(raw, rows, how) if how.kind == "split-by-feature" else _some_groups(raw, rows, how, seed)
            found = _split_by(rows, above, how.severity, draws)
        _check_left(raw, rows, found[0], how)
        return found


def corrupt(test: Inputs, train: Inputs, how: ShiftOptions, seed: int) -> Inputs:
    """Test inputs `(M, ...)` in original units, spoiled; as they are for another kind and for severity 0.

    Args:
        test: `(M, ...)` inputs.
        train: `(N, ...)` training inputs, which say what a feature's mean and standard deviation are.
        how: the shift.
        seed: of the random choices.
    """
    if how.kind != "corruption" or how.severity == 0:
        return test
    generator = rng.generator(int(seed), "shift", how.corruption)
    if how.corruption == "noise":
        noise: Inputs = train.std(axis=0) * generator.standard_normal(test.shape)
        return test + how.severity * noise
    if how.corruption == "scale":
        return test * np.exp(how.severity * generator.standard_normal(test.shape[1:]))
    size = int(np.prod(test.shape[1:]))
    dropped = np.zeros(size, dtype=bool)
    dropped[generator.permutation(size)[: round(how.severity * size)]] = True
    return np.where(dropped.reshape(test.shape[1:]), train.mean(axis=0), test)


def position(raw: RawData, feature: int | str | None) -> Ratio:
    """`(N,)` relative ranks in [0, 1] of the rows along a feature, equal for equal values.

    Args:
        raw: all rows.
        feature: a column by name or position in the flattened row; `None`: the first principal component of the
            standardized inputs, its largest loading positive.
    """
    flat = raw.x.reshape(len(raw.x), -1)
    values = _principal_component(flat) if feature is None else flat[:, _column(raw, feature, "feature")]
    if (values == values[0]).all():
        raise DataError(f"feature: expected one with different values, got {values[0]:g} in every row")
    ranks: Ratio = (rankdata(values, method="average") - 1) / (len(values) - 1)
    return ranks


def _biased(rows: Split, position: Ratio, severity: float, draws: Ratio) -> tuple[Split, Ratio | None]:
    """Training and validation rows kept with probability `b = exp(-5 severity position)`.

    What is kept has the density `p_tr = b p / E[b]`, so `p_te / p_tr = E[b] / b` is known exactly. Keeping, and not
    drawing with replacement, leaves no row twice, above all not in two parts.
    """
    probability = np.exp(-STEEPNESS * severity * position)
    kept = draws < probability
    shifted = Split(rows.train[kept[rows.train]], rows.validation[kept[rows.validation]], rows.test)
    return shifted, probability.mean() / probability


def _split_by(rows: Split, above: NDArray[np.bool_], severity: float, draws: Ratio) -> tuple[Split, Ratio | None]:
    """A share `severity` of all rows is placed by `above` (true: test), the others stay where the split has them.

    A row above is a test row with probability `s + (1 - s) f` and one below with `(1 - s) f`, with `f` the share of
    test rows without shift; Bayes' rule gives the density ratio.
    """
    order = np.concatenate([rows.train, rows.validation, rows.test])
    part = np.repeat([0, 1, 2], [len(rows.train), len(rows.validation), len(rows.test)])
    share = len(rows.test) / len(order)
    placed, above_here = draws[order] < severity, above[order]
    part[placed & above_here] = 2
    back = np.flatnonzero(placed & ~above_here & (part == 2))
    held = round(len(back) * len(rows.validation) / (len(rows.validation) + len(rows.train)))
    part[back] = 0
    part[back[:held]] = 1
    train, validation, test = (order[part == one] for one in range(3))
    if severity == 1:
        return Split(train, validation, test), None
    to_test = np.where(above, severity + (1 - severity) * share, (1 - severity) * share)
    odds = to_test / (1 - to_test)
    return Split(train, validation, test), odds * (1 - to_test.mean()) / to_test.mean()


def _highest(raw: RawData, rows: Split, how: ShiftOptions) -> NDArray[np.bool_]:
    """Which rows have the highest values of the feature, as many as there are test rows; equal values together."""
    along = position(raw, how.feature)
    above: NDArray[np.bool_] = along >= np.sort(along)[len(along) - len(rows.test)]
    if above.all():
        raise DataError("feature: expected values below the quantile to train on, got none. Choose another feature.")
    return above


def _some_groups(raw: RawData, rows: Split, how: ShiftOptions, seed: int) -> NDArray[np.bool_]:
    """Which rows belong to groups for testing: groups in random order until they have as many rows as the test part."""
    if how.group is None:
        if raw.task != "classification" or raw.y.ndim != 1:
            fix = "Name a column, as group: 0, or use split-by-feature."
            raise DataError("group: " + expectation("a column, for rows without one class each", how.group, fix))
        values: np.ndarray = raw.y
    else:
        values = raw.x.reshape(len(raw.x), -1)[:, _column(raw, how.group, "group")]
    names, group = np.unique(values, return_inverse=True)
    if not 2 <= len(names) <= len(values) / 2:
        fix = "Choose a column of few values, or split-by-feature for a quantity."
        wanted = "a column with at least two groups, of two rows and more on average"
        raise DataError("group: " + expectation(wanted, f"`{len(names)}` different values in {len(values)} rows", fix))
    order = rng.generator(int(seed), "shift", "groups").permutation(len(names))
    sizes = np.bincount(group)[order]
    # Those before have too few rows; the last group is always left to train on.
    chosen = order[: min(int(np.searchsorted(sizes.cumsum(), len(rows.test))) + 1, len(names) - 1)]
    return np.isin(group, chosen)


def _principal_component(flat: Inputs) -> Ratio:
    scale = flat.std(axis=0)
    standard = (flat - flat.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    _, _, loadings = np.linalg.svd(standard, full_matrices=False)
    first = loadings[0]
    projected: Ratio = standard @ (first * np.sign(first[np.abs(first).argmax()]))
    return projected


def _column(raw: RawData, column: int | str, place: str) -> int:
    count = int(np.prod(raw.x.shape[1:]))
    if isinstance(column, str):
        if column not in raw.feature_names:
            fix = suggestion(column, raw.feature_names) or f"Give its position, 0 to {count - 1}."
            raise ConfigError(f"{place}: " + expectation("the name of a column", column, fix))
        return raw.feature_names.index(column)
    if not 0 <= column < count:
        raise ConfigError(f"{place}: " + expectation(f"a position from 0 to {count - 1}", column))
    return column


def _check_splittable(raw: RawData, rows: Split, how: ShiftOptions, own_parts: bool) -> None:
    if raw.gap is not None:
        fix = "Use kind: corruption."
        raise DataError(expectation("rows without an order in time", f"{how.kind} of a time series", fix))
    if own_parts or len(rows.test) == 0:
        got, fix = "`no test rows`", "Set test_fraction above 0."
        if own_parts:
            got, fix = "`test or validation rows of the data's own`", "Use kind: corruption, or give all rows as one."
        raise DataError(expectation(f"rows of which {how.kind} can choose those for testing", got, fix))


def _check_left(raw: RawData, before: Split, after: Split, how: ShiftOptions) -> None:
    fix = "Lower the severity, add rows, or shift along another column."
    for part in ("train", "validation", "test"):
        if len(getattr(before, part)) and not len(getattr(after, part)):
            raise DataError(expectation(f"{part} rows after {how.kind} of severity {how.severity:g}", "`none`", fix))
    if raw.task != "classification" or raw.y.ndim != 1:
        return
    missing = np.setdiff1d(raw.y, raw.y[after.train])
    if len(missing):
        label = raw.classes[int(missing[0])]
        got = f"`none of class {label!r}` after {how.kind} of severity {how.severity:g}"
        raise DataError(expectation("training rows of every class", got, fix))
