"""Study text and plain data: YAML that cannot run code, hide one key behind another, or grow without end."""

from __future__ import annotations

import re
from typing import Any

import yaml

from gfopt.errors import ConfigError, GfoptError

MAX_BYTES = 1_000_000
MAX_NODES = 200_000
_TAG = "tag:yaml.org,2002:"

# The core schema of YAML 1.2. YAML 1.1, PyYAML's own, reads `1e6` as text, `no` as false and `1:30` as 90.
_SCALARS: dict[str, tuple[re.Pattern[str], str]] = {
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    "int": (re.compile(r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+"), "-+0123456789"),
    "float": (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
    "null": (re.compile(r"~|null|Null|NULL|"), "~nN\0"),
    "merge": (re.compile(r"<<"), "<"),
}


class _StudyLoader(yaml.SafeLoader):
    """Plain data only; two equal keys in one mapping are refused, and so is an alias inside itself."""

    yaml_implicit_resolvers = {}
    yaml_constructors = {}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As PyYAML, refusing a key that is given twice."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        f"the key {key.value!r} stands twice in one mapping. Remove one",
                        key.start_mark,
                    )
                seen.add((key.tag, key.value))
        return node

    def construct_scalar_as(self, node: yaml.Node) -> bool | int | float:
        """The value of a node that is tagged as bool, int or float."""
        kind, text = node.tag.removeprefix(_TAG), str(self.construct_scalar(node))  # type: ignore[arg-type]  # refused there
        if not _SCALARS[kind][0].fullmatch(text):
            raise yaml.constructor.ConstructorError(None, None, f"{text!r} is not a {kind}", node.start_mark)
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            return int(text, 0 if text.startswith(("0x", "0o")) else 10)
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()).replace("_", ""))


for _name, (_pattern, _first) in _SCALARS.items():
    _StudyLoader.add_implicit_resolver(
        _TAG + _name, re.compile(rf"^(?:{_pattern.pattern})$"), ["" if c == "\0" else c for c in _first]
    )
for _name in ("bool", "int", "float"):
    _StudyLoader.add_constructor(_TAG + _name, _StudyLoader.construct_scalar_as)
for _name in ("null", "str", "seq", "map"):
    _StudyLoader.add_constructor(_TAG + _name, getattr(_StudyLoader, f"construct_yaml_{_name}"))
_StudyLoader.add_constructor(None, _StudyLoader.construct_undefined)  # type: ignore[type-var]  # stubs name the base


class _StudyDumper(yaml.SafeDumper):
    """Quotes what `parse` would not read as text."""

    yaml_implicit_resolvers = _StudyLoader.yaml_implicit_resolvers

    def ignore_aliases(self, data: object) -> bool:
        """Always: a value that is used twice is written twice."""
        return True


def dump(data: object) -> str:
    """Plain `data` as text that `parse` reads back; keys keep their order."""
    text: str = yaml.dump(data, Dumper=_StudyDumper, sort_keys=False)
    return text


def parse(text: str) -> object:
    """The plain data that `text` describes.

    Raises:
        ConfigError: with line and column if it is no YAML, uses a tag of its own, gives a key twice, or grows
            beyond `MAX_NODES` values through its aliases.
    """
    loader = None
    try:
        loader = _StudyLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MAX_NODES:
            raise ConfigError(f"expected at most {MAX_NODES} values, got more. Use fewer aliases.")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{where}expected YAML, got an error: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"expected text, got the character {_character(error)} at position {error.position}"
        ) from None
    except RecursionError:
        raise ConfigError("expected a few levels of nesting, got too many. Remove brackets.") from None
    except GfoptError:
        raise
    except ValueError as error:
        raise ConfigError(f"expected YAML, got a value that cannot be read: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _character(error: yaml.reader.ReaderError) -> str:
    return repr(chr(error.character)) if isinstance(error.character, int) else repr(error.character)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values below `node` with every alias written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # a node that is met again below itself has no end
        children = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]
