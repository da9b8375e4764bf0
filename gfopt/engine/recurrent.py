"""Torch's own recurrent layers in a population: the same layers through formulas that can be batched.

`torch.func.vmap` has no rule for the fused kernels behind `nn.LSTM`, `nn.GRU` and `nn.RNN`.
`batchable_recurrent` gives the layers of a network (the engine's private copy of it) another `forward` with the same
arguments, results and parameters, which runs `gfopt.nn.recurrence` on all members at once; torch's counter of
operations sees its matrix products as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from gfopt.nn.recurrence import Layer, recur

_FORWARDS = {layer.forward for layer in (nn.LSTM, nn.GRU, nn.RNN)}
_CELL_FORWARDS = {layer.forward for layer in (nn.LSTMCell, nn.GRUCell, nn.RNNCell)}
_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "tanh", "RNN_RELU": "relu"}


def batchable_recurrent(module: nn.Module) -> None:
    """Give every `nn.LSTM`, `nn.GRU`, `nn.RNN` and cell in `module` a forward pass that can be batched, in place.

    Parameters keep their names, order and parametrizations; results are torch's to 1e-6 in float32. A subclass with
    a `forward` of its own stays as it is, and so do packed sequences, whose lengths torch reads on the CPU: a
    population of such networks is a loop, and the engine says so.
    """
    for layer in list(module.modules()):
        kind: type[nn.Module] = type(layer)
        if isinstance(layer, nn.RNNBase) and kind.forward in _FORWARDS:
            layer.__class__ = type(f"Batchable{kind.__name__}", (_Batchable, kind), {})
            # As a layer of its own the dropout is found, seeded and switched off like any other.
            layer.add_module("dropout_between", nn.Dropout(layer.dropout).train(layer.training))
        elif isinstance(layer, nn.RNNCellBase) and kind.forward in _CELL_FORWARDS:
            layer.__class__ = type(f"Batchable{kind.__name__}", (_BatchableCell, kind), {})


class _Batchable(nn.RNNBase):
    """In front of torch's class among the bases of a layer: it only replaces `forward`."""

    dropout_between: nn.Dropout

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 - torch's name; users may write `input=`
        """`(output, h_n)`, or `(output, (h_n, c_n))` of an LSTM: arguments and results as torch has them."""
        if isinstance(input, PackedSequence) or input.ndim not in (2, 3) or 0 in input.shape:
            return super().forward(input, hx)  # torch's own, which stands behind this class; errors included
        single = input.ndim == 2
        batch_axis = 0 if self.batch_first else 1
        rows = input.unsqueeze(batch_axis) if single else input
        h, c = self._first_states(rows, hx, single)
        x = (rows.permute(1, 2, 0) if self.batch_first else rows.permute(0, 2, 1)).contiguous()  # (T, D, B)
        out, h_n, c_n = self._layers(x, h, c)
        output = out.permute(2, 0, 1) if self.batch_first else out.permute(0, 2, 1)
        if single:
            output, h_n, c_n = output.squeeze(batch_axis), h_n.squeeze(1), c_n.squeeze(1)
        return output, (h_n, c_n) if self.mode == "LSTM" else h_n

    def _first_states(self, rows: Tensor, hx: Any, single: bool) -> tuple[Tensor, Tensor]:
        """`(layers, B, R)` and `(layers, B, H)`, zeros unless given; checked as torch does."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        batch = rows.shape[0 if self.batch_first else 1]
        lstm = self.mode == "LSTM"
        h = rows.new_zeros(count, batch, self.proj_size or self.hidden_size)
        c = rows.new_zeros(count, batch, self.hidden_size)
        if hx is not None:
            given = [t.unsqueeze(1) if single else t for t in (hx if lstm else (hx,))]
            h, c = given if lstm else (*given, c)
        self.check_forward_args(rows, (h, c) if lstm else h, None)  # type: ignore[arg-type] # the LSTM's takes a pair
        return h, c

    def _layers(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(T, R, B)` outputs of the last layer and `(layers, B, ...)` last states of all."""
        last: list[tuple[Tensor, Tensor]] = []
        for layer in range(self.num_layers):
            if layer:
                x = self.dropout_between(x)
            directions = []
            for reverse in (False, True) if self.bidirectional else (False,):
                index = len(last)
                out, cell = self._direction(x, f"l{layer}" + "_reverse" * reverse, h[index], c[index], reverse)
                directions.append(out)
                last.append((out[0 if reverse else -1].mT, cell.mT))
            x = torch.cat(directions, dim=1) if len(directions) > 1 else directions[0]
        h_n, c_n = (torch.stack(s) if len(s) > 1 else s[0].unsqueeze(0) for s in zip(*last, strict=True))
        return x, h_n, c_n

    def _direction(self, x: Tensor, suffix: str, h: Tensor, c: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
        """`(T, R, B)` states and the last cell state `(H, B)` of one layer in one direction."""
        w_ih, w_hh = getattr(self, f"weight_ih_{suffix}"), getattr(self, f"weight_hh_{suffix}")
        layer = Layer(
            x.flip(0).unsqueeze(0) if reverse else x.unsqueeze(0),
            w_ih.unsqueeze(0),
            w_hh.unsqueeze(0),
            self._bias(suffix, w_ih).unsqueeze(0),
            h.mT.unsqueeze(0),
            c.mT.unsqueeze(0) if self.mode == "LSTM" else None,
            getattr(self, f"weight_hr_{suffix}").unsqueeze(0) if self.proj_size else None,
        )
        out, cell = recur(_CELLS[self.mode], layer)
        return out[0].flip(0) if reverse else out[0], cell[0]

    def _bias(self, suffix: str, w_ih: Tensor) -> Tensor:
        """Torch's two bias vectors as the one that `recur` takes."""
        gru = self.mode == "GRU"
        if not self.bias:
            return w_ih.new_zeros(w_ih.shape[0] + gru * self.hidden_size)
        b_ih, b_hh = getattr(self, f"bias_ih_{suffix}"), getattr(self, f"bias_hh_{suffix}")
        if not gru:
            return b_ih + b_hh  # type: ignore[no-any-return] # attributes of modules are untyped
        split = 2 * self.hidden_size
        return torch.cat([b_ih[:split] + b_hh[:split], b_ih[split:], b_hh[split:]])


class _BatchableCell(nn.RNNCellBase):
    """In front of `nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell`: one step in plain formulas."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002 - torch's name; users may write `input=`
        """The next state, or `(h, c)` of an LSTM: arguments and results as torch has them."""
        first = hx[0] if isinstance(hx, tuple) else hx
        if input.ndim not in (1, 2) or (first is not None and first.ndim != input.ndim):
            return super().forward(input, hx)  # torch's own words
        zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
        lstm = isinstance(self, nn.LSTMCell)
        h, c = (zeros, zeros) if hx is None else hx if lstm else (hx, zeros)
        from_x, from_h = F.linear(input, self.weight_ih, self.bias_ih), F.linear(h, self.weight_hh, self.bias_hh)
        if lstm:
            i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c
        if isinstance(self, nn.GRUCell):
            (r, z, n), (of_r, of_z, u) = from_x.chunk(3, dim=-1), from_h.chunk(3, dim=-1)
            n = torch.tanh(n + torch.sigmoid(r + of_r) * u)
            return n + torch.sigmoid(z + of_z) * (h - n)
        rectified = getattr(self, "nonlinearity", "tanh") == "relu"
        return torch.relu(from_x + from_h) if rectified else torch.tanh(from_x + from_h)
