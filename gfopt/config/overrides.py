"""`--set K=V`: one value of a study replaced from the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from gfopt.config import yaml_text
from gfopt.config.messages import Place, place, raise_issues
from gfopt.config.plain import PlainData
from gfopt.errors import ConfigError, expectation, located


def apply(data: dict[str, Any], overrides: Iterable[str]) -> list[tuple[Place, str]]:
    """Set the values in `data` itself, in order; returns each place with the text that set it.

    A key that the file does not spell out may be set; whether there is one, the schema decides afterwards.

    Raises:
        ConfigError: if a text is not `K=V`, `V` is no YAML, or no such path exists, with the nearest one.
    """
    changed = []
    for text in overrides:
        key, equals, value = text.partition("=")
        with located(f"--set {text}"):
            if not equals or not key.strip():
                raise ConfigError(expectation("KEY=VALUE, as repeats=3", text))
            changed.append((_set(data, key.strip(), _value(value)), text))
    return changed


def _value(text: str) -> Any:
    reader = PlainData(live=False)
    value = reader.of(yaml_text.parse(text))
    raise_issues(reader.issues, lambda _: "")
    return value


def _set(data: dict[str, Any], key: str, value: Any) -> Place:
    """Put `value` at the dotted `key`; returns its path."""
    tokens = _tokens(key)
    here: Any = data
    path: Place = ()
    while True:
        part, used = _next(here, path, tokens)
        tokens = tokens[used:]
        # What problems and optimizers are called is the user's own: a new name there is more likely a slip.
        if part not in _keys(here) and (path in (("problems",), ("optimizers",)) or tokens):
            if part not in _optional(path):
                raise _no_such_path(data, key, here)
            here[part] = {}
        if not tokens:
            here[part] = value
            return (*path, part)
        if here[part] is None and part in _optional(path):
            here[part] = {}
        here, path = here[part], (*path, part)


def _keys(here: Any) -> Iterable[str | int]:
    return here if isinstance(here, dict) else range(len(here))


def _optional(path: Place) -> tuple[str, ...]:
    """The mappings below `path` that a file may leave out, so that a path through them need not exist yet."""
    if not path:
        return ("budget", "early_stopping", "report", "tune")
    if path == ("tune",):
        return ("budget", "spaces")
    if len(path) == 2 and path[0] == "problems":
        return ("budget", "objective", "subspace", "network", "dataset", "function")
    return ()


def _tokens(key: str) -> list[str]:
    """`["problems", "deep", "hidden", "0"]` of `problems.deep.hidden[0]`."""
    tokens = re.sub(r"\[(\d+)\]", r".\1", key).split(".")
    if not all(tokens):
        raise ConfigError(expectation("keys separated by single dots, as problems.deep.batch_size", key))
    return tokens


def _next(here: Any, path: Place, tokens: list[str]) -> tuple[str | int, int]:
    """The key that leads on from `here`, and how many tokens it takes: a name may contain dots itself.

    Raises:
        ConfigError: if nothing can lead on from `here`.
    """
    if isinstance(here, dict):
        for used in range(len(tokens), 0, -1):
            if ".".join(tokens[:used]) in here:
                return ".".join(tokens[:used]), used
        return tokens[0], 1
    if not isinstance(here, list):
        raise ConfigError(f"{place(path)}: " + expectation("a mapping or a list to go into", here))
    if not re.fullmatch(r"\d{1,9}", tokens[0]) or int(tokens[0]) >= len(here):
        raise ConfigError(f"{place(path)}: " + expectation(f"a position below {len(here)}", tokens[0]))
    return int(tokens[0]), 1


def _no_such_path(data: dict[str, Any], key: str, here: Any) -> ConfigError:
    known = list(_paths(data))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    fix = f"Did you mean {near[0]}?" if near else f"Known there: {', '.join(map(str, here))}."
    return ConfigError(expectation("a path that exists in the study", key, fix))


def _paths(value: Any, path: Place = ()) -> Iterator[str]:
    if path:
        yield place(path)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))
