"""The study that `gfopt new` writes to begin with."""

from __future__ import annotations

from importlib import resources


def template() -> str:
    """The text of a small study with a comment on every key."""
    return resources.files("gfopt.config").joinpath("template.yaml").read_text(encoding="utf-8")
