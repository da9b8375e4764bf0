"""A small study as text, and what tests of the command line share."""

from __future__ import annotations

from pathlib import Path

BASE = """
name: small
seed: 3
repeats: 1
budget: {evaluations: 40}
problems:
  flowers:
    dataset: {name: iris}
    network: {kind: mlp, hidden: [4]}
    batch_size: 32
optimizers:
  adam: {kind: adam}
  ga: {kind: deap-ga, population: 8}
"""

# Each name stands for five times the one before: 5^12 ones from a few lines.
BOMB = "a: &a [1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 5)}]\n"
    for before, name in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


def content(folder=Path()):
    """Every file and folder below, with its bytes."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def changed(old, new, text=BASE):
    assert old in text
    return text.replace(old, new)
