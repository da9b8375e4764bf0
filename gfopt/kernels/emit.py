"""What instructions are made of: loads, stores and loops over the vectors of a tile, as LLVM code.

A tile holds some features of `rows` samples, `rows` a multiple of eight: feature by feature, each with all its samples
side by side (feature-major), so that every instruction works on eight samples at once and no sum runs across lanes.
Addresses are integers, as numpy gives them, of float32 numbers; nothing here checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from gfopt.kernels import vectors as v
from gfopt.kernels.vectors import FLOAT, INDEX, LANES, VECTOR, Builder, Value

Emit = Callable[..., None]

WIDE = ir.VectorType(ir.DoubleType(), LANES)


def typed(count: int, emit: Emit, *, number: bool = False) -> tuple[Any, Callable[..., Any]]:
    """What numba wants of an intrinsic: the types of `count` integers and perhaps a number, and what to emit."""

    def generate(context: Any, builder: Builder, _signature: Any, values: tuple[Value, ...]) -> Any:
        emit(builder, *values)
        return context.get_dummy_value()

    return types.void(*(types.intp,) * count, *(types.float32,) * number), generate


def at(b: Builder, address: Value, offset: Value, kind: ir.Type = FLOAT) -> Value:
    """A pointer to entry `offset` behind `address`."""
    return b.gep(b.inttoptr(address, kind.as_pointer()), [offset])


def load(b: Builder, address: Value, offset: Value, kind: ir.VectorType = VECTOR) -> Value:
    """A vector of consecutive entries."""
    found = b.load(b.bitcast(at(b, address, offset, kind.element), kind.as_pointer()))
    found.align = 4
    return found


def store(b: Builder, value: Value, address: Value, offset: Value) -> None:
    """Write a vector to consecutive entries."""
    kind = value.type
    b.store(value, b.bitcast(at(b, address, offset, kind.element), kind.as_pointer())).align = 4


def add_to_sums(b: Builder, sums: Value, place: Value, numbers: Value) -> None:
    """Numbers onto eight float64 sums; in float32, thousands of terms would cost digits."""
    store(b, b.fadd(load(b, sums, place, WIDE), b.fpext(numbers, WIDE)), sums, place)


def same(b: Builder, address: Value, offset: Value) -> Value:
    """One number, in all lanes."""
    return v.splat(b, b.load(at(b, address, offset)))


def variable(b: Builder, start: Value) -> Value:
    """A place on the stack, which LLVM turns into a register."""
    return cgutils.alloca_once_value(b, start)


@contextmanager
def each(b: Builder, count: Value) -> Iterator[Value]:
    """A loop over the numbers below `count`."""
    with cgutils.for_range(b, count) as loop:
        yield loop.index


@contextmanager
def each_vector(b: Builder, rows: Value) -> Iterator[Value]:
    """A loop over the vectors of one feature, each by the number of its first sample."""
    with cgutils.for_range_slice(b, INDEX(0), rows, INDEX(LANES), INDEX) as (place, _):
        yield place


def there(b: Builder, address: Value) -> Any:
    """A block for where there is something at all."""
    return b.if_then(b.icmp_signed("!=", address, INDEX(0)))
