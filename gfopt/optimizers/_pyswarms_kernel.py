"""A swarm's step as one compiled pass, bit for bit that of pyswarms' operators on numpy's legacy random numbers.

pyswarms draws two numbers a gene from the Mersenne Twister, all of the first kind before any of the second, and makes
about ten temporaries of `(P, D)`. Here two copies of the twister, the second of them `P D` numbers ahead, feed one pass
over the swarm, so that nothing of that size is ever made. Every operation is rounded as pyswarms' arrays round it.

References: Matsumoto and Nishimura 1998, "Mersenne Twister", ACM TOMACS 8(1). The numbers in `[0, 1)` are those of its
    authors' `genrand_res53`, which is what `numpy.random.uniform(0, 1)` gives.
"""

from __future__ import annotations

import numpy as np

from gfopt.compiled import compiled

WORDS, MIDDLE = 624, 397  # of the twister's state: its length, and how far away the word is that is mixed in
NUMBERS = WORDS // 2  # that one state gives, two words each
HIGH_BIT, LOW_BITS = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
MATRIX, MASK_B, MASK_C = np.uint32(0x9908B0DF), np.uint32(0x9D2C5680), np.uint32(0xEFC60000)


@compiled
def _word(this, following, mixed):  # type: ignore[no-untyped-def]
    """One word of the next state."""
    bits = (this & HIGH_BIT) | (following & LOW_BITS)
    return mixed ^ (bits >> np.uint32(1)) ^ (MATRIX * (bits & np.uint32(1)))


@compiled
def _twist(key):  # type: ignore[no-untyped-def]
    """The next state, `(624,)` words in place; loops without a branch, which become vector code."""
    rest = WORDS - MIDDLE
    for i in range(rest):
        key[i] = _word(key[i], key[i + 1], key[i + MIDDLE])
    for i in range(rest, WORDS - 1):
        key[i] = _word(key[i], key[i + 1], key[i - rest])
    key[WORDS - 1] = _word(key[WORDS - 1], key[0], key[MIDDLE - 1])


@compiled
def _numbers(key, words, out):  # type: ignore[no-untyped-def]
    """The `(312,)` numbers in `[0, 1)` of a state; `words` is `(624,)` of scratch space."""
    for i in range(WORDS):
        word = key[i]
        word = np.uint32(word ^ (word >> np.uint32(11)))
        word = np.uint32(word ^ ((word << np.uint32(7)) & MASK_B))
        word = np.uint32(word ^ ((word << np.uint32(15)) & MASK_C))
        words[i] = np.uint32(word ^ (word >> np.uint32(18)))
    for i in range(NUMBERS):
        # 27 and 26 bits: as signed numbers, which the processor converts eight at a time.
        high, low = np.int32(words[2 * i] >> np.uint32(5)), np.int32(words[2 * i + 1] >> np.uint32(6))
        out[i] = (high * 67108864.0 + low) * 2.0**-53


@compiled
def _ahead(key, used, count):  # type: ignore[no-untyped-def]
    """Go on by `count` numbers without making them; how many of the state, now another, are used up."""
    used += count
    while used > NUMBERS:  # as in numpy, a state that is used up is renewed when the next number is wanted
        _twist(key)
        used -= NUMBERS
    return used


@compiled
def _align(key, pos):  # type: ignore[no-untyped-def]
    """The same stream with an even number of words used up, which is returned; `key` changes in place.

    Any 624 words in a row are a state: a window that is one word further on has used up one less.
    """
    if pos % 2 == 0:
        return pos
    following = _word(key[0], key[1], key[MIDDLE])
    for i in range(WORDS - 1):
        key[i] = key[i + 1]
    key[WORDS - 1] = following
    return pos - 1


@compiled
def move(position, velocity, personal, leaders, inertia, pulls, fastest, key, pos):  # type: ignore[no-untyped-def]
    """New velocities and positions, in place; how many words of the state `key`, advanced in place, are used up.

    Args:
        position: `(P, D)` float32 or float64.
        velocity: `(P, D)` float64.
        personal: `(P, D)` the particles' own best positions, of the dtype of `position`.
        leaders: `(P,)` index of the particle whose best position each one follows.
        inertia: share of the velocity that is kept (`w`).
        pulls: towards the own and towards the leader's best position (`c1`, `c2`).
        fastest: `(D,)` float64 highest speed of each gene; infinite for none.
        key: `(624,)` uint32 state of the Mersenne Twister.
        pos: words of that state that are used up, 0 to 624.
    """
    count, dim = position.shape
    used = _align(key, pos) // 2
    second_key = key.copy()
    used_second = _ahead(second_key, used, count * dim)
    words = np.empty(WORDS, dtype=np.uint32)
    first, second = np.empty(NUMBERS), np.empty(NUMBERS)
    _numbers(key, words, first)
    _numbers(second_key, words, second)
    cognitive, social = pulls
    for row in range(count):
        place, speed, own, best = position[row], velocity[row], personal[row], personal[leaders[row]]
        gene = 0
        while gene < dim:
            if used == NUMBERS:
                _twist(key)
                _numbers(key, words, first)
                used = 0
            if used_second == NUMBERS:
                _twist(second_key)
                _numbers(second_key, words, second)
                used_second = 0
            length = min(dim - gene, NUMBERS - used, NUMBERS - used_second)
            for i in range(length):
                at = gene + i
                here = place[at]
                towards_own = (cognitive * first[used + i]) * np.float64(own[at] - here)
                towards_best = (social * second[used_second + i]) * np.float64(best[at] - here)
                new = (inertia * speed[at] + towards_own) + towards_best
                limit = fastest[at]
                new = -limit if new <= -limit else new
                new = limit if new >= limit else new
                speed[at] = new
                place[at] = np.float64(here) + new
            gene, used, used_second = gene + length, used + length, used_second + length
    key[:] = second_key
    return 2 * used_second
