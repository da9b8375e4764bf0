"""Compiled random numbers: Philox counters in, whole tiles of numbers out, and one swarm's step that draws as it goes.

Every loop is one that LLVM turns into vector code: no branch, no call, 32-bit lanes. Additions, multiplications,
divisions and square roots are all that is used, each rounded as IEEE 754 says and never fused, so that a number is
the same on every machine, in a vector's lane or alone.

References: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11 (Philox4x32-10); Box
    and Muller 1958, "A note on the generation of random normal deviates".
"""

from __future__ import annotations

import math

import numpy as np

from gfopt.compiled import compiled

# A group is `PLANE` successive counters; it gives four planes of 32-bit words, plane `k` the `k`-th word of each.
PLANE = 128
WORDS = 4 * PLANE
COINS = 32 * WORDS
# Sequences: the counter's upper half, so that two of them never share a counter.
WORD, UNIFORM_32, UNIFORM_64, NORMAL_32, NORMAL_64, COIN = range(6)

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # M0, M1
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # W0, W1: what the key grows by in a round
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

_f4, _f8 = np.float32, np.float64
_BITS_8, _BITS_24, _BITS_26, _BITS_31, _BITS_53 = (2.0**-bits for bits in (8, 24, 26, 31, 53))
_LN_2 = math.log(2)
_ROOT_HALF_32, _ROOT_HALF_64 = np.int32(0x3F3504F3), np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2)
# 2 artanh(s) = log((1 + s) / (1 - s)), and the quarter turn's sine and cosine, as series: in s**2, and in t**2 where
# the angle is t * pi/4. Cut where the rest is below the last bit, for |s| <= 3 - sqrt(8) and |t| <= 1.
_LOG = tuple(2 / (2 * k + 1) for k in range(11))
_SIN = tuple((-1) ** k * (math.pi / 4) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(9))
_COS = tuple((-1) ** k * (math.pi / 4) ** (2 * k) / math.factorial(2 * k) for k in range(9))
_LOG_0, _LOG_1, _LOG_2, _LOG_3, _LOG_4 = (np.float32(c) for c in _LOG[:5])
_SIN_0, _SIN_1, _SIN_2, _SIN_3, _SIN_4 = (np.float32(c) for c in _SIN[:5])
_COS_0, _COS_1, _COS_2, _COS_3, _COS_4 = (np.float32(c) for c in _COS[:5])


@compiled
def philox(seed, first, sequence, words):  # type: ignore[no-untyped-def]
    """`(4, PLANE)` words of the counters from `first` on, 64 bits of key and twice 64 bits of counter; in place."""
    for j in range(PLANE):
        counter = np.uint64(first) + np.uint64(j)
        a, b = counter & _LOW, counter >> _HALF
        c, d = np.uint64(sequence) & _LOW, np.uint64(sequence) >> _HALF
        k0, k1 = np.uint64(seed) & _LOW, np.uint64(seed) >> _HALF
        for _ in range(10):
            p, q = a * _MULTIPLIER_0, c * _MULTIPLIER_1
            a, b, c, d = (q >> _HALF) ^ b ^ k0, q & _LOW, (p >> _HALF) ^ d ^ k1, p & _LOW
            k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
        words[0, j], words[1, j], words[2, j], words[3, j] = np.uint32(a), np.uint32(b), np.uint32(c), np.uint32(d)


@compiled
def fill_words(seed, first, out):  # type: ignore[no-untyped-def]
    """Tiles of `WORDS` uint32 words, all bits random."""
    words = np.empty((4, PLANE), np.uint32)
    for tile in range(len(out) // WORDS):
        philox(seed, (first + tile) * PLANE, WORD, words)
        out[tile * WORDS : (tile + 1) * WORDS] = words.ravel()


@compiled
def fill_coins(seed, first, out):  # type: ignore[no-untyped-def]
    """Tiles of `COINS` bytes, 0 or 1: each bit of a word is a coin."""
    words = np.empty((4, PLANE), np.uint32)
    flat = words.reshape(WORDS)
    for tile in range(len(out) // COINS):
        philox(seed, (first + tile) * PLANE, COIN, words)
        for bit in range(32):
            at = tile * COINS + bit * WORDS
            coins = out[at : at + WORDS]
            for j in range(WORDS):
                coins[j] = np.uint8((flat[j] >> np.uint32(bit)) & np.uint32(1))


@compiled
def unit_32(word):  # type: ignore[no-untyped-def]
    """A float32 of `[0, 1)` from the upper 24 bits of a word."""
    return _f4(np.int32(word >> np.uint32(8))) * _f4(_BITS_24)


@compiled
def unit_64(high, low):  # type: ignore[no-untyped-def]
    """A float64 of `[0, 1)` from the upper 26 and 27 bits of two words."""
    return _f8(np.int32(high >> np.uint32(6))) * _BITS_26 + _f8(np.int32(low >> np.uint32(5))) * _BITS_53


@compiled
def fill_uniform_32(seed, first, out):  # type: ignore[no-untyped-def]
    """Tiles of `WORDS` float32 numbers of `[0, 1)`."""
    words = np.empty((4, PLANE), np.uint32)
    flat = words.reshape(WORDS)
    for tile in range(len(out) // WORDS):
        philox(seed, (first + tile) * PLANE, UNIFORM_32, words)
        numbers = out[tile * WORDS : (tile + 1) * WORDS]
        for j in range(WORDS):
            numbers[j] = unit_32(flat[j])


@compiled
def fill_uniform_64(seed, first, out):  # type: ignore[no-untyped-def]
    """Tiles of `2 * PLANE` float64 numbers of `[0, 1)`."""
    words = np.empty((4, PLANE), np.uint32)
    for tile in range(len(out) // (2 * PLANE)):
        philox(seed, (first + tile) * PLANE, UNIFORM_64, words)
        for pair in range(2):
            at = (2 * tile + pair) * PLANE
            high, low, numbers = words[2 * pair], words[2 * pair + 1], out[at : at + PLANE]
            for j in range(PLANE):
                numbers[j] = unit_64(high[j], low[j])


@compiled
def box_muller_32(radii, angles, first, second):  # type: ignore[no-untyped-def]
    """`(PLANE,)` pairs of float32 normal numbers from as many words for their radii and for their angles.

    A radius is `sqrt(-2 log u)` with `u` in `(0, 1]` of 31 bits: numbers reach 6.7. An angle is a quadrant, two
    bits, and a place in it, 30 bits.
    """
    one, two = _f4(1), _f4(2)
    for j in range(PLANE):
        # u = mantissa * 2**exponent with the mantissa in [sqrt(1/2), sqrt(2))
        u = np.float32((_f4(np.int32(radii[j] >> np.uint32(1))) + _f4(0.5)) * _f4(_BITS_31))
        bits = np.float32(u).view(np.int32)
        exponent = np.int32(np.int32(bits - _ROOT_HALF_32) >> np.int32(23))
        mantissa = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32)
        s = (mantissa - one) / (mantissa + one)
        z = s * s
        log = s * (_LOG_0 + z * (_LOG_1 + z * (_LOG_2 + z * (_LOG_3 + z * _LOG_4)))) + _f4(exponent) * _f4(_LN_2)
        radius = np.sqrt(-two * log)
        angle = angles[j]
        t = _f4(np.int32(angle << np.uint32(2))) * _f4(_BITS_31)
        z = t * t
        sin = t * (_SIN_0 + z * (_SIN_1 + z * (_SIN_2 + z * (_SIN_3 + z * _SIN_4))))
        cos = _COS_0 + z * (_COS_1 + z * (_COS_2 + z * (_COS_3 + z * _COS_4)))
        quarter = (angle & np.uint32(0x40000000)) != np.uint32(0)
        radius = -radius if (angle & np.uint32(0x80000000)) != np.uint32(0) else radius
        first[j] = radius * (sin if quarter else cos)
        second[j] = radius * (-cos if quarter else sin)


@compiled
def box_muller_64(words, first, second):  # type: ignore[no-untyped-def]
    """`(PLANE,)` pairs of float64 normal numbers from `(4, PLANE)` words; 53 bits for a radius: they reach 8.6."""
    for j in range(PLANE):
        u = np.float64(1 - unit_64(words[0, j], words[1, j]))
        bits = np.float64(u).view(np.int64)
        exponent = np.int64((bits - _ROOT_HALF_64) >> np.int64(52))
        mantissa = np.int64(bits - (exponent << np.int64(52))).view(np.float64)
        s = (mantissa - 1) / (mantissa + 1)
        z = s * s
        log = _LOG[10]
        for k in range(9, -1, -1):
            log = log * z + _LOG[k]
        radius = np.sqrt(-2 * (s * log + exponent * _LN_2))
        angle = words[2, j]
        t = 2 * unit_64(np.uint32(angle << np.uint32(2)), words[3, j]) - 1
        z = t * t
        sin, cos = _SIN[8], _COS[8]
        for k in range(7, -1, -1):
            sin, cos = sin * z + _SIN[k], cos * z + _COS[k]
        sin *= t
        quarter = (angle & np.uint32(0x40000000)) != np.uint32(0)
        radius = -radius if (angle & np.uint32(0x80000000)) != np.uint32(0) else radius
        first[j] = radius * (sin if quarter else cos)
        second[j] = radius * (-cos if quarter else sin)


@compiled
def fill_normal_32(seed, first, out):  # type: ignore[no-untyped-def]
    """Tiles of `WORDS` float32 standard normal numbers."""
    words = np.empty((4, PLANE), np.uint32)
    for tile in range(len(out) // WORDS):
        philox(seed, (first + tile) * PLANE, NORMAL_32, words)
        for pair in range(2):
            at = tile * WORDS + 2 * pair * PLANE
            ends = out[at : at + PLANE], out[at + PLANE : at + 2 * PLANE]
            box_muller_32(words[2 * pair], words[2 * pair + 1], ends[0], ends[1])


@compiled
def fill_normal_64(seed, first, out):  # type: ignore[no-untyped-def]
    """Tiles of `2 * PLANE` float64 standard normal numbers."""
    words = np.empty((4, PLANE), np.uint32)
    for tile in range(len(out) // (2 * PLANE)):
        philox(seed, (first + tile) * PLANE, NORMAL_64, words)
        at = 2 * tile * PLANE
        box_muller_64(words, out[at : at + PLANE], out[at + PLANE : at + 2 * PLANE])


@compiled
def move_swarm(  # type: ignore[no-untyped-def]
    seed, first, begin, end, position, velocity, best, leader, fastest, inertia, cognitive, social
):
    """One step of the particles `begin..end`, in place: what `gfopt.optimizers.pso.move` does, in one pass.

    The two uniform numbers of each gene are made a tile ahead of their use. Particle `i` has the float32 tiles
    `first + 2 i T` and the `T - 1` behind for the pull to its own best, and as many after them for the pull to its
    leader's, with `T = ceil(D / WORDS)`.
    """
    own, other = np.empty((4, PLANE), np.uint32), np.empty((4, PLANE), np.uint32)
    dim = position.shape[1]
    tiles = -(-dim // WORDS)
    for i in range(begin, end):
        for tile in range(tiles):
            at = first + 2 * i * tiles + tile
            philox(seed, at * PLANE, UNIFORM_32, own)
            philox(seed, (at + tiles) * PLANE, UNIFORM_32, other)
            for plane in range(4):
                low = min(tile * WORDS + plane * PLANE, dim)
                high = min(low + PLANE, dim)
                x, v, top = position[i, low:high], velocity[i, low:high], fastest[low:high]
                mine, theirs = best[i, low:high], best[leader[i], low:high]
                r, s = own[plane], other[plane]
                for j in range(high - low):
                    pull = cognitive * (unit_32(r[j]) * (mine[j] - x[j]))
                    push = social * (unit_32(s[j]) * (theirs[j] - x[j]))
                    speed = min(max(inertia * v[j] + pull + push, -top[j]), top[j])
                    v[j] = speed
                    x[j] += speed
