"""The compiled loops of recurrent layers: members, tiles of sequences, steps, units.

All steps of a tile of sequences run one after the other, so that state and weights stay in the first-level cache; a
member's tiles know nothing of each other. Threads are the caller's: the code
holds no lock.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from gfopt.compiled import compiled
from gfopt.kernels import instructions as do
from gfopt.kernels import recurrent_cells as cells
from gfopt.kernels.products import ADDED, BIASED, dense

LANES = 8
BYTES = 4
VECTORS = 3  # of sequences in a tile; the last tile may have one more, because four run as two pairs
LSTM, GRU = -1, -2  # kinds of cells; others are the place of a plain cell's activation

# Of any strides, so that callers need not copy; as one signature, so that the code is compiled once.
_ARRAYS = "float32[:,:,:,:], float32[:,:,:], float32[:,:,:], float32[:,:], float32[:,:,:], float32[:,:,:]"
_RESULTS = "float32[:,:,:,::1], float32[:,:,::1]"


@compiled
def tiles_of(sequences):  # type: ignore[no-untyped-def]
    """Tiles that so many sequences fall into."""
    vectors = (sequences + LANES - 1) // LANES
    return max(1, vectors // VECTORS + (vectors % VECTORS == 2))


@compiled
def _span(item, sequences):  # type: ignore[no-untyped-def]
    """Member, first sequence, how many and how many with padding of piece `item` of the work."""
    count = tiles_of(sequences)
    member, tile = item // count, item % count
    start = tile * VECTORS * LANES
    own = sequences - start if tile == count - 1 else VECTORS * LANES
    return member, start, own, (own + LANES - 1) // LANES * LANES


@compiled
def _begin(tile, state, start, own, rows):  # type: ignore[no-untyped-def]
    """`own` columns of a `(H, B)` first state into a tile."""
    for unit in range(len(state)):
        for row in range(own):
            tile[unit * rows + row] = state[unit, start + row]


@compiled
def _lstm_step(w_ih, w_hh, bias, x, h, c, to, inputs, units, rows):  # type: ignore[no-untyped-def]
    """The next cell state in place of `c`, and the next state."""
    for unit in range(units):
        w, u, b = w_ih + BYTES * unit * inputs, w_hh + BYTES * unit * units, bias + BYTES * unit
        own = BYTES * unit * rows
        if rows == 3 * LANES:
            cells.lstm_1x3(w, u, b, x, h, c + own, to + own, inputs, units, rows)
        elif rows == LANES:
            cells.lstm_1x1(w, u, b, x, h, c + own, to + own, inputs, units, rows)
        else:
            for s in range(0, BYTES * rows, BYTES * 2 * LANES):
                at = own + s
                cells.lstm_1x2(w, u, b, x + s, h + s, c + at, to + at, inputs, units, rows)


@compiled
def _gru_step(w_ih, w_hh, bias, x, h, to, inputs, units, rows):  # type: ignore[no-untyped-def]
    """The next state."""
    unit = 0
    while unit < units:
        w, u, b = w_ih + BYTES * unit * inputs, w_hh + BYTES * unit * units, bias + BYTES * unit
        own = BYTES * unit * rows
        if rows == 3 * LANES:
            cells.gru_1x3(w, u, b, x, h, h + own, to + own, inputs, units, rows)
            unit += 1
        elif rows == LANES:
            cells.gru_1x1(w, u, b, x, h, h + own, to + own, inputs, units, rows)
            unit += 1
        else:
            # Three products at a time keep the processor busy with three vectors, or two units of two.
            pair = unit + 2 <= units
            for s in range(0, BYTES * rows, BYTES * 2 * LANES):
                at = own + s
                if pair:
                    cells.gru_2x2(w, u, b, x + s, h + s, h + at, to + at, inputs, units, rows)
                else:
                    cells.gru_1x2(w, u, b, x + s, h + s, h + at, to + at, inputs, units, rows)
            unit += 2 if pair else 1


@compiled
def _rnn_step(activation, w_ih, w_hh, bias, x, h, to, inputs, units, rows):  # type: ignore[no-untyped-def]
    """The next state."""
    dense(w_ih, bias, x, to, inputs, units, rows, BIASED)
    dense(w_hh, 0, h, to, units, units, rows, ADDED)
    do.activate(activation, to, units * rows, np.float32(0))


@partial(compiled, signature=f"void(intp, intp, intp, {_ARRAYS}, {_RESULTS})")
def advance(cell, first, last, x, w_ih, w_hh, bias, h, c, out, ends):  # type: ignore[no-untyped-def]
    """States of one layer in one direction, of some pieces of the work: `tiles_of(B)` for each member.

    Args:
        cell: `LSTM`, `GRU`, or the activation of a plain cell, its place in `ACTIVATIONS`.
        first: number of the first piece.
        last: of the first behind them.
        x: `(P, T, D, B)` inputs, each feature without gaps.
        w_ih: `(P, G, D)`, each member's without gaps.
        w_hh: `(P, G, H)`, each member's without gaps.
        bias: `(P, G)`, each member's without gaps; `(P, 4 H)` of a GRU, whose recurrent product has one of its own.
        h: `(P, H, B)` first state.
        c: `(P, H, B)` first cell state of an LSTM; not looked at for others.
        out: `(P, T, H, B)` receives the states.
        ends: `(P, H, B)` receives the last cell state, of others than an LSTM the last state.
    """
    steps, inputs, sequences, units = x.shape[1], x.shape[2], x.shape[3], out.shape[2]
    apart = x.strides[2] // BYTES  # from one feature to the next
    most = (VECTORS + 1) * LANES
    samples, kept = np.empty(inputs * most, np.float32), np.empty(units * most, np.float32)
    states = np.empty((2, units * most), np.float32)
    for piece in range(first, last):
        member, start, own, rows = _span(piece, sequences)
        # Columns of padding are computed like all others.
        samples[:], states[0], kept[:] = np.float32(0), np.float32(0), np.float32(0)
        _begin(states[0], h[member], start, own, rows)
        if cell == LSTM:
            _begin(kept, c[member], start, own, rows)
        w, u, b = w_ih[member].ctypes.data, w_hh[member].ctypes.data, bias[member].ctypes.data
        at, in_cell = samples.ctypes.data, kept.ctypes.data
        for step in range(steps):
            before, to = states[step % 2].ctypes.data, states[(step + 1) % 2].ctypes.data
            cells.move(at, rows, x[member, step].ctypes.data + BYTES * start, apart, inputs, own)
            if cell == LSTM:
                _lstm_step(w, u, b, at, before, in_cell, to, inputs, units, rows)
            elif cell == GRU:
                _gru_step(w, u, b, at, before, to, inputs, units, rows)
            else:
                _rnn_step(cell, w, u, b, at, before, to, inputs, units, rows)
            cells.move(out[member, step].ctypes.data + BYTES * start, sequences, to, rows, units, own)
        end = in_cell if cell == LSTM else states[steps % 2].ctypes.data
        cells.move(ends[member].ctypes.data + BYTES * start, sequences, end, rows, units, own)
