"""`chain: [ga, adam]` in a study: optimizers that the study has under these names, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfopt.config import grid
from gfopt.config.messages import Issue
from gfopt.errors import expectation

KEY = "chain"


def expanded(given: Any, others: Mapping[str, Any], issues: list[Issue]) -> Any:
    """The entry `{chain: [...]}` as `{kind: chain, stages: [...]}`, what stands for names written out.

    A stage is the name of another entry or of a kind, or a mapping `{kind: name, share: ..., ...}` whose other keys are
    options, in place of the entry's. An entry of any other form comes back as it is.

    Args:
        given: the entry, without grids.
        others: all entries of the section, by name.
        issues: of what is wrong, with places relative to the entry.
    """
    if not isinstance(given, Mapping) or KEY not in given:
        return given
    stages = given[KEY]
    if not isinstance(stages, list):
        issues.append(Issue((KEY,), expectation("a list of optimizers, as [ga, adam]", stages)))
        return None
    if extra := [key for key in given if key != KEY]:
        text = expectation("`chain` alone", f"`{', '.join(map(str, extra))}` beside it", "Options stand in its stages.")
        issues.append(Issue((extra[0],), text))
        return None
    before = len(issues)
    written = [_stage(stage, others, issues, place) for place, stage in enumerate(stages)]
    return {"kind": "chain", "stages": written} if len(issues) == before else None


def _stage(given: Any, others: Mapping[str, Any], issues: list[Issue], place: int) -> Any:
    own = {"kind": given} if isinstance(given, str) else given
    name = own.get("kind") if isinstance(own, Mapping) else None
    entry = others.get(name) if isinstance(name, str) else None
    if not isinstance(entry, Mapping):  # the name of a kind, or something that is refused where stages are
        return given
    if KEY in entry or entry.get("kind") == "chain":
        issues.append(Issue((KEY, place), expectation("an optimizer other than a chain", name)))
    elif grid.find(entry, (), []):
        issues.append(Issue((KEY, place), expectation("an optimizer without a grid", name, "Write its options out.")))
    return {**entry, **{key: value for key, value in own.items() if key != "kind"}}
