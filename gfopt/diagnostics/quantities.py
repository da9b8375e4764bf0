"""The names of everything that is measured, with what each means; loads no torch.

A table of diagnostics has one row per measured number: `quantity` (a key of `QUANTITIES`), `layer` and `name` (0 and
empty for a quantity of the whole run) and `value`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

GRADIENT_NORM: Final = "gradient_norm"
WEIGHT_GRADIENT_NORM: Final = "weight_gradient_norm"
BACKWARD_GAIN: Final = "backward_gain"
SATURATION_FRACTION: Final = "saturation_fraction"
DEAD_SHARE: Final = "dead_share"
UPDATE_RATIO: Final = "update_ratio"
EFFECTIVE_ANGLE: Final = "effective_angle"
ICS_L2: Final = "ics_l2"
ICS_RELATIVE: Final = "ics_relative"
ICS_COSINE: Final = "ics_cosine"
INPUT_MEAN_DRIFT: Final = "input_mean_drift"
INPUT_VARIANCE_DRIFT: Final = "input_variance_drift"
FITNESS_SPREAD: Final = "fitness_spread"
RELATIVE_SPREAD: Final = "relative_spread"
TIE_SHARE: Final = "tie_share"
MINIBATCH_RANK_CORRELATION: Final = "minibatch_rank_correlation"
DIVERSITY: Final = "diversity"
IMPROVING_SHARE: Final = "improving_share"
SELECTION_INTENSITY: Final = "selection_intensity"
PARENTS_REPRESENTED: Final = "parents_represented"
STEP_SIZE: Final = "step_size"
GRADIENT_COSINE: Final = "gradient_cosine"
INVARIANT: Final = "invariant"


@dataclass(frozen=True)
class Quantity:
    """What a name means.

    Attributes:
        meaning: in one line.
        unit: of its values.
        per: `layer`, one value for each layer, parameter or activation; `run`, one for the whole network or population.
    """

    meaning: str
    unit: str
    per: Literal["layer", "run"]


QUANTITIES: dict[str, Quantity] = {
    GRADIENT_NORM: Quantity("norm of dL/dz, the back-propagated signal, summed over samples", "loss per z", "layer"),
    WEIGHT_GRADIENT_NORM: Quantity("norm of dL/dW of the batch's loss, over all weights", "loss per weight", "layer"),
    BACKWARD_GAIN: Quantity("factor of the back-propagated signal per layer on its way to the input", "1", "run"),
    SATURATION_FRACTION: Quantity("share of an activation's entries with |f'(z)| < 0.01", "share", "layer"),
    DEAD_SHARE: Quantity("share of units that pass nothing on for any row of the batch", "share", "layer"),
    UPDATE_RATIO: Quantity("size of the step of a parameter over the size of the parameter", "1", "layer"),
    EFFECTIVE_ANGLE: Quantity("mean angle between a unit's incoming weights before and after a step", "rad", "layer"),
    ICS_L2: Quantity("change of a layer's gradient when only the layers below take their step", "loss/weight", "layer"),
    ICS_RELATIVE: Quantity("that change over the size of the layer's gradient", "1", "layer"),
    ICS_COSINE: Quantity(
        "cosine of a layer's gradients before and after the layers below take their step", "1", "layer"
    ),
    INPUT_MEAN_DRIFT: Quantity("change of the means of a layer's input", "standard deviations", "layer"),
    INPUT_VARIANCE_DRIFT: Quantity("change of the variances of a layer's input", "mean variances", "layer"),
    FITNESS_SPREAD: Quantity("standard deviation of the loss when only this layer is perturbed", "loss", "layer"),
    RELATIVE_SPREAD: Quantity("that spread over the last layer's", "1", "layer"),
    TIE_SHARE: Quantity("1 - distinct losses over losses when only this layer is perturbed", "share", "layer"),
    MINIBATCH_RANK_CORRELATION: Quantity("Spearman's correlation of minibatch and full losses", "1", "run"),
    DIVERSITY: Quantity("mean distance of members to their centroid, root mean square over genes", "scale", "run"),
    IMPROVING_SHARE: Quantity("share of offspring with a lower loss than their parent's", "share", "run"),
    SELECTION_INTENSITY: Quantity("advantage of the parents' mean loss over everybody's", "standard deviations", "run"),
    PARENTS_REPRESENTED: Quantity("share of the generation before that has offspring", "share", "run"),
    STEP_SIZE: Quantity("root mean square change of a gene from its parent or last position", "scale", "run"),
    GRADIENT_COSINE: Quantity("cosine of the population's step and the negative gradient", "1", "run"),
    INVARIANT: Quantity("1 if a transformation leaves the output unchanged, else 0", "0 or 1", "layer"),
}


def as_rows(results: Iterable[Any]) -> list[dict[str, Any]]:
    """The measured numbers of this package's results, one row each: `quantity`, `layer`, `name`, `value`.

    Args:
        results: dataclasses as `LayerGradient` or `GenerationChange`; a field is a measured number if `QUANTITIES`
            knows its name, or the one in its metadata.
    """
    rows = []
    for result in results:
        for field in fields(result):
            quantity = field.metadata.get("quantity", field.name)
            if quantity in QUANTITIES:
                place, name = getattr(result, "layer", 0), getattr(result, "label", getattr(result, "name", ""))
                value = float(getattr(result, field.name))
                rows.append({"quantity": quantity, "layer": place, "name": name, "value": value})
    return rows
