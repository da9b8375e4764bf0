"""Runs in a fresh interpreter: the same rows there, a state resumed there, and what a run changes in a process."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gfopt.optimizers.base import Optimizer
from gfopt.testing import driving
from gfopt.testing.state_files import read_state, write_state

CUT = 3  # steps before the state is written; as many follow in the other process
_PLACES = ("random", "numpy", "torch", "threads", "handlers", "level", "environment", "files")

# What is compared lies before the first import of gfopt, so that importing counts.
_SCRIPT = f"""
import logging, os, random, sys
import numpy as np, torch
def state():
    legacy = [v.tolist() if hasattr(v, "tolist") else v for v in np.random.get_state()]
    return [random.getstate(), legacy, torch.get_rng_state().tolist(), torch.get_num_threads(),
            [repr(handler) for handler in logging.root.handlers], logging.root.level, dict(os.environ), os.listdir()]
before = state()
from gfopt.testing.other_process import answer
digests = answer(sys.argv[1])
import json
print(json.dumps([digests, [name for name, a, b in zip({_PLACES!r}, before, state()) if a != b]]))
"""


@dataclass(frozen=True)
class Elsewhere:
    """What a fresh interpreter found.

    Attributes:
        whole: of each kind a digest of a run from its start.
        resumed: of each kind a digest of the steps after the state that was written here.
        failed: kinds that raised an error, here or there, with its text; they have no digests.
        changed: what importing and running left changed there, as `environment`.
        errors: what it wrote to standard error.
    """

    whole: Mapping[str, str]
    resumed: Mapping[str, str]
    failed: Mapping[str, str]
    changed: tuple[str, ...]
    errors: str


def elsewhere(options: Mapping[str, Mapping[str, Any]], folder: Path) -> Elsewhere:
    """Run every kind of `options`, with its options, in one fresh interpreter that starts in the empty `folder`.

    Raises:
        RuntimeError: if it failed, with its standard error.
    """
    request, place = folder / "request", folder / "place"
    request.mkdir()
    place.mkdir()
    failed = _ask(options, request)
    # A variable that torch sets when it is first needed: it would be there already.
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT, str(request)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONHASHSEED": "12345"},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found, changed = json.loads(done.stdout)
    return Elsewhere(found["whole"], found["resumed"], {**found["failed"], **failed}, tuple(changed), done.stderr)


def _ask(options: Mapping[str, Mapping[str, Any]], request: Path) -> dict[str, str]:
    """Write the options, and the state of each kind after a few steps; the kinds that failed, with the reason."""
    asked: list[tuple[str, dict[str, Any]]] = []
    failed = {}
    for kind, given in options.items():
        try:
            optimizer = _build(kind, given)
            held = driving.walk(optimizer, last=CUT).batch
            write_state(request / f"{len(asked)}.npz", {"optimizer": optimizer.state_dict(), "held": held})
        except Exception as error:  # noqa: BLE001 - one that fails must not fail the others, which share a process
            failed[kind] = repr(error)
        else:
            asked.append((kind, dict(given)))
    (request / "kinds.json").write_text(json.dumps(asked), encoding="utf-8")
    return failed


def answer(request: str) -> dict[str, dict[str, str]]:
    """Digests of whole and of resumed runs, of each kind of the request; called in the other process."""
    folder = Path(request)
    whole, resumed, failed = {}, {}, {}
    for number, (kind, given) in enumerate(json.loads((folder / "kinds.json").read_text(encoding="utf-8"))):
        try:
            whole[kind] = driving.fingerprint(kind, given)
            state = read_state(folder / f"{number}.npz")
            optimizer = _build(kind, given, seed=99)
            optimizer.load_state_dict(state["optimizer"])
            resumed[kind] = driving.digest(driving.walk(optimizer, CUT, held=state["held"]))
        except Exception as error:  # noqa: BLE001 - as above
            failed[kind] = repr(error)
    return {"whole": whole, "resumed": resumed, "failed": failed}


def _build(kind: str, options: Mapping[str, Any], seed: int = 0) -> Optimizer:
    """The optimizer whose run `driving.fingerprint` digests."""
    return driving.make(kind, size=driving.smallest(kind, 6, **options), seed=seed, **options)


def surroundings() -> list[Any]:
    """What a run must leave as it was: global random numbers, logging, the environment."""
    state = dict(np.random.get_state(legacy=False))  # noqa: NPY002 - the global one is what is looked at
    return [
        random.getstate(),
        json.dumps(state, default=lambda value: value.tolist()),
        torch.get_rng_state().tolist(),
        list(logging.root.handlers),
        logging.root.level,
        dict(os.environ),
    ]
