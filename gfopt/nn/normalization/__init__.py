"""Every normalization in one place, as one idea: `h = f(g * (x - mu) / sigma + b)`.

A layer computes `z = W x`; a normalization takes away a mean `mu` and divides by a size `sigma`; the gain
`g` and the shift `b` give scale and place back. The members differ only in what `mu` and `sigma` are and
over which axes:

| name                   | mu                   | sigma                       | over                                  |
|------------------------|----------------------|-----------------------------|---------------------------------------|
| none                   | 0                    | 1                           |                                       |
| batch                  | mean of z            | sqrt(var z + eps)           | the batch, for each unit              |
| mean                   | mean of z            | 1                           | the batch, for each unit              |
| ghost                  | mean of z            | sqrt(var z + eps)           | parts of the batch, for each unit     |
| batch_renorm           | as batch, corrected towards running averages       |                                       |
| whitening, iternorm    | mean of z            | root of the covariance      | the batch, for each group of units    |
| layer                  | mean of z            | sqrt(var z + eps)           | the units, for each sample            |
| rms                    | 0                    | sqrt(mean z^2 + eps)        | the units, for each sample            |
| group                  | mean of z            | sqrt(var z + eps)           | a group of units, for each sample     |
| instance               | mean of z            | sqrt(var z + eps)           | positions, each channel and sample    |
| filter_response        | 0                    | sqrt(mean z^2 + eps)        | positions, each channel and sample    |
| weight                 | 0                    | max(|w|, eps)               | the inputs, for each unit             |
| centred_weight         | mean of w            | max(|w - mu|, eps)          | the inputs, for each unit             |
| weight_standardization | mean of w            | standard deviation of w     | the inputs, for each unit             |
| weight_mean            | as weight, then the mean of z over the batch       |                                       |
| spectral               | 0                    | largest singular value of W | the whole weight                      |
| cosine                 | 0                    | max(|w|, eps) max(|x|, eps) | the inputs, each unit and sample      |
| pearson                | means of w and of x  | as cosine, of the centred   | the inputs, each unit and sample      |

In a convolution units are channels, inputs are the patch under the kernel, and statistics of activations run
over the positions too. Virtual batch normalization is `batch` under a problem's `bn_mode: reference`.

Variances are biased (divided by the count). There is never a bias in front of a normalization: batch
statistics would cancel it, and an optimizer would search a direction without effect. For the same reason
`none` and `mean` have no gain: it would only repeat what the weight can do.

Members of a population may be stacked in dense layers: with weights `(P, out, in)`, gains and shifts `(P, out)`
or `(out,)`, and inputs `(P, B, in)` or `(B, in)`, every formula holds for each member by itself. The first axis
of the weight tells members from the steps of a sequence.
"""

from gfopt.nn.normalization.base import (
    NO_NORM,
    ActivationNorm,
    Identity,
    Neutral,
    Normalization,
    NormOption,
    NormOptions,
    NormsOption,
    NormSpec,
    norm_class_of,
    norm_of_each,
    parse_norm,
)
from gfopt.nn.normalization.batch import BatchDependent
from gfopt.nn.normalization.checks import check_acts_alone, check_norm, check_output
from gfopt.nn.normalization.layers import (
    NormalizedConv2d,
    NormalizedLayer,
    NormalizedLinear,
    NormLayer,
)
from gfopt.nn.normalization.statistics import RowStatistics

__all__ = [
    "NO_NORM",
    "ActivationNorm",
    "BatchDependent",
    "Identity",
    "Neutral",
    "NormLayer",
    "NormOption",
    "NormOptions",
    "NormSpec",
    "Normalization",
    "NormalizedConv2d",
    "NormalizedLayer",
    "NormalizedLinear",
    "NormsOption",
    "RowStatistics",
    "check_acts_alone",
    "check_norm",
    "check_output",
    "norm_class_of",
    "norm_of_each",
    "parse_norm",
]
