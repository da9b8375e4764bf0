"""How a normalization reads in legends, tables and sentences, however the study file gave it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from gfopt.analysis.wording import listing

NONE = "none"
_MANY = 3  # from so many equal neighbours on, a list of norms says how many they are
_PHRASES = {
    "weight_mean": "weight and mean-only batch normalization",
    "mean": "mean-only batch normalization",
    "weight_standardization": "weight standardization",
    "centred_weight": "centred weight normalization",
    "whitening": "whitening",
    "iternorm": "IterNorm",
    "ghost": "ghost batch normalization",
    "batch_renorm": "batch renormalization",
    "filter_response": "filter response normalization",
}


def norm_name(value: object) -> str:
    """The name of a normalization: `group (groups 4)`, `batch, layer, none`; plain names stay as they are.

    Args:
        value: a name, a mapping with a `kind`, a list with one of them per layer, or the JSON text of these, which is
            how the tables hold them.
    """
    return _named(_read(value))


def norm_names(values: Iterable[str]) -> dict[str, str]:
    """The name of each value; values that would read the same, as `batch` and `{"kind":"batch"}`, stay as they are."""
    named = {value: norm_name(value) for value in values}
    taken = list(named.values())
    return {value: name if taken.count(name) == 1 else value for value, name in named.items()}


def norm_kind(name: str) -> str:
    """The kind in a name: `group` of `group (groups 4)`."""
    return name.partition(" (")[0]


def with_norm(norm: object) -> str:
    """`with batch normalization`, `without normalization`, or nothing where no norm is varied."""
    if norm is None or norm is pd.NA or norm != norm:
        return ""
    if norm == NONE:
        return "without normalization"
    name = str(norm)
    kind = norm_kind(name)
    if not kind.isidentifier():
        return f"with the norms {name}" if "," in name else f"with {name} normalization"
    phrase = _PHRASES.get(kind, f"{kind} normalization")
    return f"with {phrase}{name[len(kind) :]}"


def with_norms(norms: Sequence[object]) -> str:
    """`without normalization and with batch and layer normalization`: `with_norm` of several."""
    suffix = " normalization"
    phrases = [with_norm(norm) for norm in norms]
    plain = [
        p.removeprefix("with ").removesuffix(suffix) for p in phrases if p.startswith("with ") and p.endswith(suffix)
    ]
    rest = [phrase for phrase in phrases if not (phrase.startswith("with ") and phrase.endswith(suffix))]
    together = [f"with {listing(plain)}{suffix}"] if plain else []
    return (
        listing([*rest[:1], *together, *rest[1:]])
        if rest[:1] == ["without normalization"]
        else listing([*together, *rest])
    )


def _read(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value  # a name like any other
    return value


def _named(value: Any) -> str:
    if isinstance(value, Mapping):
        options = [_option(str(name), given) for name, given in value.items() if name != "kind" and given is not True]
        kind = str(value.get("kind", "norm"))
        return f"{kind} ({', '.join(options)})" if options else kind
    if isinstance(value, list | tuple):
        counted = [(name, len(list(group))) for name, group in groupby(_named(item) for item in value)]
        return ", ".join(f"{n} x {name}" if n >= _MANY else ", ".join([name] * n) for name, n in counted)
    return NONE if value is None else str(value)


def _option(name: str, value: object) -> str:
    words = name.replace("_", " ")
    if value is False or value is None:
        return f"no {words}"
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
