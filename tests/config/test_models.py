from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfopt.config.models import NAME_LENGTH, CodeReference, check_name
from gfopt.errors import ConfigError


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=NAME_LENGTH) | st.text("aB3._-/\\ ", max_size=8))
def test_an_accepted_name_is_one_harmless_folder(name: str) -> None:
    try:
        check_name(name)
    except ConfigError:
        return
    assert Path("results", name).parts == ("results", name)
    assert name.isascii()
    assert ".." not in name
    assert name[0].isalnum()


@pytest.mark.parametrize("name", ["a", "7", "quick-start_2.1", "A" * NAME_LENGTH])
def test_usual_names_are_accepted(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", "-a", "_a", ".hidden", "a/b", "a\\b", "a b", "é", "a\n", "a" * 101]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        check_name(name)


def test_a_code_reference_finds_the_attribute() -> None:
    assert CodeReference(module="pathlib:Path.home").load() == Path.home


@pytest.mark.parametrize(
    ("module", "parts"),
    [
        (
            "no_such_package_at_all:make",
            ("a module no_such_package_at_all that can be imported", "PYTHONPATH"),
        ),
        ("pathlib:Pathh", ("expected an attribute of pathlib, got 'Pathh'", "Did you mean 'Path'?")),
        (
            "pathlib:Path.hoome",
            ("expected an attribute of pathlib, got 'Path.hoome'", "Did you mean 'home'?"),
        ),
    ],
)
def test_a_code_reference_to_nothing_is_refused(module: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        CodeReference(module=module).load()
    assert [part for part in parts if part not in str(caught.value)] == []


def test_code_that_fails_on_import_is_named_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_network_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match="broken_network_module that can be imported, got `ZeroDivisionError"
    ) as caught:
        CodeReference(module="broken_network_module:make").load()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("module", ["a.b", "a:", ":b", "a b:c", "../a:b", "a:b()", "a.:b"])
def test_only_names_can_be_a_code_reference(module: str) -> None:
    with pytest.raises(ValueError, match="string_pattern_mismatch"):
        CodeReference(module=module)
