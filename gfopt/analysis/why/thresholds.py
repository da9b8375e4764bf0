"""From which value on a measured number is worth a sentence, and where that value comes from.

They are set where training visibly suffers, not where a number first looks unusual: a sentence that is always there
explains nothing.
"""

from __future__ import annotations

from typing import Final

LOW_GAIN: Final = 0.5
"""Backward gain per layer below which the signal vanishes: between tanh with torch's own initialization (0.57: it
still trains at 20 layers) and sigmoid with layer normalization (0.40) or without any (0.14)."""

HIGH_GAIN: Final = 1.5
"""Above it the signal explodes: ReLU with batch normalization, which trains, has sqrt(pi / (pi - 1)) = 1.21 (Yang et
al. 2019); tanh with weights of variance 16 / n has 1.54."""

LOST_SHARE: Final = 1e-2
"""Share of the last layer's signal at the first below which the gain matters: one learning rate for all layers then
moves the first a hundred times less. Three sigmoid layers of 100 units with small weights have 2e-3, and SGD stays at
chance for hundreds of steps. A gain above `HIGH_GAIN` counts from 1 / this."""

DEAD_SHARE: Final = 0.5
"""Share of a layer's units that pass nothing on: half of the layer's width is lost."""

SATURATED: Final = 0.5
"""Share of an activation's entries with |f'| < 0.01: half of all paths through the layer carry a hundredth or less."""

SATURATION_GROWTH: Final = 0.25
"""Rise of that share along a run: the drift into saturation that Ioffe & Szegedy (2015) describe."""

SMALL_UPDATE: Final = 1e-5
LARGE_UPDATE: Final = 1e-1
"""Size of a step over the size of the weights: 1e-3 is the usual rule of thumb, two orders of magnitude either side of
it leave the weights as they are, or replace them every ten steps."""

ANGLE_SHRINK: Final = 0.2
"""Last over first mutation angle of a population: a genetic algorithm on a batch-normalized network fell from 0.81 to
0.044 rad in 600 generations while its mutation strength stayed the same."""

BLIND_SPREAD: Final = 1e-3
"""Spread of the loss when the first layer alone is perturbed, over the last layer's: a tanh network of ten layers has
1.3, a sigmoid network 1e-8."""

TIED: Final = 0.5
"""Share of equal losses among perturbations: half of the selections are a coin's."""

RANK_CORRELATION: Final = 0.5
"""Spearman's correlation of minibatch and full loss: below it less than a quarter of the variance of the ranks is
that of the full loss."""

DIVERSITY_LEFT: Final = 0.1
DIVERSITY_EARLY: Final = 0.5
"""A population that keeps less than a tenth of its first diversity before half of its cost is spent."""

IMPROVING: Final = 0.01
"""Share of offspring that improve on their parent: one in a hundred; the 1/5 rule (Rechenberg 1973) shrinks the
mutation long before."""

COSINE: Final = 0.05
"""Cosine of a population's step and the negative gradient: below it more than 20 such steps go as far downhill as
one of equal length along the gradient, to first order (1 / cosine)."""

COVARIATE_SHIFT: Final = 0.1
"""Change of a layer's gradient by the step of the layers below, over its size. Three tanh layers on digits have 0.02 to
0.07 at learning rate 0.1, and 0.20 to 0.34 with batch normalization."""

INPUT_DRIFT: Final = 0.5
"""Move of the means of a layer's input from one step to the next, in standard deviations."""
