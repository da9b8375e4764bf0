"""A study from a file with overrides, or from a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gfopt.config import overrides as override
from gfopt.config import yaml_text
from gfopt.config.build import build
from gfopt.config.cells import Rules
from gfopt.config.messages import Place, raise_issues
from gfopt.config.plain import PlainData
from gfopt.config.schema import StudyConfig
from gfopt.errors import ConfigError, expectation, located


def load(path: str | Path, overrides: Iterable[str] = (), *, allow_code: bool = False) -> StudyConfig:
    """The study in a YAML file.

    A relative path of a data file starts from the study's folder. Without `name` the study is called like its
    file.

    Args:
        path: the file.
        overrides: `K=V` each, as `problems.deep.network.hidden=[64,64]`.
        allow_code: let a network name a Python module, whose code will run.

    Raises:
        ConfigError: listing everything that is wrong, with file, key, expected, got and the fix.
    """
    path = Path(path)
    with located(str(path)):
        data = yaml_text.parse(_read(path))
    if isinstance(data, dict):
        data.setdefault("name", path.stem)
    return _study(data, str(path), overrides, base=path.parent, live=False, allow_code=allow_code)


def from_mapping(
    mapping: Mapping[str, Any],
    *,
    source: str = "study",
    base: str | Path | None = None,
    live: bool = False,
    allow_code: bool | None = None,
) -> StudyConfig:
    """The study that a mapping describes, as a study file does.

    Args:
        mapping: the same keys as in a file; it is not changed.
        source: what messages call it.
        base: the folder that relative paths of data files start from; `None` leaves them as they are.
        live: let `dataset`, `network`, `loss`, `sample_weight` and `trainable` be Python objects; they are
            passed on untouched.
        allow_code: let a network name a Python module, whose code will run; by default as `live`.

    Raises:
        ConfigError: listing everything that is wrong.
    """
    allowed = live if allow_code is None else allow_code
    return _study(mapping, source, (), base=base, live=live, allow_code=allowed)


def _study(
    given: object,
    source: str,
    overrides: Iterable[str],
    *,
    base: str | Path | None,
    live: bool,
    allow_code: bool,
) -> StudyConfig:
    if not isinstance(given, Mapping):
        fix = "A study starts with lines as `name: my-study`; `gfopt new FILE` writes one to begin with."
        with located(source):
            words = {"NoneType": "nothing", "list": "a list", "str": "text"}
            got = words.get(type(given).__name__, type(given).__name__)
            raise ConfigError(expectation("a mapping of keys to values", f"`{got}`", fix))
    reader = PlainData(live=live)
    data = reader.of(given)
    raise_issues(reader.issues, lambda _: source)
    with located(source):
        changed = override.apply(data, overrides)
    if base is not None:
        _anchor_datasets(data, Path(base))

    def source_of(path: Place) -> str:
        text = next((text for where, text in reversed(changed) if path[: len(where)] == where), None)
        return source if text is None else f"{source} with --set {text}"

    return build(data, rules=Rules(live, allow_code), source=source, source_of=source_of)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(yaml_text.MAX_BYTES + 1)
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        fix = f"In its folder: {', '.join(near[:10])}." if near else "`gfopt new FILE` writes one to begin with."
        raise ConfigError(f"expected a study file, got no such file. {fix}") from None
    except IsADirectoryError:
        raise ConfigError("expected a study file, got a folder. Name the YAML file in it.") from None
    except OSError as error:
        raise ConfigError(f"expected a file that can be read, got: {error.strerror or error}") from None
    if len(content) > yaml_text.MAX_BYTES:
        raise ConfigError(f"expected at most {yaml_text.MAX_BYTES} bytes, got more. Is it a study file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"expected UTF-8 text, got byte {content[error.start]:#04x} at position {error.start}"
        ) from None


def _anchor_datasets(data: dict[str, Any], base: Path) -> None:
    """Make relative paths of data files absolute, in grids too."""
    problems = data.get("problems")
    for entry in problems.values() if isinstance(problems, dict) else ():
        if isinstance(entry, dict):
            _anchor(entry.get("dataset"), base)


def _anchor(value: Any, base: Path) -> None:
    if isinstance(value, list):
        for item in value:
            _anchor(item, base)
    elif isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str):
            value["path"] = _absolute(path, base)
        elif isinstance(path, dict) and isinstance(path.get("grid"), list):
            path["grid"] = [_absolute(one, base) if isinstance(one, str) else one for one in path["grid"]]
        _anchor(value.get("grid"), base)


def _absolute(path: str, base: Path) -> str:
    # A path that no file system can hold stays as it is: reading it will say what is wrong.
    if "\0" in path or path.startswith("~"):
        return path
    return str((base / path).absolute())
