"""Compiled passes over whole populations, each instead of several of torch's operations.

They are for a CPU and do what the expressions in their docstrings say; `begin..end` is one thread's share.
"""

from __future__ import annotations

from gfopt.compiled import compiled

BLOCK = 1024  # genes whose sums stay in the first-level cache


@compiled
def breed(begin, end, genomes, parents, mask, noise, deviation, offspring):  # type: ignore[no-untyped-def]
    """Cross the pairs `begin..end` of parents and mutate their children.

    `offspring[2 p] = where(mask[p], mother, father) + deviation * noise[2 p]`, and the other way round.
    """
    for pair in range(begin, end):
        father, mother, swapped = genomes[parents[2 * pair]], genomes[parents[2 * pair + 1]], mask[pair]
        first, second = offspring[2 * pair], offspring[2 * pair + 1]
        first_noise, second_noise = noise[2 * pair], noise[2 * pair + 1]
        for j in range(len(deviation)):
            a, b = father[j], mother[j]
            swap = swapped[j]
            first[j] = (b if swap else a) + deviation[j] * first_noise[j]
            second[j] = (a if swap else b) + deviation[j] * second_noise[j]


@compiled
def spread(begin, end, center, deviation, rows):  # type: ignore[no-untyped-def]
    """`rows = center + deviation * rows`."""
    for i in range(begin, end):
        row = rows[i]
        for j in range(len(center)):
            row[j] = center[j] + deviation[j] * row[j]


@compiled
def spread_mirrored(begin, end, center, deviation, rows, mirrored):  # type: ignore[no-untyped-def]
    """`mirrored = center - deviation * rows`, then `rows = center + deviation * rows`."""
    for i in range(begin, end):
        row, image = rows[i], mirrored[i]
        for j in range(len(center)):
            step = deviation[j] * row[j]
            row[j] = center[j] + step
            image[j] = center[j] - step


@compiled
def weighted_moments(begin, end, rows, center, weight, first, second):  # type: ignore[no-untyped-def]
    """Add `weight @ (rows - center)` to `first`, and that of the squares to `second`, in the blocks of genes."""
    for block in range(begin, end):
        low, high = block * BLOCK, min((block + 1) * BLOCK, len(center))
        middle, one, two = center[low:high], first[low:high], second[low:high]
        for i in range(len(rows)):
            row, share = rows[i, low:high], weight[i]
            for j in range(high - low):
                offset = row[j] - middle[j]
                one[j] += share * offset
                two[j] += share * (offset * offset)
