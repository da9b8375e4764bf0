"""The names in a results folder, and telling such a folder from any other."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gfopt.errors import StoreError, expectation
from gfopt.store.files import is_temporary

SCHEMA_VERSION = 1

STUDY, ENVIRONMENT, REPORT, RUNS = "study.yaml", "environment.json", "report.html", "runs"
TUNING = "tuning"  # the folder of the tunings, one JSON file each
TABLES = {
    "runs": "runs.parquet",
    "curves": "curves.parquet",
    "diagnostics": "diagnostics.parquet",
    "tuning": "tuning.parquet",
    "tuned": "tuned.parquet",
}
JOINED = ("runs", "curves", "tuning", "tuned")  # those that are made of the files below
METADATA = {"gfopt_schema": str(SCHEMA_VERSION)}  # of every parquet file
RUN, CURVE, BEST, DIAGNOSTICS = "run.json", "curve.parquet", "best.safetensors", "diagnostics.parquet"
_OWN_IN_RUN = re.compile(r"run\.json|best\.safetensors|diagnostics\.parquet|(curve|checkpoint)\.[A-Za-z0-9_.-]+")
_KEY = re.compile(r"[0-9a-f]{8,64}")

# The first line of study.yaml: a file of that name without it is the user's own, and is never touched.
HEADER = "# A results folder of gfopt, schema {}. This file is rewritten at every start."
_HEADER = re.compile(re.escape(HEADER).replace(r"\{\}", r"(\d+)"))


def check_key(key: object) -> str:
    """`key` itself if it can be a run's key, and so the name of a folder.

    Raises:
        StoreError: otherwise.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise StoreError(expectation("a run's key, 8 to 64 of the characters 0-9 and a-f", key))
    return key


def is_run(path: Path) -> bool:
    """Whether `path` is named like a run's folder and is a folder of its own, no link."""
    return _KEY.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def is_tuning(path: Path) -> bool:
    """Whether `path` is named like a tuning's file."""
    return path.suffix == ".json" and _KEY.fullmatch(path.stem) is not None


def schema(path: Path) -> int | None:
    """The schema of the results folder at `path`, or `None` if there is nothing yet.

    Raises:
        StoreError: if it is something else than a results folder or an empty one.
    """
    fix = "Choose another folder with --out"
    if not path.exists():
        return None
    if not path.is_dir():
        raise StoreError(expectation("a folder", "`a file`", fix))
    try:
        content = sorted(entry.name for entry in path.iterdir() if not is_temporary(entry))
        with (path / STUDY).open(encoding="utf-8", errors="replace") as file:
            match = _HEADER.match(file.readline(200))
    except FileNotFoundError:
        if not content:
            return None
        got = f"`a folder with {', '.join(content[:3])}{', ...' if len(content) > 3 else ''} and no {STUDY}`"
        raise StoreError(expectation("an empty folder or a results folder", got, fix)) from None
    except OSError as error:
        raise StoreError(expectation("a folder that can be read", f"`{error.strerror}`", fix)) from error
    if match is None:
        got = f"`a folder whose {STUDY} was not written by gfopt`"
        raise StoreError(expectation("an empty folder or a results folder", got, fix))
    return int(match[1])


def check_schema(found: int) -> None:
    """Refuse a folder of another schema.

    Raises:
        StoreError: naming both.
    """
    if found != SCHEMA_VERSION:
        fix = "Use the version of gfopt that wrote it, another folder with --out, or --fresh to start over"
        raise StoreError(expectation(f"a results folder of schema {SCHEMA_VERSION}", f"`schema {found}`", fix))


def check_writable(path: Path) -> None:
    """Refuse a place where nothing can be written.

    Raises:
        StoreError: naming the folder that refuses.
    """
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        got = f"`{place}`, which is {'read-only' if place.is_dir() else 'no folder'}"
        raise StoreError(expectation("a folder that can be written to", got, "Choose another folder with --out"))


def own_files(path: Path) -> list[Path]:
    """What gfopt wrote into the results folder, in an order to remove it in.

    Files of other origin are not among them, even inside a run's folder; nor is `study.yaml`, which says
    whose folder this is and is replaced in one step.

    Raises:
        StoreError: if a folder inside is a link: what it points at may be anybody's.
    """
    found: list[Path] = []
    for folder in sorted((path / RUNS).iterdir()) if _own_folder(path / RUNS) else ():
        if is_temporary(folder):
            found.append(folder)
        elif _KEY.fullmatch(folder.name) and _own_folder(folder):
            inside = sorted(folder.iterdir())
            found += [file for file in inside if _OWN_IN_RUN.fullmatch(file.name) or is_temporary(file)]
            found.append(folder)
    found.append(path / RUNS)
    if _own_folder(path / TUNING):
        inside = sorted((path / TUNING).iterdir())
        found += [file for file in inside if is_tuning(file) or is_temporary(file)]
        found.append(path / TUNING)
    found += [path / name for name in (REPORT, *TABLES.values(), ENVIRONMENT)]
    return found


def _own_folder(path: Path) -> bool:
    if path.is_symlink():
        fix = "Remove the link, or choose another folder with --out"
        raise StoreError(f"{path}: " + expectation("a folder", "`a link`", fix))
    return path.is_dir()
