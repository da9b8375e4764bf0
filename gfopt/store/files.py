"""Files that are written whole or not at all, and read back within a size limit."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gfopt.errors import StoreError, expectation, located
from gfopt.store.plain import from_json, from_yaml, to_json

TEXT_LIMIT = 2**26  # bytes; a larger JSON or YAML file was not written by gfopt
_LEFTOVER = re.compile(r"\.gfopt-tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]+")
_LEFTOVER_AGE = 3600.0  # seconds after which nobody writes to a temporary file any more


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path`: a reader sees the old file or the new one, never a part, even after a power cut.

    Raises:
        StoreError: if the system refuses (no space, no permission); `path` is then as it was.
    """
    temporary = path.with_name(temporary_name())
    with explained(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` as UTF-8, atomically.

    Raises:
        StoreError: as `write_bytes`, and if it is larger than what is read back.
    """
    with located(str(path)):
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise StoreError(expectation("text that UTF-8 can hold", text[error.start : error.end])) from error
        if len(data) > TEXT_LIMIT:
            raise StoreError(expectation(f"at most {TEXT_LIMIT} bytes", f"`{len(data)}`"))
    write_bytes(path, data)


def write_json(path: Path, value: object) -> None:
    """Put a plain `value` at `path` as JSON, atomically; NaN and infinities come back from `read_json`.

    Raises:
        StoreError: as `write_text`, and if `value` is not plain.
    """
    with located(str(path)):
        text = to_json(value)
    write_text(path, text)


def write_parquet(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Put a table at `path` as parquet with `metadata` in its schema, atomically.

    Raises:
        StoreError: as `write_bytes`.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(dict(metadata)), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The content of the regular file `path`.

    Raises:
        StoreError: if it is absent, no regular file, unreadable or larger than `limit` bytes.
    """
    with explained(path):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(expectation("a file", "`a folder or a device`"))
        if limit is not None and found.st_size > limit:
            raise StoreError(expectation(f"at most {limit} bytes", f"`{found.st_size}`"))
        return path.read_bytes()


def read_json(path: Path) -> Any:
    """The value that `write_json` put at `path`.

    Raises:
        StoreError: as `read_bytes`, and if the content is not such JSON.
    """
    with _intact(path, "JSON as gfopt writes it"):
        return from_json(read_bytes(path, TEXT_LIMIT).decode())


def read_yaml(path: Path) -> Any:
    """The plain value in the YAML file `path`.

    Raises:
        StoreError: as `read_bytes`, and if the content is not plain YAML.
    """
    with _intact(path, "YAML as gfopt writes it"):
        return from_yaml(read_bytes(path, TEXT_LIMIT).decode())


def read_parquet(path: Path) -> pa.Table:
    """The table at `path`.

    Raises:
        StoreError: as `read_bytes`, and if the content is no whole parquet file.
    """
    with _intact(path, "a whole parquet file"):
        return pq.read_table(pa.BufferReader(read_bytes(path)))


def temporary_name() -> str:
    """A new name for something unfinished; `remove_leftovers` knows it."""
    return f".gfopt-tmp-{_host()}-{os.getpid()}-{secrets.token_hex(6)}"


def is_temporary(path: Path) -> bool:
    """Whether the name comes from `temporary_name`."""
    return _LEFTOVER.fullmatch(path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in `folder`, nothing that may still be written to."""
    for path in folder.iterdir():
        match = _LEFTOVER.fullmatch(path.name)
        if match is not None and _abandoned(path, match[1], int(match[2])):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link (never what it points at) or a folder with its content, if it is there."""
    with explained(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder and its parents, if they are not there.

    Raises:
        StoreError: if the system refuses.
    """
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` last through a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _abandoned(path: Path, host: str, pid: int) -> bool:
    if os.name == "posix" and host == _host():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's process of that number
            pass
    try:
        return time.time() - path.lstat().st_mtime > _LEFTOVER_AGE
    except FileNotFoundError:  # finished in the meantime
        return False


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """The system's errors as a `StoreError` that names the file."""
    with located(str(path)):
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(error.strerror or str(error)) from error


@contextmanager
def _intact(path: Path, expected: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except (ValueError, OSError, pa.ArrowException) as error:
        damage = expectation(expected, f"`something truncated or damaged` ({error})")
        raise StoreError(f"{path}: {damage}") from error
