"""Seed streams, and keeping other libraries' global random numbers to themselves.

Every random number of gfopt comes from a stream that is derived from the study's seed and the names of what it is
for, so that two purposes never share numbers and the order of execution never matters.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np


def derive(*parts: int | str) -> int:
    """A seed in `[0, 2**63)` that depends on every part and on their order, the same on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """A numpy generator of the stream `derive(*parts)`."""
    return np.random.default_rng(derive(*parts))


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Torch's global CPU generator starts at `seed` inside and is put back on exit."""
    import torch

    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """What the block does to the global generator of `random` and to `os.environ` is undone.

    Some libraries draw a number or set a variable while they are imported, which would make a user's own seeded
    program depend on when gfopt imports them.
    """
    state, environment = random.getstate(), dict(os.environ)
    try:
        yield
    finally:
        random.setstate(state)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


class GlobalStreams:
    """Streams for code that draws from the global generators of `random` and `numpy.random`.

    Inside `with streams.active():` the globals continue this object's own streams; on exit they are what they were,
    and the streams remember where they stopped. Not for use from several threads at once.
    """

    def __init__(self, seed: int) -> None:
        self._python = random.Random(seed).getstate()
        self._numpy = dict(np.random.RandomState(seed % 2**32).get_state(legacy=False))

    @contextmanager
    def active(self) -> Iterator[None]:
        """The globals continue this object's streams inside the block."""
        python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        try:
            yield
        finally:
            self._python = random.getstate()
            self._numpy = dict(np.random.get_state(legacy=False))  # noqa: NPY002
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002

    def state_dict(self) -> dict[str, Any]:
        """The streams' positions as plain values and arrays."""
        version, internal, gauss = self._python
        inner = dict(self._numpy["state"])
        return {
            "python": {"version": version, "internal": np.array(internal, dtype=np.uint64), "gauss": gauss},
            "numpy": {
                "key": np.array(inner["key"]),
                "pos": int(inner["pos"]),
                "has_gauss": int(self._numpy["has_gauss"]),
                "gauss": float(self._numpy["gauss"]),
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        python, numpy = state["python"], state["numpy"]
        self._python = (python["version"], tuple(int(v) for v in python["internal"]), python["gauss"])
        self._numpy = {
            "bit_generator": "MT19937",
            "state": {"key": np.asarray(numpy["key"], dtype=np.uint32), "pos": numpy["pos"]},
            "has_gauss": numpy["has_gauss"],
            "gauss": numpy["gauss"],
        }
