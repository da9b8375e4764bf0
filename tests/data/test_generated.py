from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_moons

from gfopt import registry
from gfopt.data import RawData, load_dataset
from gfopt.errors import ConfigError

NAMES = ("moons", "spirals", "xor", "parity", "sine")
seeds = st.integers(0, 2**40)


def raw(name: str, seed: int = 0, **options: object) -> RawData:
    source = registry.datasets.get(name)
    return source.load(source.options_class(**options), seed)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_xor_labels_are_the_product_of_signs(seed):
    data = raw("xor", seed, noise=0.1)
    assert np.array_equal(data.y, (np.sign(data.x).prod(axis=1) < 0))
    assert np.unique(np.sign(data.x), axis=0, return_counts=True)[1].tolist() == [100] * 4


def test_xor_without_noise_is_the_four_corners():
    data = raw("xor", noise=0, samples=4)
    assert data.x.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert data.y.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("bits", [2, 3, 8, 11])
def test_parity_has_every_pattern_once_and_its_sum_modulo_2(bits):
    data = raw("parity", bits=bits)
    assert data.x.shape == (2**bits, bits)
    assert len(np.unique(data.x, axis=0)) == 2**bits
    assert set(data.x.ravel()) == {0, 1}
    assert np.array_equal(data.y, data.x.sum(axis=1) % 2)
    assert np.bincount(data.y).tolist() == [2 ** (bits - 1)] * 2


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(2, 200))
def test_sampled_parity_has_different_patterns(seed, samples):
    data = raw("parity", seed, bits=10, samples=samples)
    assert len(np.unique(data.x, axis=0)) == samples
    assert np.array_equal(data.y, data.x.sum(axis=1) % 2)


@pytest.mark.parametrize(("classes", "turns"), [(2, 1.5), (3, 1.0), (5, 0.25)])
def test_the_radius_of_a_spiral_gives_its_angle(classes, turns):
    data = raw("spirals", classes=classes, turns=turns, noise=0)
    radius = np.hypot(*data.x.T)
    arm = (np.arctan2(data.x[:, 1], data.x[:, 0]) / (2 * np.pi) - turns * radius) * classes
    assert radius.max() <= 1
    assert np.allclose(np.exp(2j * np.pi * arm / classes), np.exp(2j * np.pi * data.y / classes))


def test_moons_lie_on_the_curves_of_scikit_learn():
    data = raw("moons", noise=0, samples=400)
    points, labels = make_moons(4001, random_state=0)
    for label in (0, 1):
        ours, curve = data.x[data.y == label], points[labels == label]
        distance = np.linalg.norm(ours[:, None] - curve, axis=2).min(axis=1)
        assert len(ours) == 200
        # The curve's points are pi / 2000 apart.
        assert distance.max() < np.pi / 2000


def test_sine_without_noise_is_exactly_sin():
    data = raw("sine", noise=0, cycles=2)
    assert np.array_equal(data.y, np.sin(data.x[:, 0]))
    assert 1.8 * np.pi < np.abs(data.x).max() <= 2 * np.pi


@pytest.mark.parametrize("name", ["moons", "spirals", "xor", "sine"])
def test_noise_has_the_given_deviation_and_leaves_the_points(name):
    clean, noisy = (raw(name, 5, samples=4000, noise=noise) for noise in (0.0, 0.5))
    error = noisy.y - clean.y if name == "sine" else (noisy.x - clean.x).ravel()
    assert error.std() == pytest.approx(0.5, rel=0.05)
    assert abs(error.mean()) < 0.05
    assert np.array_equal(noisy.x, clean.x) == (name == "sine")


@pytest.mark.parametrize("name", NAMES)
def test_the_default_split_works_and_has_every_class_everywhere(name):
    data = load_dataset(name)
    assert data.splits == ("validation", "test")
    if data.task == "classification":
        assert all(
            set(data.split(part)[1]) == set(range(len(data.classes))) for part in ("train", "validation", "test")
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_rows(name):
    options = {"samples": 40}
    first, again, other = (raw(name, seed, **options) for seed in (3, 3, 4))
    assert first.x.tobytes() == again.x.tobytes()
    assert first.y.tobytes() == again.y.tobytes()
    assert first.x.tobytes() != other.x.tobytes()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("moons", {"samples": 3}, "samples: expected a number of at least 10, got 3"),
        ("moons", {"noise": -0.1}, "noise: expected a number of at least 0, got -0.1"),
        ("moons", {"noise": float("nan")}, "noise: expected a finite number, got nan"),
        ("moons", {"nose": 0.1}, "nose: expected a known option, got 'nose'. Did you mean 'noise'?"),
        ("spirals", {"classes": 1}, "classes: expected a number of at least 2, got 1"),
        ("spirals", {"samples": "many"}, "samples: expected a whole number"),
        ("xor", {"samples": True}, "samples: expected a number or a name, got True"),
        ("parity", {"bits": 17}, "bits: expected a number of at most 16, got 17"),
        ("parity", {"bits": 3, "samples": 9}, "samples: expected at most the 2\\*\\*3 = 8 patterns, got 9"),
        ("iris", {"noise": 0.1}, "noise: expected a known option, got 'noise'. There are none"),
    ],
)
def test_options_out_of_range(name, options, message):
    with pytest.raises(ConfigError, match=f"^{name}: {message}"):
        load_dataset(name, **options)
