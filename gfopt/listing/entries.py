"""What a study can name, and what is known of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from gfopt import registry
from gfopt.errors import GfoptError, MissingExtraError

KINDS = ("optimizers", "networks", "norms", "datasets", "losses", "functions")


@dataclass(frozen=True)
class Capabilities:
    """What an optimizer can handle, and what a step of it costs.

    Attributes:
        gradient: whether it asks for gradients with its default options.
        max_dim: the largest number of parameters, `None` for any.
        device: `any`, or `cpu` where its state is in main memory.
        continuous: whether genes are real numbers; binary methods know two values.
        evaluations: rows of an ordinary step with the default options; `None` where an option has no default.
    """

    gradient: bool
    max_dim: int | None
    device: str
    continuous: bool
    evaluations: int | None


@dataclass(frozen=True)
class Entry:
    """One name.

    Attributes:
        name: as a study file has it.
        source: the package that it comes from.
        about: one line.
        needs: what has to be there besides, as a data set's folder.
        install: the command that installs what it lacks; empty if it lacks nothing.
        error: why it cannot be used, in words; empty if it can.
        capabilities: of an optimizer that can be imported.
    """

    name: str
    source: str
    about: str = ""
    needs: str = ""
    install: str = ""
    error: str = ""
    capabilities: Capabilities | None = None


def entries(kind: str) -> list[Entry]:
    """All names of a kind in the registry's order; one that cannot be imported has the reason in its place.

    Args:
        kind: of `KINDS`.
    """
    known: registry.Registry = getattr(registry, kind)
    return [_entry(known, name) for name in known.names()]


def _entry(known: registry.Registry, name: str) -> Entry:
    source = known.source(name)
    try:
        found = known.get(name)
    except MissingExtraError as error:
        return Entry(name, source, install=f"pip install 'gfopt[{known.extra(name)}]'", error=str(error))
    except GfoptError as error:
        return Entry(name, source, error=str(error))
    return Entry(
        name,
        source,
        about=_about(found),
        needs=str(getattr(found, "needs", "")),
        capabilities=_capabilities(found) if known is registry.optimizers else None,
    )


def _about(found: Any) -> str:
    """A data set's description, a function's source, or the first line of a class's docstring."""
    for attribute in ("description", "source"):
        text = getattr(found, attribute, None)
        if isinstance(text, str):
            return text
    return (inspect.getdoc(found) or "").partition("\n")[0]


def _capabilities(algorithm: Any) -> Capabilities:
    fields = algorithm.options_class.model_fields.values()
    options = None if any(field.is_required() for field in fields) else algorithm.options_class()
    return Capabilities(
        gradient=bool(algorithm.needs_gradient if options is None else algorithm.uses_gradient(options)),
        max_dim=algorithm.max_dim,
        device=algorithm.device,
        continuous=algorithm.continuous,
        evaluations=None if options is None else algorithm.evaluations_per_step(options),
    )
