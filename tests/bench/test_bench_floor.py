"""The floor: its formula on given rates, and that the passes compute what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from gfopt.bench.floor import Hardware, measure_hardware, rational_tanh, threads

MACHINE = Hardware(gemm=1e9, tanh=1e-9, exp=3e-9)


def test_products_and_passes_of_an_mlp():
    # 2 x 5 rows x (6 + 8) weights, 5 x 2 tanh, 5 x 4 exp
    assert MACHINE.products((3, 2, 4), 5) == pytest.approx(140e-9)
    assert MACHINE.mlp((3, 2, 4), 5) == pytest.approx(140e-9 + 10e-9 + 60e-9)


def test_products_and_passes_of_an_lstm():
    # 2 x 5 rows x 7 steps x 4 gates x 2 units x (3 + 2), and 5 activations a unit
    assert MACHINE.recurrent(4, 5, 3, 2, 7, 5) == pytest.approx(2 * 5 * 7 * 4 * 2 * 5 * 1e-9 + 5 * 7 * 5 * 2 * 1e-9)


def test_measured_rates_are_rates():
    found = measure_hardware(1, size=16)
    assert 1e6 < found.gemm < 1e16
    assert 0 < found.tanh < 1e-4
    assert 0 < found.exp < 1e-4


def test_the_compiled_pass_is_a_tanh():
    values = np.concatenate([np.linspace(-12, 12, 40_001), [0.0, 1e-20, -1e-6]]).astype(np.float32)
    out = np.empty_like(values)
    rational_tanh()(values, out, 2)
    np.testing.assert_allclose(out, np.tanh(values.astype(np.float64)), rtol=1e-6)


def test_threads_are_put_back():
    before = torch.get_num_threads(), [each["num_threads"] for each in threadpool_info()]
    with threads(before[0] + 1):
        assert torch.get_num_threads() == before[0] + 1
    assert (torch.get_num_threads(), [each["num_threads"] for each in threadpool_info()]) == before
