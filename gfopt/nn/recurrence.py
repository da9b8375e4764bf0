"""One recurrent layer of many members at once, as one operation for autograd and `torch.func.vmap`.

Torch has no batching rule for its fused recurrent layers, and the plain formulas under `vmap` spend most of their
time on small operations. `recur` hands the stacked weights of all members to loops over time of its own: compiled
ones on a CPU in float32 where nobody asks for gradients, else those of `_formulas`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gfopt.nn import _compiled_recurrence as compiled
from gfopt.nn._formulas import CELLS, Layer

__all__ = ["CELLS", "Layer", "recur"]


class _Recurrence(torch.autograd.Function):
    """A layer as one operation that autograd and `torch.func.vmap` know."""

    @staticmethod
    def forward(cell: str, keep: bool, *tensors: Any) -> tuple[Tensor, ...]:
        layer = Layer(*tensors)
        if not keep and layer.w_hr is None and compiled.fits(tensors):
            return compiled.run(cell, *tensors[:-1])
        out, last, kept = CELLS[cell].run(layer, keep)
        return (out.transpose(0, 1), last, *kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.cell, keep, *tensors = inputs
        ctx.mark_non_differentiable(*output[2:])
        if keep:
            ctx.save_for_backward(*tensors, *output[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor, dlast: Tensor, *_: Any) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[2:]
        layer, kept = Layer(*ctx.saved_tensors[: len(wanted)]), ctx.saved_tensors[len(wanted) :]
        slopes = CELLS[ctx.cell].back(layer, kept, dout.transpose(0, 1), dlast, wanted[0])
        return (None, None, *(slope if want else None for slope, want in zip(slopes, wanted, strict=True)))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], cell: str, _keep: bool, *tensors: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """The members of the outer axis join those of the first one."""
        joined = [_join(t, axis, info.batch_size) for t, axis in zip(tensors, in_dims[2:], strict=True)]
        out, last, *kept = _apply(cell, joined)
        split = (t.reshape(info.batch_size, -1, *t.shape[1:]) for t in (out, last))
        return (*split, *kept), (0, 0, *(None for _ in kept))


def recur(cell: str, layer: Layer) -> tuple[Tensor, Tensor]:
    """One layer for P members; under `torch.func.vmap` for the members of all its levels at once.

    Args:
        cell: a name of `CELLS`.
        layer: its tensors; at least one step.

    Returns:
        `(P, T, R, B)` states, and the last cell state `(P, H, B)` (for others than `lstm` the last state).
    """
    out, last, *_ = _apply(cell, layer.tensors())
    return out, last


def _apply(cell: str, tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    weight = tensors[1]
    assert weight is not None
    kind = weight.device.type
    if torch.is_autocast_enabled(kind):  # the loops write into tensors of the weights' type
        with torch.autocast(kind, enabled=False):
            return _apply(cell, [t if t is None else t.to(weight.dtype) for t in tensors])
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    found: tuple[Tensor, ...] = _Recurrence.apply(cell, keep, *tensors)  # type: ignore[no-untyped-call] # in torch
    return found


def _join(tensor: Tensor | None, axis: int | None, size: int) -> Tensor | None:
    """`(p, ...)`, with a batch axis at `axis` or the same for the whole batch, to `(size * p, ...)`."""
    if tensor is None:
        return None
    if axis is not None:
        return tensor.movedim(axis, 0).flatten(0, 1)
    return tensor.expand(size, *tensor.shape).flatten(0, 1)
