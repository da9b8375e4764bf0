"""What a study ran on: versions, processor, code and command, so that a result can be explained later."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "gfopt", "torch", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "deap", "pyswarms", "pydantic",
    "PyYAML", "safetensors", "cloudpickle", "plotly", "matplotlib",
)  # fmt: skip
_GIT_SECONDS = 5.0


def environment() -> dict[str, Any]:
    """Plain values: date (UTC), command line, python, platform, cpu, memory in bytes, packages, git."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "count": os.cpu_count(), "usable": _usable_cpus()},
        "memory": _memory(),
        "packages": _versions(),
        "git": _git(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree, or without an extra
            continue
    return found


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _usable_cpus() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory() -> int | None:
    if not hasattr(os, "sysconf") or not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _git() -> dict[str, Any] | None:
    """Commit and whether tracked files were changed, of the working folder; `None` outside a repository."""
    commit = _git_output("rev-parse", "--verify", "HEAD")
    changes = _git_output("status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _git_output(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):  # no git, or a working folder that does not answer
        return None
    return done.stdout if done.returncode == 0 else None
