"""The compiled functions against numpy's in double precision, over all numbers that they may meet."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from numba.extending import intrinsic
from scipy import special

from gfopt.kernels import emit
from gfopt.kernels import vectors as v

FUNCTIONS = {
    "tanh": (v.tanh, np.tanh),
    "exp": (v.exp, np.exp),
    "expm1": (v.expm1, np.expm1),
    "log": (v.log, np.log),
    "sigmoid": (v.sigmoid, special.expit),
    "softplus": (v.softplus, lambda x: np.logaddexp(0, x)),
    "erf": (v.erf, special.erf),
    "sin": (v.sin, np.sin),
    "square_root": (v.square_root, np.sqrt),
    "absolute": (v.absolute, np.abs),
}
NAMES = list(FUNCTIONS)


def _emit(b, code, address, count):
    done = b.append_basic_block("done")
    choice = b.switch(code, done)
    for number, (compiled, _) in enumerate(FUNCTIONS.values()):
        block = b.append_basic_block("function")
        choice.add_case(v.INDEX(number), block)
        b.position_at_end(block)
        with emit.each_vector(b, count) as place:
            emit.store(b, compiled(b, emit.load(b, address, place)), address, place)
        b.branch(done)
    b.position_at_end(done)


@intrinsic
def _call(_typing, code, address, count):
    return emit.typed(3, _emit)


@numba.njit
def _apply(code, numbers):
    _call(code, numbers.ctypes.data, numbers.size)


def compiled(name, x):
    """The function of every number, in float32."""
    padded = np.zeros(-(-len(x) // v.LANES) * v.LANES, np.float32)
    padded[: len(x)] = x
    _apply(NAMES.index(name), padded)
    return padded[: len(x)]


def both(name, x):
    """What is computed, and what it ought to be, as float64; the inputs are those that float32 holds."""
    x = np.asarray(x, np.float32)
    return compiled(name, x).astype(np.float64), FUNCTIONS[name][1](x.astype(np.float64))


def relative(name, x):
    found, exact = both(name, x)
    return np.max(np.abs(found - exact) / np.abs(exact))


def absolute(name, x):
    found, exact = both(name, x)
    return np.max(np.abs(found - exact))


TINY = np.geomspace(1e-30, 1, 40_001)


def around(least, most):
    """Evenly over a range, and towards 0 from both sides."""
    near = np.concatenate([TINY, -TINY])
    return np.concatenate([np.linspace(least, most, 200_001), near[(near >= least) & (near <= most)]])


def without_zero(x):
    return x[x.astype(np.float32) != 0]


def test_tanh_keeps_its_digits_however_small_the_signal_is():
    assert relative("tanh", without_zero(around(-20, 20))) < 5e-7
    assert relative("tanh", np.geomspace(1e-37, 1e-3, 10_000)) < 2e-7


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_what_squashes_is_odd_and_never_beyond_one(name):
    x = np.concatenate([around(-20, 20), np.geomspace(20, 3e38, 1000), [np.inf]]).astype(np.float32)
    found = compiled(name, x)
    assert np.abs(found).max() <= 1
    assert np.abs(found[np.abs(x) > 9.1]).min() >= 1 - 1.2e-7
    np.testing.assert_array_equal(compiled(name, -x), -found)


def test_exp_over_all_that_float32_holds():
    assert relative("exp", around(-87, 88)) < 2e-7
    np.testing.assert_array_equal(compiled("exp", np.float32([0, -0.0])), [1, 1])


def test_exp_is_never_infinite_nor_zero():
    found = compiled("exp", np.float32([-1e4, -200, -88, 88.7, 89, 1e30, np.inf, -np.inf]))
    assert np.isfinite(found).all()
    assert (found[[0, 1, 2, 7]] < 2e-38).all()
    assert (found[3:7] > 1e38).all()
    assert (found > 0).all()


def test_log_of_normal_numbers():
    x = np.concatenate([np.geomspace(1.2e-38, 3e38, 100_001), np.linspace(0.5, 2, 100_001)])
    found, exact = both("log", x)
    assert np.max(np.abs(found - exact) / np.maximum(1, np.abs(exact))) < 1e-7
    assert compiled("log", np.float32([1]))[0] == 0


def test_sigmoid_keeps_its_digits_on_both_sides():
    assert relative("sigmoid", around(-86, 200)) < 4e-7
    found = compiled("sigmoid", np.float32([-1e30, -200, 200, 1e30]))
    assert (found[:2] < 1e-37).all()
    assert (found[:2] >= 0).all()
    np.testing.assert_array_equal(found[2:], [1, 1])


def test_expm1_keeps_its_digits_near_zero():
    assert relative("expm1", without_zero(around(-100, 0))) < 6e-7
    found = compiled("expm1", np.float32([-200, -np.inf]))
    np.testing.assert_allclose(found, -1, rtol=0, atol=1.2e-7)
    assert (found >= -1).all()  # ELU stays above its alpha


def test_softplus_keeps_its_digits_where_it_vanishes():
    assert relative("softplus", around(-86, 300)) < 4e-7
    assert compiled("softplus", np.float32([-1e30]))[0] < 2e-38


def test_erf_keeps_its_digits_however_small_the_signal_is():
    assert relative("erf", without_zero(around(-10, 10))) < 5e-7


def test_sin_of_all_but_huge_angles():
    assert absolute("sin", around(-1000, 1000)) < 4e-7
    assert absolute("sin", np.linspace(-10_000, 10_000, 200_001)) < 4e-7
    assert relative("sin", np.concatenate([TINY, -TINY])) < 3e-7


def test_sin_is_bounded_however_large_the_angle_is():
    found = compiled("sin", np.concatenate([np.geomspace(1, 3e38, 10_001), -np.geomspace(1, 3e38, 10_001)]))
    assert np.abs(found).max() <= 1


def test_square_root_and_absolute_are_exact_to_rounding():
    x = np.geomspace(1e-37, 3e38, 10_001)
    assert relative("square_root", x) < 6.1e-8
    assert absolute("absolute", np.concatenate([x, -x])) == 0


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan_whatever_its_bits(name):
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    assert np.isnan(compiled(name, bits.view(np.float32))).all()


INFINITE = {
    "sigmoid": (1, 0),
    "sin": (math.nan, math.nan),
    "softplus": (math.inf, 0),
    "absolute": (math.inf, math.inf),
    "square_root": (math.inf, math.nan),
}


@pytest.mark.parametrize("name", INFINITE)
def test_infinite_arguments_have_their_limits(name):
    found = compiled(name, np.float32([np.inf, -np.inf]))
    np.testing.assert_allclose(found, INFINITE[name], rtol=0, atol=2e-38)


@pytest.mark.parametrize("name", ["tanh", "erf", "sin", "expm1", "absolute"])
def test_zero_stays_zero(name):
    np.testing.assert_array_equal(compiled(name, np.float32([0.0, -0.0])), 0)


def test_a_saturated_tanh_is_exactly_one():
    # As torch's: 1 - tanh is below half of the distance to the next number from 9.0109 on.
    x = np.concatenate([np.linspace(9.4, 30, 1000), [1e3, 1e30]]).astype(np.float32)
    assert (compiled("tanh", x) == 1).all()
    assert (compiled("tanh", -x) == -1).all()
    below = np.linspace(8.9, 9.4, 1000).astype(np.float32)
    assert np.abs(compiled("tanh", below) - np.tanh(below.astype(np.float64))).max() < 3e-7
