"""Shifts: what moves, by how much, what is known about it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from gfopt.data import Dataset, from_arrays, load_dataset, load_spec
from gfopt.errors import DataError, GfoptError, ShapeError

GROUPED = {"kind": "split-by-group", "group": 1}
SHIFTS = [{"kind": "biased-resampling"}, {"kind": "split-by-feature"}, GROUPED, {"kind": "corruption"}]


def arrays(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Column 0 a quantity, column 1 one of five groups; two classes that depend on neither."""
    generator = np.random.default_rng(0)
    x = np.stack([generator.normal(3, 2, rows), np.arange(rows) % 5], axis=1)
    return x, generator.integers(0, 2, rows)


def shifted(shift: dict[str, object] | None = None, **options: object) -> Dataset:
    return from_arrays(*arrays(), shift=shift, **options)


def same_rows(first: Dataset, second: Dataset) -> bool:
    return all(
        np.array_equal(getattr(first, f"{axis}_{part}"), getattr(second, f"{axis}_{part}"))
        for part in ("train", "validation", "test")
        for axis in "xy"
    )


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift["kind"])
def test_severity_0_is_no_shift_at_all(shift):
    data = shifted({**shift, "severity": 0})
    assert same_rows(data, shifted())
    assert np.array_equal(data.importance, np.ones(len(data.x_train)))
    assert shifted().importance is None


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift["kind"])
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(shift):
    first, again, other = (shifted({**shift, "severity": 0.6}, seed=seed) for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint()
    assert not same_rows(first, other)


@pytest.mark.parametrize("shift", SHIFTS[:2], ids=lambda shift: shift["kind"])
def test_a_higher_severity_moves_the_training_rows_further_below_the_test_rows(shift):
    gaps = []
    for severity in (0, 0.25, 0.5, 0.75, 1):
        data = shifted({**shift, "feature": 0, "severity": severity}, scale=False)
        gaps.append(data.x_test[:, 0].mean() - data.x_train[:, 0].mean())
    assert np.diff(gaps).min() > 0.1
    assert gaps[-1] > 2  # a standard deviation of the feature


def test_validation_rows_come_from_the_training_distribution():
    data = shifted({"kind": "biased-resampling", "severity": 1, "feature": 0}, scale=False, validation_fraction=0.4)
    train, validation, test = (getattr(data, f"x_{part}")[:, 0].mean() for part in ("train", "validation", "test"))
    assert abs(train - validation) < 0.5
    assert validation < test - 1


def test_biased_resampling_keeps_test_rows_and_a_nested_share_of_the_others():
    plain = shifted(scale=False)
    before = plain.x_train[:, 0].tolist()
    for severity in (0.3, 0.6, 1.0):
        data = shifted({"kind": "biased-resampling", "severity": severity, "feature": 0}, scale=False)
        kept = data.x_train[:, 0].tolist()
        assert np.array_equal(data.x_test, plain.x_test)
        assert len(set(kept)) == len(kept) < len(before)
        assert set(kept) < set(before)
        before = kept


def test_biased_resampling_knows_its_ratio():
    """`w = E[b] / b` with `b = exp(-5 severity position)`, known for every training and validation row."""
    data = shifted({"kind": "biased-resampling", "severity": 0.6, "feature": 0}, scale=False)
    column = np.sort(arrays()[0][:, 0])
    for x, ratio in ((data.x_train, data.importance), (data.x_validation, data.importance_validation)):
        place = np.searchsorted(column, x[:, 0]) / (len(column) - 1)
        expected = np.exp(-3 * np.linspace(0, 1, len(column))).mean() / np.exp(-3 * place)
        np.testing.assert_allclose(ratio, expected)


@pytest.mark.parametrize("shift", [{"kind": "biased-resampling"}, {"kind": "split-by-feature"}, GROUPED], ids=str)
def test_the_weighted_mean_over_training_rows_is_the_mean_over_test_rows(shift):
    """CS-2: `E_train[w f] = E_test[f]` within 3 standard errors, for a fixed function of inputs and targets."""
    generator = np.random.default_rng(1)
    x = np.stack([generator.normal(size=20_000), generator.integers(0, 8, 20_000)], axis=1)
    data = from_arrays(x, x[:, 0] ** 2 + x[:, 1], scale=False, test_fraction=0.4, shift={**shift, "severity": 0.4})
    values = {part: np.sin(3 * x[:, 0]) + y for part in ("train", "test") for x, y in [data.split(part)]}
    weighted = data.importance * values["train"]
    error = np.hypot(*(v.std() / np.sqrt(len(v)) for v in (weighted, values["test"])))
    plain = abs(values["train"].mean() - values["test"].mean())
    assert abs(weighted.mean() - values["test"].mean()) < 3 * error < plain / 2
    assert abs(data.importance.mean() - 1) < 0.05


def test_split_by_feature_of_severity_1_is_a_cut_at_the_quantile():
    data = shifted({"kind": "split-by-feature", "severity": 1, "feature": 0}, scale=False)
    assert max(data.x_train[:, 0].max(), data.x_validation[:, 0].max()) < data.x_test[:, 0].min()
    assert data.importance is None
    assert [len(data.x_train), len(data.x_validation), len(data.x_test)] == pytest.approx([420, 60, 120], abs=6)


def test_split_by_group_of_severity_1_shares_no_group():
    data = shifted({**GROUPED, "severity": 1}, scale=False)
    assert set(data.x_test[:, 1]).isdisjoint(set(data.x_train[:, 1]) | set(data.x_validation[:, 1]))
    assert len(data.x_train) + len(data.x_validation) + len(data.x_test) == 600


def test_split_by_group_without_a_column_goes_by_the_class_label():
    shift = {"kind": "split-by-group", "severity": 0.8}
    data = load_dataset("digits", shift=shift)
    share = {
        part: np.bincount(data.split(part)[1], minlength=10) / len(data.split(part)[0]) for part in ("train", "test")
    }
    assert (share["train"] > 0).all()
    assert share["test"].max() > 10 * share["train"].min()
    with pytest.raises(DataError, match=r"shift: expected training rows of every class.*Lower the severity"):
        load_dataset("digits", shift={**shift, "severity": 1})


def test_labels_decide_nothing_but_where_they_are_asked_for():
    x, y = arrays()
    for shift in SHIFTS:
        first = from_arrays(x, np.arange(600.0), scale=False, shift={**shift, "severity": 0.7})
        second = from_arrays(x, y.astype(float), scale=False, shift={**shift, "severity": 0.7})
        assert np.array_equal(first.x_train, second.x_train)
        assert np.array_equal(first.x_test, second.x_test)


def test_the_first_principal_component_is_the_default_direction():
    generator = np.random.default_rng(3)
    hidden = generator.normal(size=400)
    x = np.stack([hidden, 10 * hidden + generator.normal(size=400), generator.normal(size=400)], axis=1)
    data = from_arrays(x, x[:, 0], scale=False, shift={"kind": "split-by-feature", "severity": 1})
    gap = data.x_test.mean(axis=0) - data.x_train.mean(axis=0)
    assert abs(gap[0]) > 1.5
    assert abs(gap[2]) < 0.5


@pytest.mark.parametrize("how", ["noise", "scale", "drop"])
def test_corruption_touches_test_inputs_alone_and_more_with_severity(how):
    plain = load_dataset("wine", scale=False)
    changes = []
    for severity in (0.2, 0.5, 1.0):
        data = load_dataset("wine", scale=False, shift={"kind": "corruption", "corruption": how, "severity": severity})
        assert np.array_equal(data.x_train, plain.x_train)
        assert np.array_equal(data.x_validation, plain.x_validation)
        assert np.array_equal(data.y_test, plain.y_test)
        assert data.importance is None
        changes.append(np.abs((data.x_test - plain.x_test) / plain.x_train.std(axis=0)).mean())
    assert 0 < changes[0] < changes[1] < changes[2]


def test_corruptions_are_what_they_say():
    plain = load_dataset("wine", scale=False)
    mean, deviation = plain.x_train.mean(axis=0), plain.x_train.std(axis=0)

    def test_inputs(how: str, severity: float) -> np.ndarray:
        return load_dataset(
            "wine", scale=False, shift={"kind": "corruption", "corruption": how, "severity": severity}
        ).x_test

    noise = (test_inputs("noise", 0.5) - plain.x_test) / deviation
    assert noise.std() == pytest.approx(0.5, rel=0.1)
    factor = test_inputs("scale", 0.5) / plain.x_test
    np.testing.assert_allclose(factor, np.broadcast_to(factor[0], factor.shape))
    dropped = (test_inputs("drop", 0.5) == mean).all(axis=0)
    assert dropped.sum() == round(0.5 * 13)
    np.testing.assert_allclose(test_inputs("drop", 1.0), np.broadcast_to(mean, plain.x_test.shape))


def test_corruption_takes_test_rows_of_ones_own():
    x, y = arrays()
    own = (x[:50], y[:50])
    data = from_arrays(x, y, test=own, scale=False, shift={"kind": "corruption", "severity": 1})
    assert data.x_test.shape == (50, 2)
    assert not np.array_equal(data.x_test, own[0])


def test_a_study_file_says_it_in_the_dataset_mapping():
    shift = {"kind": "biased-resampling", "severity": 0.5}
    assert same_rows(load_spec({"name": "iris", "shift": shift}), load_dataset("iris", shift=shift))


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        ({"kind": "biased"}, "kind: expected one of"),
        ({}, "kind: expected a value"),
        (3, "expected a mapping"),
        ({"kind": "corruption", "severity": 1.5}, "severity: expected a number of at most 1"),
        ({"kind": "corruption", "severity": True}, "severity: expected"),
        ({"kind": "corruption", "severity": float("nan")}, "severity: expected a finite number"),
        ({"kind": "corruption", "sevrity": 1}, "Did you mean 'severity'"),
        ({"kind": "corruption", "feature": 0}, "feature: expected no such option for corruption.*biased-resampling"),
        ({"kind": "split-by-feature", "feature": 7}, "feature: expected a position from 0 to 1, got 7"),
        ({"kind": "split-by-feature", "feature": "age"}, "feature: expected the name of a column.*position"),
        ({"kind": "split-by-group", "group": 0}, "group: expected a column with at least two groups.*split-by-feature"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_in_words(shift, message):
    with pytest.raises(GfoptError, match=rf"shift.*{message}"):
        shifted(shift)


def test_combinations_that_cannot_be_are_refused():
    x, y = arrays()
    shift = {"kind": "biased-resampling", "severity": 0.5}
    with pytest.raises(DataError, match="choose those for testing, got `no test rows`"):
        from_arrays(x, y, test_fraction=0, shift=shift)
    with pytest.raises(DataError, match=r"rows of the data's own`\. Use kind: corruption"):
        from_arrays(x, y, test=(x, y), shift=shift)
    with pytest.raises(DataError, match="feature: expected one with different values"):
        from_arrays(np.ones((600, 2)), y, shift=shift)
    with pytest.raises(DataError, match="group: expected a column, for rows without one class each"):
        from_arrays(x, x[:, 0], shift={"kind": "split-by-group"})
    with pytest.raises(DataError, match="validation rows after biased-resampling of severity 1, got `none`"):
        from_arrays(x[:12], np.arange(12.0), shift={**shift, "severity": 1, "feature": 0})
    with pytest.raises(DataError, match="without an order in time"):
        load_dataset("sunspots", shift=shift)


class TestSincShift:
    def test_its_rows_follow_the_two_distributions(self):
        data = load_dataset("sinc_shift", samples=20_000, test_samples=20_000, scale=False)
        assert (data.x_train.mean(), data.x_train.std()) == pytest.approx((1, 0.5), abs=0.02)
        assert (data.x_test.mean(), data.x_test.std()) == pytest.approx((2, 0.25), abs=0.02)
        assert data.importance.mean() == pytest.approx(1, abs=0.1)
        assert (data.importance * data.x_train[:, 0]).mean() == pytest.approx(2, abs=0.15)

    @pytest.mark.parametrize(
        ("truth", "curve"), [("sinc", np.sinc), ("cubic", lambda x: x**3 - x), ("linear", lambda x: 1 - x / 2)]
    )
    def test_the_truth_and_the_noise(self, truth, curve):
        data = load_dataset("sinc_shift", truth=truth, test_noise=0, samples=2000, scale=False)
        np.testing.assert_allclose(data.y_test, curve(data.x_test[:, 0]))
        assert (data.y_train - curve(data.x_train[:, 0])).std() == pytest.approx(0.1, rel=0.1)

    def test_another_draw_is_another_sample_and_the_size_of_a_part_changes_that_part_alone(self):
        first, more, other = (load_dataset("sinc_shift", **o) for o in ({}, {"test_samples": 50}, {"draw": 1}))
        assert np.array_equal(first.x_train, more.x_train)
        assert (len(first.x_test), len(more.x_test)) == (500, 50)
        assert not np.array_equal(first.x_train, other.x_train)
        assert load_dataset("sinc_shift", test_fraction=0).splits == ("validation",)

    def test_only_its_test_inputs_can_be_shifted_again(self):
        with pytest.raises(DataError, match="sinc_shift: shift: "):
            load_dataset("sinc_shift", shift={"kind": "biased-resampling", "severity": 0.5})
        assert load_dataset("sinc_shift", shift={"kind": "corruption", "severity": 0.5}).importance is None
        kept = load_dataset("sinc_shift", shift={"kind": "corruption", "severity": 0}).importance
        assert np.array_equal(kept, load_dataset("sinc_shift").importance)


def test_ratios_of_a_data_set_are_checked_and_part_of_its_identity():
    data = load_dataset("sinc_shift")
    fields = {name: getattr(data, name) for name in data.__dataclass_fields__}
    assert Dataset(**{**fields, "importance": None}).fingerprint() != data.fingerprint()
    assert not data.importance.flags.writeable
    with pytest.raises(ShapeError, match=r"importance: expected shape \(135,\)"):
        Dataset(**{**fields, "importance": np.ones(3)})
    with pytest.raises(DataError, match="importance: expected finite ratios"):
        Dataset(**{**fields, "importance": -np.ones(135)})
