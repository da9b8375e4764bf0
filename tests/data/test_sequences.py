from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt import registry
from gfopt.data import RawData, load_dataset
from gfopt.data.sequences import SequenceOptions
from gfopt.errors import ConfigError

NAMES = ("adding", "latch", "parity_sequence", "copy_memory")
seeds = st.integers(0, 2**40)


def raw(name: str, seed: int = 0, **options: object) -> RawData:
    source = registry.datasets.get(name)
    return source.load(source.options_class(**options), seed)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(2, 41))
def test_the_target_of_adding_is_the_sum_of_the_marked_values(seed, length):
    data = raw("adding", seed, samples=20, length=length)
    assert data.x.shape == (20, length, 2)
    for row, target in zip(data.x, data.y, strict=True):
        marked = [step for step in range(length) if row[step, 1] == 1]
        assert set(row[:, 1]) <= {0, 1}
        assert len(marked) == 2
        assert marked[0] < length // 2 <= marked[1]
        assert target == row[marked[0], 0] + row[marked[1], 0]


def test_the_values_of_adding_are_uniform_and_every_step_is_marked_equally():
    data = raw("adding", samples=20_000, length=10)
    values = data.x[:, :, 0]
    assert 0 <= values.min() < 0.001 < 0.999 < values.max() <= 1
    assert values.std() == pytest.approx(12**-0.5, rel=0.01)
    assert data.x[:, :, 1].sum(axis=0) == pytest.approx(np.full(10, 4000), rel=0.06)
    # The published baseline: whoever always answers 1 has the variance of a sum of two uniform numbers.
    assert np.mean((data.y - 1) ** 2) == pytest.approx(1 / 6, rel=0.03)


@pytest.mark.parametrize(("relevant", "noise"), [(1, 0.447), (3, 2.0), (30, 0.1)])
def test_the_class_of_latch_is_in_the_first_steps_and_nowhere_else(relevant, noise):
    data = raw("latch", 4, samples=4000, length=30, relevant=relevant, noise=noise)
    assert data.x.shape == (4000, 30, 1)
    assert np.array_equal(np.sign(data.x[:, :relevant, 0]), np.repeat(2 * data.y[:, None] - 1, relevant, axis=1))
    rest = data.x[:, relevant:, 0]
    for label in (0, 1):
        assert np.abs(rest[data.y == label].mean(axis=0)).max(initial=0) < 5 * noise / np.sqrt(2000)
    if rest.size:
        assert rest.std() == pytest.approx(noise, rel=0.02)


def test_the_default_noise_of_latch_has_variance_one_fifth():
    assert raw("latch", samples=4000).x[:, 3:].var() == pytest.approx(0.2, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(5, 70))
def test_parity_is_the_exclusive_or_of_the_bits_so_far(seed, length):
    last, every = (raw("parity_sequence", seed, samples=30, length=length, every_step=flag) for flag in (False, True))
    assert np.array_equal(last.x, every.x)
    assert last.x.shape == (30, length, 1)
    assert every.y.shape == (30, length)
    assert set(last.x.ravel()) <= {0, 1}
    assert len(np.unique(last.x, axis=0)) == 30
    for row, running, final in zip(last.x[:, :, 0].astype(int), every.y, last.y, strict=True):
        state = 0
        for bit, target in zip(row, running, strict=True):
            state ^= int(bit)
            assert target == state
        assert final == state


def test_all_patterns_of_parity_once():
    data = raw("parity_sequence", samples=256, length=8)
    assert len(np.unique(data.x, axis=0)) == 256
    assert np.bincount(data.y).tolist() == [128, 128]


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(2, 12), st.integers(1, 9), st.integers(1, 30))
def test_copy_memory_asks_for_the_word_after_the_delay(seed, alphabet, symbols, delay):
    data = raw("copy_memory", seed, samples=12, alphabet=alphabet, symbols=symbols, delay=delay)
    length = delay + 2 * symbols
    assert data.x.shape == (12, length, alphabet + 2)
    assert data.y.shape == (12, length)
    assert data.classes == tuple(range(alphabet + 1))
    assert np.array_equal(np.sort(data.x, axis=2), np.eye(alphabet + 2)[np.full((12, length), alphabet + 1)])
    shown = data.x.argmax(axis=2)
    for row, target in zip(shown.tolist(), data.y.tolist(), strict=True):
        word = row[:symbols]
        assert all(1 <= symbol <= alphabet for symbol in word)
        assert row[symbols:] == [0] * (delay - 1) + [alphabet + 1] + [0] * symbols
        assert target == [0] * (delay + symbols) + word
        assert target[delay + symbols :] == [row[step - delay - symbols] for step in range(delay + symbols, length)]


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_rows(name):
    first, again, other = (raw(name, seed, samples=40) for seed in (3, 3, 4))
    assert first.x.tobytes() == again.x.tobytes()
    assert first.y.tobytes() == again.y.tobytes()
    assert first.x.tobytes() != other.x.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_scaled_alike(name):
    data = load_dataset(name)
    for values in (data.input_scaling.mean, data.input_scaling.scale):
        assert values.shape == data.input_shape
        assert (values == values[0]).all()
    assert np.allclose(data.x_train.mean(axis=(0, 1)), 0)
    assert np.allclose(data.x_train.std(axis=(0, 1)), 1)


def test_the_marker_of_copy_memory_survives_the_scaling():
    data = load_dataset("copy_memory", symbols=5, delay=20)
    marker = data.x_test[:, :, -1]
    assert (marker.argmax(axis=1) == 24).all()
    assert (marker.max(axis=1) - marker.min(axis=1) > 1).all()


def test_targets_at_every_step_in_a_data_set():
    data = load_dataset("parity_sequence", every_step=True)
    assert data.steps == 8
    assert data.targets == 1
    assert repr(data).endswith("input (8, 1), 2 classes at 8 steps)")
    assert load_dataset("parity_sequence").steps is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adding", {"length": 1}, "length: expected a number of at least 2, got 1"),
        ("adding", {"samples": 3}, "samples: expected a number of at least 10, got 3"),
        (
            "adding",
            {"samples": 1_000_000, "length": 50},
            r"samples: expected at most 500000 rows of 100 numbers each \(50000000 numbers in all\), got 1000000",
        ),
        ("latch", {"relevant": 6, "length": 5}, "relevant: expected at most the 5 steps of a sequence, got 6"),
        ("latch", {"noise": -1}, "noise: expected a number of at least 0, got -1"),
        (
            "parity_sequence",
            {"length": 4, "samples": 17},
            r"samples: expected at most the 2\*\*4 = 16 patterns, got 17",
        ),
        ("parity_sequence", {"every_step": 1.5}, "every_step: expected true or false, got 1.5"),
        ("copy_memory", {"alphabet": 1}, "alphabet: expected a number of at least 2, got 1"),
        ("copy_memory", {"delay": 0}, "delay: expected a number of at least 1, got 0"),
        ("copy_memory", {"symbols": 1000, "delay": 10_000}, "samples: expected at most 416 rows of 120000 numbers"),
    ],
)
def test_options_out_of_range(name, options, message):
    with pytest.raises(ConfigError, match=f"^{name}: {message}"):
        load_dataset(name, **options)


def test_the_limit_on_memory_is_part_of_every_task():
    for name in NAMES:
        assert issubclass(registry.datasets.get(name).options_class, SequenceOptions)
