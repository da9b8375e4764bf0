"""What this machine can do at best: the rate of a large matrix product and the cheapest elementwise passes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from gfopt.engine.device import full_precision

GEMM_SIZE = 2048
ELEMENTS = 2**14  # of a pass: within a core's cache, and too few for torch to wake a second thread
PASSES = 20  # in one timed stretch


@dataclass(frozen=True)
class Hardware:
    """Measured rates.

    Attributes:
        gemm: flop/s of a float32 product of 2048 x 2048 matrices.
        tanh: seconds an element with all threads at work; of a sigmoid, which is a tanh of half the size, as well.
        exp: the same of an exponential.
    """

    gemm: float
    tanh: float
    exp: float

    def mlp(self, sizes: tuple[int, ...], rows: int) -> float:
        """Seconds that one tanh MLP with a softmax at its end takes at least for `rows` rows.

        A sum of products and passes, and so no strict bound: a kernel that computes a tanh while it multiplies may
        pass it a little.
        """
        return self.products(sizes, rows) + rows * (sum(sizes[1:-1]) * self.tanh + sizes[-1] * self.exp)

    def products(self, sizes: tuple[int, ...], rows: int) -> float:
        """Seconds of its matrix products alone."""
        return 2 * rows * sum(before * after for before, after in pairwise(sizes)) / self.gemm

    def recurrent(self, gates: int, passes: int, inputs: int, units: int, steps: int, rows: int) -> float:
        """Seconds of one recurrent layer: `gates` products and `passes` activations a unit and step."""
        flops = 2 * rows * steps * gates * units * (inputs + units)
        return flops / self.gemm + rows * steps * passes * units * self.tanh


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch and for the libraries behind numpy; both are put back."""
    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def measure_hardware(repeats: int = 15, device: str = "cpu", *, size: int = GEMM_SIZE) -> Hardware:
    """Rates with the threads that torch has now; the best of `repeats`, because a floor is what is possible.

    On a CPU a pass is timed on one thread, and as many threads are taken to be as many times as fast.

    Args:
        repeats: timed stretches of each.
        device: `cpu` or `cuda`; float32 is not rounded to TF32 there.
        size: rows and columns of the matrices.
    """
    matrix, other = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    result = torch.empty_like(matrix)
    on_cpu = torch.device(device).type == "cpu"
    values = torch.linspace(-3, 3, ELEMENTS if on_cpu else 2**26, device=device)  # a GPU has to be kept busy
    out = torch.empty_like(values)
    share = PASSES * len(values) * (torch.get_num_threads() if on_cpu else 1)
    wait = settle(device)
    with full_precision(values.device):
        gemm = _best(lambda: torch.mm(matrix, other, out=result), repeats, wait)
        tanh, sigmoid, exp = (
            _best(partial(_repeat, function, values, out), repeats, wait) / share
            for function in (torch.tanh, torch.sigmoid, torch.exp)
        )
    if on_cpu:
        compiled = partial(rational_tanh(), values.numpy(), out.numpy(), PASSES)
        tanh = min(tanh, _best(compiled, repeats, wait) / share)
    return Hardware(gemm=2 * size**3 / gemm, tanh=min(tanh, sigmoid), exp=exp)


def settle(device: str) -> Callable[[], None]:
    """What waits until the device has done its work: nothing on a CPU."""
    return torch.cuda.synchronize if torch.device(device).type == "cuda" else _nothing


def _nothing() -> None: ...


def _repeat(function: Callable[..., Any], values: torch.Tensor, out: torch.Tensor) -> None:
    for _ in range(PASSES):
        function(values, out=out)


def _best(work: Callable[[], object], repeats: int, wait: Callable[[], None]) -> float:
    """Shortest seconds of `work`, after one call that warms up."""
    found = math.inf
    for repeat in range(repeats + 1):
        wait()
        start = time.perf_counter()
        work()
        wait()
        found = min(found, time.perf_counter() - start) if repeat else found
    return found


@cache
def rational_tanh() -> Callable[[Any, Any, int], None]:
    """Compiled `(values, out, passes)`: `out` is the tanh of `values`, each computed so many times.

    `x P(x^2) / Q(x^2)`, fitted for the least relative error on [-8.5, 8.5], which is 4e-7; clipped outside. A second
    pass takes `x + 0 * pass`, so that no compiler may leave it out.
    """
    from numba import njit

    @njit(fastmath={"contract", "arcp", "nsz"}, nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba ships no types
    def kernel(values: Any, out: Any, passes: int) -> None:
        one, least, most = np.float32(1.0), np.float32(-8.5), np.float32(8.5)
        p0, p1, p2 = np.float32(0.99999964), np.float32(0.12668303), np.float32(0.0026518943)
        p3, p4 = np.float32(6.8341208e-06), np.float32(-5.5692327e-09)
        q1, q2, q3 = np.float32(0.46001364), np.float32(0.022659977), np.float32(0.00019106874)
        for number in range(passes):
            shift = np.float32(number) * np.float32(0.0)
            for i in range(len(values)):
                x = min(max(values[i] + shift, least), most)
                t = x * x
                top = x * (p0 + t * (p1 + t * (p2 + t * (p3 + t * p4))))
                out[i] = top / (one + t * (q1 + t * (q2 + t * q3)))

    return kernel  # type: ignore[no-any-return]
