"""Recurrent layers of many members at once through the compiled loops: forwards only, on the CPU in float32."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from gfopt.kernels.program import ACTIVATIONS
from gfopt.threads import in_threads


def fits(tensors: Sequence[Tensor | None]) -> bool:
    """Whether `run` may compute with such tensors: float32 numbers in the memory of the CPU.

    Nor while somebody looks at the single operations, as a counter of them does: there would be none to be seen.
    """
    plain = all(
        t is None or (type(t) in (Tensor, torch.nn.Parameter) and t.dtype == torch.float32 and t.device.type == "cpu")
        for t in tensors
    )
    return plain and _get_current_dispatch_mode() is None


def run(
    cell: str, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, h: Tensor, c: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One layer in one direction for P members; gates are blocks of rows in torch's order.

    A member's numbers depend on nothing but its own row of each tensor, neither on the other members nor on the
    number of threads. Sigmoid and tanh are exact to 4e-7 relative to 1; NaN stays NaN.

    Args:
        cell: `lstm`, `gru`, or a plain cell's activation, `tanh` or `relu`.
        x: `(P, T, D, B)` inputs.
        w_ih: `(P, G, D)`.
        w_hh: `(P, G, H)`.
        bias: `(P, G)`; `(P, 4 H)` for the GRU, whose recurrent product has a bias of its own for `n`.
        h: `(P, H, B)` first state.
        c: `(P, H, B)` first cell state of an LSTM.

    Returns:
        `(P, T, H, B)` states, and `(P, H, B)` the last cell state (of others than `lstm` the last state).
    """
    kernel = _kernel()
    members, steps, _, batch = x.shape
    states = x.new_empty(members, steps, h.shape[1], batch)
    ends = x.new_empty(members, h.shape[1], batch)
    code = {"lstm": kernel.LSTM, "gru": kernel.GRU}.get(cell)
    given = (_dense(x, 1), *(_dense(t, t.ndim - 1) for t in (w_ih, w_hh, bias)), h, h if c is None else c)
    arrays = [t.numpy(force=True) for t in (*given, states, ends)]
    work = partial(_advance, kernel, ACTIVATIONS.index(cell) if code is None else code, arrays)
    work_of_tile = steps * h.shape[1] * (x.shape[2] + h.shape[1])
    in_threads(members * kernel.tiles_of(batch), 8 * work_of_tile, work)
    return states, ends


def _advance(kernel: Any, code: int, arrays: Sequence[Any], first: int, last: int) -> None:
    kernel.advance(code, first, last, *arrays)


@cache
def _kernel() -> Any:
    # Not ahead of the first use: numba takes a second to import, and the first ever call some seconds to compile.
    from gfopt.kernels import recurrent as recurrent_kernel

    return recurrent_kernel


def _dense(tensor: Tensor, axes: int) -> Tensor:
    """The tensor, its last axes without gaps; the axes in front of them may lie anyhow."""
    size = 1
    for length, stride in zip(reversed(tensor.shape[-axes:]), reversed(tensor.stride()[-axes:]), strict=True):
        if length != 1 and stride != size:
            return tensor.contiguous()
        size *= length
    return tensor
