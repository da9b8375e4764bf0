"""Which layers can have which norm, asked before anything is allocated."""

from __future__ import annotations

from numbers import Integral

from gfopt.errors import NetworkError, expectation
from gfopt.nn.normalization.base import Normalization, NormSpec, norm_class_of, parse_norm


def check_norm(
    norm: NormSpec, in_features: int | None, out_features: int, *, pictures: bool = False
) -> type[Normalization]:
    """The class behind `norm`, if a layer of these sizes can have it; allocates nothing.

    Args:
        norm: a name of `registry.norms`, or options of one.
        in_features: inputs of a unit, or `None` while they are unknown.
        out_features: units.
        pictures: whether the layer is a convolution.

    Raises:
        NetworkError: for an unknown norm, sizes that are not positive whole numbers, a layer too small, or one whose
            kind cannot have the norm.
    """
    options = parse_norm(norm)
    norm_class = norm_class_of(options)
    check_size("out_features", out_features)
    if not pictures:  # a channel has positions too
        _check_least("out_features", "units", out_features, options.kind, norm_class.least_units)
    if in_features is not None:
        check_size("in_features", in_features)
        _check_least("in_features", "inputs", in_features, options.kind, norm_class.least_inputs)
    if norm_class.pictures_only and not pictures:
        fix = f"{norm_class.pictures_only.capitalize()}. Use layer, group or rms."
        raise NetworkError("norm: " + expectation(f"a convolution for {options.kind!r}", "`a dense layer`", fix))
    norm_class.check(options, out_features, pictures=pictures)
    return norm_class


def check_acts_alone(norm_class: type[Normalization], kind: str) -> None:
    """Refuse a norm of weights where there are none.

    Raises:
        NetworkError: naming some that would do.
    """
    if norm_class.acts_on != "activations":
        fix = "Use batch, layer, rms or group, or put it ahead of the activation."
        raise NetworkError(
            "norm: " + expectation("one that acts on activations", f"{kind}, which acts on weights", fix)
        )


def check_output(norm_class: type[Normalization], gain: bool) -> None:
    """Refuse an output layer that cannot fit anything.

    Raises:
        NetworkError: for outputs that are cosines, bounded by 1, without a gain.
    """
    if norm_class.bounded and not gain:
        fix = "Cosines as logits keep the cross-entropy of 10 classes above 0.80. Use gain: true, or no output_norm."
        raise NetworkError(expectation("a gain for outputs between -1 and 1", "`gain: false`", fix))


def check_size(name: str, size: object) -> None:
    """Refuse what is no positive whole number.

    Raises:
        NetworkError: with the name of the argument.
    """
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise NetworkError(f"{name}: " + expectation("a positive whole number", size))


def _check_least(name: str, noun: str, size: int, norm: str, least: int) -> None:
    if size < least:
        fix = "With fewer the output ignores the data; widen it, or use another norm, as 'batch' or 'weight'."
        wanted = f"at least {least} {noun} under the norm {norm!r}"
        raise NetworkError(f"{name}: " + expectation(wanted, size, fix))
