"""Recurrent networks by name: plain RNN, LSTM and GRU; stacked, in both directions, one output or one a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from gfopt.errors import NetworkError, ShapeError, expectation, located
from gfopt.nn._cells import CellName, RecurrentLayer
from gfopt.nn._layer_options import Flag, LayerOptions, Size
from gfopt.nn._options import NetworkOptions, own, parse
from gfopt.nn.initialization import InitializationOption, Orthogonal
from gfopt.nn.normalization import NormalizedLinear, NormOptions, check_norm, norm_of_each

_WITHOUT_RECURRENT_FORM = {
    "instance": "it normalizes over the positions of a picture, of which a step has none",
    "filter_response": "it normalizes over the positions of a picture, of which a step has none",
    "whitening": "a covariance for each step of a sequence is more than a batch can tell",
    "iternorm": "a covariance for each step of a sequence is more than a batch can tell",
}


class RecurrentOptions(LayerOptions):
    """What a recurrent network can be told besides its input and output sizes.

    Attributes:
        hidden: units of the layers, first to last.
        bidirectional: a second layer beside each one reads the sequence backwards; the next layer sees both.
        output: `last` gives one output a sequence, from the last states; `every` one a step.
        norm: of the products `W_x x` and `W_h h`, a name of `registry.norms` or a mapping with its options; or a list
            with one for each layer. Batch statistics are taken for each step of the sequence by itself.
        init: of `W_x`, gate by gate.
        recurrent_init: of `W_h`, gate by gate. Orthogonal by default: it keeps the length of the state (Saxe et al.
            2014), while torch's `U(-1/sqrt(H), 1/sqrt(H))` shrinks it to 0.58 a step, so that a network would start
            with a signal that vanishes whatever its cell is.
    """

    hidden: tuple[Size, ...] = Field(default=(32,), min_length=1)
    bidirectional: Flag = False
    output: Literal["last", "every"] = "last"
    recurrent_init: InitializationOption = Orthogonal()

    @model_validator(mode="after")
    def _normalizable(self) -> RecurrentOptions:
        for index, (norm, units) in enumerate(zip(self.norms, self.hidden, strict=True)):
            with located(f"hidden.{index}"):
                reason = _WITHOUT_RECURRENT_FORM.get(norm.kind)
                if reason:
                    fix = f"Here {reason}. Use batch, layer or weight."
                    raise NetworkError("norm: " + expectation("a norm with a recurrent form", norm.kind, fix))
                check_norm(norm, units, units)
        return self

    @property
    def norms(self) -> tuple[NormOptions, ...]:
        """The norm of each layer."""
        return norm_of_each(self.norm, len(self.hidden))


class RNNOptions(RecurrentOptions):
    """Options of the plain recurrent network.

    Attributes:
        cell: the activation of the state.
    """

    cell: Literal["tanh", "relu"] = "tanh"


class LSTMOptions(RecurrentOptions):
    """Options of the LSTM.

    Attributes:
        forget_bias: what the bias of the forget gate starts at. At 0 the gate is about 1/2 and the cell forgets
            within a few steps; 1 is the advice of Jozefowicz et al. 2015.
    """

    forget_bias: float = 1.0

    @model_validator(mode="after")
    def _has_a_bias(self) -> LSTMOptions:
        if not self.shift and "forget_bias" in self.model_fields_set:
            fix = "Leave one of them out."
            raise NetworkError("forget_bias: " + expectation("a network that learns a bias", "`shift: false`", fix))
        return self


class RecurrentNetwork(nn.Module, ABC):
    """Recurrent layers over `(B, T, features)` sequences, then a plain linear layer.

    Args:
        in_features: features of a step.
        out_features: outputs, of the sequence or of every step.
        steps: length of the sequences that batch statistics are kept for; later steps share those of the last.
        options: fields of `options_class`: `LSTM(1, 2, hidden=[16], forget_bias=1.0)`.

    Attributes:
        layers: for each layer its one or two `RecurrentLayer`s: forwards, backwards.
        head: the plain linear layer.

    Raises:
        NetworkError: for unknown or wrong options, sizes that are not positive, or layers too small for their norm.
    """

    options_class: ClassVar[type[RecurrentOptions]]

    def __init__(self, in_features: int, out_features: int, steps: int = 1, **options: object) -> None:
        super().__init__()
        self.options = parse(self.options_class, options)
        self.in_features = in_features
        self.out_features = out_features
        self.layers = nn.ModuleList(self._hidden_layers(steps))
        width = self.options.hidden[-1] * self._directions
        self.head = NormalizedLinear(width, out_features, init=self.options.init.for_slope(1.0))

    @property
    def _directions(self) -> int:
        return 2 if self.options.bidirectional else 1

    @property
    @abstractmethod
    def _cell(self) -> CellName:
        """Which formulas the layers have."""

    def _hidden_layers(self, steps: int) -> Iterator[nn.ModuleList]:
        o, width = self.options, self.in_features
        for index, (norm, units) in enumerate(zip(o.norms, o.hidden, strict=True)):
            with located(f"hidden.{index}"):
                yield nn.ModuleList(
                    RecurrentLayer(
                        self._cell,
                        width,
                        units,
                        norm,
                        gain=o.gain,
                        shift=o.shift,
                        eps=o.eps,
                        init=o.init,
                        recurrent_init=o.recurrent_init,
                        steps=steps,
                        forget_bias=getattr(o, "forget_bias", 0.0),
                    )
                    for _ in range(self._directions)
                )
            width = units * self._directions

    @classmethod
    def build(cls, options: NetworkOptions, input_shape: Sequence[int], out_features: int) -> RecurrentNetwork:
        """The network for samples of `input_shape`, `(T, features)`.

        Raises:
            NetworkError: for options of another network, samples that are no sequences, or layers too small.
        """
        own(options, cls.options_class)
        if len(input_shape) != 2:
            fix = "Without an order in time use mlp. The data set sequential_digits has the digits row by row, (8, 8)."
            got = f"`samples of shape {tuple(input_shape)}`"
            raise NetworkError("input_shape: " + expectation("sequences (T, features)", got, fix))
        steps, features = input_shape
        # Only what was set: a bias of the forget gate that nobody asked for contradicts nothing.
        return cls(features, out_features, steps, **{name: getattr(options, name) for name in options.model_fields_set})

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, features)` sequences to `(B, out)`, or to `(B, T, out)` with `output: every`.

        Raises:
            ShapeError: if the rows are no sequences of so many features.
        """
        if x.ndim != 3 or x.shape[2] != self.in_features or not x.shape[1]:
            wanted = f"sequences (B, T, {self.in_features}) with T at least 1"
            raise ShapeError("input: " + expectation(wanted, f"`shape {tuple(x.shape)}`"))
        ends: list[Tensor] = []
        for layers in self.layers:
            directions = []
            assert isinstance(layers, nn.ModuleList)
            for index, layer in enumerate(layers):
                states = layer(x.flip(1) if index else x)
                ends.append(states[:, -1])
                directions.append(states.flip(1) if index else states)
            x = torch.cat(directions, dim=2) if len(directions) > 1 else directions[0]
        last = torch.cat(ends[-self._directions :], dim=1)
        out: Tensor = self.head(x if self.options.output == "every" else last)
        return out


class RNN(RecurrentNetwork):
    """`h' = tanh(W_x x + W_h h + b)` (Elman 1990), or a rectifier in place of the tanh."""

    options_class = RNNOptions
    options: RNNOptions

    @property
    def _cell(self) -> CellName:
        return self.options.cell


class LSTM(RecurrentNetwork):
    """`c' = f c + i g`, `h' = o tanh c'` (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    One bias vector: torch's layer has two, which only their sum can tell apart.
    """

    options_class = LSTMOptions
    options: LSTMOptions

    @property
    def _cell(self) -> CellName:
        return "lstm"


class GRU(RecurrentNetwork):
    """`h' = n + z (h - n)` (Cho et al. 2014, arXiv:1406.1078), the reset gate behind the product as in torch."""

    options_class = RecurrentOptions

    @property
    def _cell(self) -> CellName:
        return "gru"
