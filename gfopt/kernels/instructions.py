"""What a kernel does to a tile, as functions that compiled code calls: activations, statistics, losses.

Products are in `products`. Tiles and addresses are those of `emit`.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.extending import intrinsic

from gfopt.kernels import vectors as v
from gfopt.kernels.emit import add_to_sums, each, each_vector, load, same, store, there, typed, variable
from gfopt.kernels.program import ACTIVATIONS
from gfopt.kernels.vectors import FLOAT, INDEX, INT32, INTEGERS, LANES, Builder, Value


def _leaky(b: Builder, x: Value, slope: Value) -> Value:
    return b.select(b.fcmp_ordered("<", x, v.constant(0.0)), b.fmul(x, slope), x)


def _elu(b: Builder, x: Value, alpha: Value) -> Value:
    below = b.fmul(v.expm1(b, v.minimum(b, x, v.constant(0.0))), alpha)
    return b.select(b.fcmp_ordered("<", x, v.constant(0.0)), below, x)


def _selu(b: Builder, x: Value, _: Value) -> Value:
    # Klambauer et al. 2017, arXiv:1706.02515
    return b.fmul(_elu(b, x, v.constant(1.6732632423543772)), v.constant(1.0507009873554805))


def _gelu(b: Builder, x: Value, _: Value) -> Value:
    one_plus = b.fadd(v.constant(1.0), v.erf(b, b.fmul(x, v.constant(0.5**0.5))))
    return b.fmul(b.fmul(x, v.constant(0.5)), one_plus)


def _silu(b: Builder, x: Value) -> Value:
    x = v.maximum(b, x, v.constant(-87.0))  # below it, the sigmoid no longer shrinks
    return b.fmul(x, v.sigmoid(b, x))


def _step(b: Builder, x: Value, _: Value) -> Value:
    below = b.select(b.fcmp_ordered("<", x, v.constant(0.0)), v.constant(0.0), x)  # NaN stays
    return b.select(b.fcmp_ordered(">=", x, v.constant(0.0)), v.constant(1.0), below)


# The number is a slope, or ELU's alpha.
_ACTIVATIONS: dict[str, Callable[[Builder, Value, Value], Value]] = {
    "tanh": lambda b, x, _: v.tanh(b, x),
    "sigmoid": lambda b, x, _: v.sigmoid(b, x),
    "relu": lambda b, x, _: v.maximum(b, x, v.constant(0.0)),
    "leaky_relu": _leaky,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": lambda b, x, _: _silu(b, x),
    "softplus": lambda b, x, _: v.softplus(b, x),
    "hardtanh": lambda b, x, _: v.maximum(b, v.minimum(b, x, v.constant(1.0)), v.constant(-1.0)),
    "sin": lambda b, x, _: v.sin(b, x),
    "step": _step,
}


def _activate(b: Builder, code: Value, address: Value, count: Value, number: Value) -> None:
    after = b.append_basic_block("activated")
    choice = b.switch(code, after)
    for i, name in enumerate(ACTIVATIONS):
        case = b.append_basic_block("activation")
        choice.add_case(INDEX(i), case)
        b.position_at_end(case)
        slope = v.splat(b, number)
        with each_vector(b, count) as place:
            store(b, _ACTIVATIONS[name](b, load(b, address, place), slope), address, place)
        b.branch(after)
    b.position_at_end(after)


@intrinsic
def activate(_typing, code, address, count, number):  # type: ignore[no-untyped-def]
    """Activation `code` of `count` numbers, in place; `number` is its option."""
    return typed(3, _activate, number=True)


def _standardize(b: Builder, y: Value, units: Value, rows: Value, centred: Value, of_length: Value, eps: Value) -> None:
    one = v.constant(1.0)
    count = v.splat(b, b.sitofp(units, FLOAT))
    with each_vector(b, rows) as place:
        total, squares = variable(b, v.constant(0.0)), variable(b, v.constant(0.0))
        with there(b, centred), each(b, units) as unit:
            here = b.add(b.mul(unit, rows), place)
            b.store(b.fadd(b.load(total), load(b, y, here)), total)
        mean = b.fdiv(b.load(total), count)
        with each(b, units) as unit:
            z = b.fsub(load(b, y, b.add(b.mul(unit, rows), place)), mean)
            b.store(v.fma(b, z, z, b.load(squares)), squares)
        floor = v.splat(b, eps)
        root = v.square_root(b, b.fadd(b.fdiv(b.load(squares), count), floor))
        length = v.maximum(b, v.square_root(b, b.load(squares)), floor)
        lengthwise = v.splat(b, b.icmp_signed("!=", of_length, INDEX(0)))
        factor = b.fdiv(one, b.select(lengthwise, length, root))
        with each(b, units) as unit:
            here = b.add(b.mul(unit, rows), place)
            store(b, b.fmul(b.fsub(load(b, y, here), mean), factor), y, here)


@intrinsic
def standardize(_typing, y, units, rows, centred, of_length, eps):  # type: ignore[no-untyped-def]
    """Every sample by its own statistics over `units` features, in place.

    `(z - mu) / sigma` with `sigma = sqrt(mean (z - mu)^2 + eps)`, or with `of_length` `max(|z - mu|, eps)`; `mu` is 0
    unless `centred`.
    """
    return typed(5, _standardize, number=True)


def _affine(b: Builder, y: Value, x: Value, units: Value, rows: Value, minus: Value, times: Value, plus: Value) -> None:
    with each(b, units) as unit:
        parts = [variable(b, v.constant(number)) for number in (0.0, 1.0, 0.0)]
        for part, address in zip(parts, (minus, times, plus), strict=True):
            with there(b, address):
                b.store(same(b, address, unit), part)
        start = b.mul(unit, rows)
        mean, factor, shift = map(b.load, parts)
        with each_vector(b, rows) as place:
            here = b.add(start, place)
            store(b, v.fma(b, b.fsub(load(b, x, here), mean), factor, shift), y, here)


@intrinsic
def affine(_typing, y, x, units, rows, minus, times, plus):  # type: ignore[no-untyped-def]
    """`y = (x - minus) * times + plus` feature by feature; an address of 0 leaves a part out."""
    return typed(7, _affine)


def _add(b: Builder, y: Value, x: Value, count: Value) -> None:
    with each_vector(b, count) as place:
        store(b, b.fadd(load(b, y, place), load(b, x, place)), y, place)


@intrinsic
def add(_typing, y, x, count):  # type: ignore[no-untyped-def]
    """`y + x` of `count` numbers, in place."""
    return typed(3, _add)


def _accumulate(b: Builder, sums: Value, y: Value, units: Value, rows: Value, count: Value, means: Value) -> None:
    lanes = ir.Constant(INTEGERS, list(range(LANES)))
    end = v.splat(b, b.trunc(count, INT32))
    around = b.icmp_signed("!=", means, INDEX(0))
    with each(b, units) as unit:
        mean = variable(b, v.constant(0.0))
        with b.if_then(around):
            b.store(same(b, means, unit), mean)
        total = variable(b, v.constant(0.0))
        start = b.mul(unit, rows)
        with each_vector(b, rows) as place:
            z = b.fsub(load(b, y, b.add(start, place)), b.load(mean))
            z = b.select(v.splat(b, around), b.fmul(z, z), z)
            number = b.add(v.splat(b, b.trunc(place, INT32)), lanes)
            inside = b.icmp_signed("<", number, end)
            b.store(b.fadd(b.load(total), b.select(inside, z, v.constant(0.0))), total)
        add_to_sums(b, sums, b.mul(unit, INDEX(LANES)), b.load(total))


@intrinsic
def accumulate(_typing, sums, y, units, rows, count, means):  # type: ignore[no-untyped-def]
    """Add the first `count` samples of every feature to its eight float64 sums; with `means`, squared distances."""
    return typed(6, _accumulate)


def _cross_entropy(
    b: Builder, total: Value, z: Value, classes: Value, rows: Value, target: Value, share: Value
) -> None:
    with each_vector(b, rows) as place:
        top = variable(b, load(b, z, place))
        with each(b, classes) as label:
            logit = load(b, z, b.add(b.mul(label, rows), place))
            best = b.load(top)
            # A NaN among the logits has to win, whichever comes first.
            b.store(b.select(b.fcmp_unordered(">", logit, best), logit, best), top)
        wanted = load(b, target, place, INTEGERS)
        of_target, partition = variable(b, v.constant(0.0)), variable(b, v.constant(0.0))
        highest = b.load(top)
        with each(b, classes) as label:
            logit = b.fsub(load(b, z, b.add(b.mul(label, rows), place)), highest)
            b.store(b.fadd(b.load(partition), v.exp(b, logit)), partition)
            mine = b.icmp_signed("==", v.splat(b, b.trunc(label, INT32)), wanted)
            b.store(b.select(mine, logit, b.load(of_target)), of_target)
        loss = b.fsub(v.log(b, b.load(partition)), b.load(of_target))
        add_shares(b, total, loss, share, place)


def add_shares(b: Builder, total: Value, loss: Value, share: Value, place: Value) -> None:
    """Weighted losses onto the eight sums; samples without weight count as nothing, whatever their loss."""
    weight = load(b, share, place)
    counts = b.fcmp_unordered("!=", weight, v.constant(0.0))
    counted = b.select(counts, b.fmul(loss, weight), v.constant(0.0))
    add_to_sums(b, total, INDEX(0), counted)


@intrinsic
def cross_entropy(_typing, total, z, classes, rows, target, share):  # type: ignore[no-untyped-def]
    """Add each sample's `share` of `-log softmax(z)[target]` to eight float64 sums; targets are 32-bit integers."""
    return typed(6, _cross_entropy)


def _squared_error(
    b: Builder, total: Value, z: Value, columns: Value, rows: Value, target: Value, share: Value
) -> None:
    count = v.splat(b, b.sitofp(columns, FLOAT))
    with each_vector(b, rows) as place:
        squares = variable(b, v.constant(0.0))
        with each(b, columns) as column:
            here = b.add(b.mul(column, rows), place)
            error = b.fsub(load(b, z, here), load(b, target, here))
            b.store(v.fma(b, error, error, b.load(squares)), squares)
        add_shares(b, total, b.fdiv(b.load(squares), count), share, place)


@intrinsic
def squared_error(_typing, total, z, columns, rows, target, share):  # type: ignore[no-untyped-def]
    """Add each sample's `share` of the mean squared error to eight float64 sums; targets lie as the outputs do."""
    return typed(6, _squared_error)
