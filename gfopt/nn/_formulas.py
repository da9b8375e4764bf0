"""The formulas of recurrent layers on the stacked weights of many members, forwards and backwards.

A step is one to three batched matrix products and few passes over memory:

- everything is feature-major, `(P, features, B)`: weights need no transposing, and each gate is one block of rows;
- input and state lie in one buffer `[x; h]` and share one product, so that no projection of the sequence is kept;
- `tanh z = 2 sigmoid(2 z) - 1`, with the factors folded into the weights: on a CPU torch's sigmoid takes a third of
  the time of its tanh. It is exact to 1.2e-7 in float32. The plain RNN, which has nothing else, keeps torch's tanh;
- the backward pass is written out (backpropagation through time): the factors by which the slope of a state enters
  each gate come from whole sequences, so that a step is one product and the little that depends on the step behind it.

Gates are blocks of rows in torch's order: LSTM `i, f, g, o`; GRU `r, z, n`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """The tensors of one layer, for P members.

    Attributes:
        x: `(P, T, D, B)` inputs.
        w_ih: `(P, G, D)`, with `G` 4 H for the LSTM, 3 H for the GRU, H for the RNN.
        w_hh: `(P, G, R)`.
        bias: `(P, G)`; `(P, 4 H)` for the GRU, whose recurrent product has a bias of its own for `n`.
        h: `(P, R, B)` first state.
        c: `(P, H, B)` first cell state of the LSTM.
        w_hr: `(P, R, H)` projection of the LSTM; without one R is H.
    """

    x: Tensor
    w_ih: Tensor
    w_hh: Tensor
    bias: Tensor
    h: Tensor
    c: Tensor | None = None
    w_hr: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """All of them in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def joint(self, state: Tensor) -> Tensor:
        """`(T + 1, P, D + R, B)`: the inputs of all steps, and below them `state` and place for the later ones."""
        members, steps, features, batch = self.x.shape
        joint = self.x.new_empty(steps + 1, members, features + state.shape[1], batch)
        joint[:steps, :, :features] = self.x.transpose(0, 1)
        joint[0, :, features:] = state
        return joint


Kept = tuple[Tensor, ...]
Slopes = tuple[Tensor | None, ...]  # of the tensors of a layer


class Formulas(ABC):
    """The formulas of one kind of layer on stacked members."""

    @abstractmethod
    def run(self, layer: Layer, keep: bool) -> tuple[Tensor, Tensor, Kept]:
        """`(T, P, R, B)` states, the last cell state `(P, H, B)`, and with `keep` what `back` needs."""

    @abstractmethod
    def back(self, layer: Layer, kept: Kept, dout: Tensor, dlast: Tensor, dx: bool) -> Slopes:
        """Gradients of the layer's tensors from those of states and last cell state; that of `x` only with `dx`."""


class RNNFormulas(Formulas):
    """`h' = tanh(W_x x + W_h h + b)` (Elman 1990), or a rectifier in place of the tanh."""

    def __init__(self, rectified: bool = False) -> None:
        self.rectified = rectified

    def run(self, layer: Layer, keep: bool) -> tuple[Tensor, Tensor, Kept]:
        weight, bias = torch.cat([layer.w_ih, layer.w_hh], dim=2), layer.bias.unsqueeze(2)
        joint = layer.joint(layer.h)
        states = joint[:, :, layer.x.shape[2] :]
        z = torch.empty_like(states[0], memory_format=torch.contiguous_format)
        for inputs, state in zip(joint[:-1].unbind(0), states[1:].unbind(0), strict=True):
            torch.baddbmm(bias, weight, inputs, out=z)
            if self.rectified:
                torch.clamp_min(z, 0, out=state)
            else:
                torch.tanh(z, out=state)
        return _states(joint, layer.x.shape[2], keep), states[-1].clone(), (joint,) if keep else ()

    def back(self, layer: Layer, kept: Kept, dout: Tensor, dlast: Tensor, dx: bool) -> Slopes:
        (joint,) = kept
        states = joint[1:, :, layer.x.shape[2] :]
        dz = (states > 0).to(states.dtype) if self.rectified else 1 - states.square()
        back, dh = layer.w_hh.mT, torch.zeros_like(layer.h)
        for step, slope in _backwards(dz, dout):
            dh = torch.bmm(back, step.mul_(dh + slope))
        dw, db, slopes = _sums(dz, joint, layer.w_ih, dx)
        features = layer.x.shape[2]
        return slopes, dw[:, :, :features], dw[:, :, features:], db, dh, None, None


class LSTMFormulas(Formulas):
    """`c' = f c + i g`, `h' = o tanh c'` (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    With `w_hr` the state is `h' = W_r (o tanh c')` (Sak et al. 2014, arXiv:1402.1128). What is kept is `-2 c`: with
    `s = sigmoid(-2 c)` the state is `o - 2 o s`, one operation.
    """

    def run(self, layer: Layer, keep: bool) -> tuple[Tensor, Tensor, Kept]:
        assert layer.c is not None
        (_, steps, features, _), (members, units, batch) = layer.x.shape, layer.c.shape
        weight, bias = torch.cat([layer.w_ih, layer.w_hh], dim=2), layer.bias.unsqueeze(2).clone()
        for doubled in (weight, bias):
            doubled[:, 2 * units : 3 * units].mul_(2)  # g through a sigmoid
        joint = layer.joint(layer.h)
        gates = joint.new_empty(steps if keep else 1, members, 4 * units, batch)
        cells = joint.new_empty(steps if keep else 1, members, units, batch)
        squashed = torch.empty_like(cells[0])
        minus = -2 * layer.c
        states = joint[1:, :, features:].unbind(0)
        views = list(zip(gates.unbind(0), cells.unbind(0), *(b.unbind(0) for b in gates.chunk(4, 2)), strict=True))
        for t, inputs in enumerate(joint[:-1].unbind(0)):
            s, cell, i, f, g, o = views[t if keep else 0]
            torch.baddbmm(bias, weight, inputs, out=s).sigmoid_()
            minus = torch.mul(minus, f, out=cell).add_(i, alpha=2).addcmul_(i, g, value=-4)  # c' = f c + i (2 g - 1)
            torch.sigmoid(minus, out=squashed)
            if layer.w_hr is None:
                torch.addcmul(o, o, squashed, value=-2, out=states[t])
            else:
                states[t].copy_(torch.bmm(layer.w_hr, torch.addcmul(o, o, squashed, value=-2)))
        return _states(joint, features, keep), minus * -0.5, (joint, gates, cells) if keep else ()

    def back(self, layer: Layer, kept: Kept, dout: Tensor, dlast: Tensor, dx: bool) -> Slopes:
        assert layer.c is not None
        joint, gates, cells = kept
        units, features = layer.c.shape[1], layer.x.shape[2]
        i, f, g, o = gates.chunk(4, dim=2)
        squashed = cells.sigmoid().mul_(-2).add_(1)
        dz = torch.addcmul(gates, gates, gates, value=-1)  # s (1 - s), then times what leads to the state
        (di, df, dg, do), by_cell = dz.chunk(4, dim=2), _blocks(dz[:, :, : 3 * units], 3)
        di.mul_(g * 2 - 1)
        df[0].mul_(layer.c)
        df[1:].mul_(cells[:-1]).mul_(-0.5)
        dg.mul_(i).mul_(4)  # the slope of 2 s(2 z) - 1 is 4 s (1 - s)
        do.mul_(squashed)
        from_state = o * (1 - squashed.square())
        back, dh, dc = layer.w_hh.mT, torch.zeros_like(layer.h), dlast
        dw_hr = None if layer.w_hr is None else torch.zeros_like(layer.w_hr)
        for step, slope, factor, three, last, forget, hidden in _backwards(
            dz, dout, from_state, by_cell, do, f, o * squashed
        ):
            dh = dh + slope
            if layer.w_hr is not None and dw_hr is not None:
                dw_hr += torch.bmm(dh, hidden.mT)
                dh = torch.bmm(layer.w_hr.mT, dh)
            dc = torch.addcmul(dc, dh, factor)
            three.mul_(dc.unsqueeze(1))
            last.mul_(dh)
            dc = dc * forget
            dh = torch.bmm(back, step)
        dw, db, slopes = _sums(dz, joint, layer.w_ih, dx)
        return slopes, dw[:, :, :features], dw[:, :, features:], db, dh, dc, dw_hr


class GRUFormulas(Formulas):
    """`n = tanh(W_n x + b_n + r (U_n h + b_u))`, `h' = n + z (h - n)` (Cho et al. 2014, arXiv:1406.1078).

    As in torch the reset gate acts behind the recurrent product, which has its own bias: the last of four blocks.
    What is kept is `k = (h + 1) / 2`, which stays a mixture: `k' = s + z (k - s)` for `n = 2 s - 1`. As `h = 2 k - 1`,
    the recurrent weights are doubled and their sums taken off the biases.
    """

    def run(self, layer: Layer, keep: bool) -> tuple[Tensor, Tensor, Kept]:
        (_, steps, features, _), (members, units, batch) = layer.x.shape, layer.h.shape
        bias = layer.bias.unsqueeze(2).clone()
        sums = layer.w_hh.sum(2, keepdim=True)
        bias[:, : 2 * units].sub_(sums[:, : 2 * units])
        bias[:, 3 * units :].sub_(sums[:, 2 * units :])
        bias[:, 2 * units :].mul_(2)  # n through a sigmoid
        bias_rz, bias_n, bias_u = bias[:, : 2 * units], bias[:, 2 * units : 3 * units], bias[:, 3 * units :]
        w_rz = torch.cat([layer.w_ih[:, : 2 * units], 2 * layer.w_hh[:, : 2 * units]], dim=2)
        w_n, w_u = 2 * layer.w_ih[:, 2 * units :], 4 * layer.w_hh[:, 2 * units :]
        joint = layer.joint(layer.h.add(1).mul_(0.5))
        inputs, states = joint[:, :, :features].unbind(0), joint[:, :, features:].unbind(0)
        count = steps if keep else 1
        gates = joint.new_empty(count, members, 2 * units, batch)
        new, recurrent = joint.new_empty(2, count, members, units, batch)
        from_x = torch.empty_like(new[0])
        views = list(zip(gates, *(b.unbind(0) for b in gates.chunk(2, 2)), new, recurrent, strict=True))
        for t in range(steps):
            s, r, z, n, u = views[t if keep else 0]
            torch.baddbmm(bias_rz, w_rz, joint[t], out=s).sigmoid_()
            torch.baddbmm(bias_n, w_n, inputs[t], out=from_x)
            torch.baddbmm(bias_u, w_u, states[t], out=u)
            torch.addcmul(from_x, r, u, out=n).sigmoid_()
            torch.lerp(n, states[t], z, out=states[t + 1])
        out = joint[1:, :, features:].mul(2).sub_(1)
        return out, out[-1].clone(), (joint, gates, new, recurrent) if keep else ()

    def back(self, layer: Layer, kept: Kept, dout: Tensor, dlast: Tensor, dx: bool) -> Slopes:
        joint, gates, new, recurrent = kept
        units, features = layer.h.shape[1], layer.x.shape[2]
        r, z = gates.chunk(2, dim=2)
        # Four blocks: n from the input, r, z, n from the state; the first three and the last three lie together.
        dz = joint.new_empty(*new.shape[:2], 4 * units, new.shape[3])
        dn, dr, dzed, du = dz.chunk(4, dim=2)
        torch.mul(1 - z, new - new.square(), out=dn).mul_(4)
        torch.mul(dn, recurrent, out=dr).mul_(r - r.square()).mul_(0.5)
        torch.mul(joint[:-1, :, features:] - new, z - z.square(), out=dzed).mul_(2)
        torch.mul(dn, r, out=du)
        back, dh = layer.w_hh.mT, torch.zeros_like(layer.h)
        for blocks, slope, mix, from_h in _backwards(_blocks(dz, 4), dout, z, dz[:, :, units:]):
            dh = dh + slope
            blocks.mul_(dh.unsqueeze(1))
            dh = torch.baddbmm(dh * mix, back, from_h)
        return (*self._sums(layer, joint, dz, dx), dh, None, None)

    def _sums(self, layer: Layer, joint: Tensor, dz: Tensor, dx: bool) -> Slopes:
        """Of `x`, the weights and the bias, in torch's order of the gates."""
        units, features = layer.h.shape[1], layer.x.shape[2]
        w_ih = layer.w_ih.roll(units, 1)
        dw_ih, db_ih, slope = _sums(dz[:, :, : 3 * units], joint[:, :, :features], w_ih, dx)
        dw_hh, db_hh, _ = _sums(dz[:, :, units:], joint[:, :, features:] * 2 - 1, w_ih, False)
        db = torch.cat([db_ih.roll(-units, 1), db_hh[:, 2 * units :]], dim=1)
        return slope, dw_ih.roll(-units, 1), dw_hh, db


def _states(joint: Tensor, features: int, keep: bool) -> Tensor:
    """The states of all steps; a copy if `joint` is kept, because users may write over what they are given."""
    states = joint[1:, :, features:]
    return states.clone() if keep else states


def _blocks(sequence: Tensor, count: int) -> Tensor:
    """`(T, P, count * H, B)` as `(T, P, count, H, B)`."""
    steps, members, rows, batch = sequence.shape
    return sequence.view(steps, members, count, rows // count, batch)


def _backwards(*sequences: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Their steps side by side, from the last to the first."""
    return zip(*(reversed(sequence.unbind(0)) for sequence in sequences), strict=True)


def _sums(dz: Tensor, joint: Tensor, w_ih: Tensor, dx: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of weights, bias and (with `dx`) inputs, summed over steps and batch.

    Args:
        dz: `(T, P, G, B)` gradients of the sums.
        joint: `(T + 1, P, K, B)` what the weights were multiplied with.
        w_ih: `(P, G, D)`.
        dx: whether the inputs' gradient is wanted; it costs a product as large as theirs in the forward pass.

    Returns:
        `(P, G, K)`, `(P, G)` and `(P, T, D, B)`.
    """
    steps, members, rows, batch = dz.shape
    flat = dz.permute(1, 2, 0, 3).reshape(members, rows, steps * batch)
    inputs = joint[:-1].permute(1, 0, 3, 2).reshape(members, steps * batch, -1)
    slope = torch.bmm(w_ih.mT, flat).view(members, -1, steps, batch).transpose(1, 2) if dx else None
    return torch.bmm(flat, inputs), flat.sum(2), slope


CELLS: dict[str, Formulas] = {
    "tanh": RNNFormulas(),
    "relu": RNNFormulas(rectified=True),
    "lstm": LSTMFormulas(),
    "gru": GRUFormulas(),
}
