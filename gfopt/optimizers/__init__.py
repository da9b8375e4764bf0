"""Optimizers by name, all behind one contract: ask for rows to evaluate, be told their losses.

Importing this package imports neither torch nor any optimizer; `build` imports the one that is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from gfopt import registry
from gfopt.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gfopt.optimizers.base import Optimizer, Options
    from gfopt.types import Group

__all__ = ["build", "names", "optimizer_class", "options_of"]


def names(usable: bool = False) -> tuple[str, ...]:
    """Names of all optimizers.

    Args:
        usable: only those whose libraries are installed and that run from their name alone, on any continuous
            genome; this imports them.
    """
    known = registry.optimizers.names()
    return tuple(name for name in known if _is_usable(name)) if usable else known


def optimizer_class(kind: str) -> type[Optimizer]:
    """The class behind the name `kind`.

    Raises:
        ConfigError: if it is unknown, with the nearest known name.
    """
    return cast("type[Optimizer]", registry.optimizers.get(kind))


def options_of(kind: str, options: Mapping[str, Any] | Options | None = None) -> Options:
    """Checked options of the optimizer `kind`; those that are not named have their defaults.

    Raises:
        ConfigError: for an unknown optimizer or option, or a value of a wrong type or out of range; the
            message names the option, what was expected and what was got.
    """
    from gfopt.options import parse

    return parse(optimizer_class(kind).options_class, options or {})


def build(
    kind: str,
    options: Mapping[str, Any] | Options | None,
    start: Tensor,
    generator: np.random.Generator,
    *,
    scale: Tensor,
    bounds: tuple[Tensor, Tensor] | None = None,
    groups: Sequence[Group] = (),
) -> Optimizer:
    """The optimizer `kind`, ready for its first `ask`.

    Args:
        kind: its name in the registry.
        options: its options, checked or as a mapping; `None` for the defaults.
        start: `(P, D)` rows to start from; at least `optimizer_class(kind).population_size(options)` of them.
        generator: the stream of the run; nothing else is drawn from.
        scale: `(D,)` standard deviation of each gene under the network's own initialization.
        bounds: `(D,)` lowest and highest admissible values.
        groups: name, slice and shape of every parameter.

    Raises:
        ConfigError: as `options_of`.
        ShapeError: if `start` has too few rows or `scale` another length.
    """
    checked = options_of(kind, options)
    return optimizer_class(kind)(start, checked, generator, scale=scale, bounds=bounds, groups=groups)


def _is_usable(name: str) -> bool:
    from pydantic import ValidationError

    try:
        algorithm = optimizer_class(name)
        algorithm.options_class()
    except (ImportError, ConfigError, ValidationError):  # it lacks a library, is broken, or an option has no default
        return False
    return algorithm.continuous
