"""Names of this package and of others: when they are imported, and what is said of those that cannot be."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint

import pytest

from gfopt import registry
from gfopt.errors import ConfigError, MissingExtraError
from gfopt.registry import Registry

KINDS = {
    "optimizers": registry.optimizers,
    "networks": registry.networks,
    "norms": registry.norms,
    "datasets": registry.datasets,
    "losses": registry.losses,
    "functions": registry.functions,
}


def make(monkeypatch, *foreign, form="instance", base="builtins:int"):
    """A registry of two own names, with entry points of other packages."""
    points = [EntryPoint(name, value, "gfopt.things") for name, value in foreign]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "gfopt.things" else [])
    table = {"one": "string:digits", "extra": "no_such_module:thing [cma]"}
    return Registry("thing", table, base=base, form=form)


@pytest.mark.parametrize("plural", KINDS)
def test_other_packages_use_the_group_of_the_plural(plural):
    assert KINDS[plural].group == f"gfopt.{plural}"


@pytest.mark.parametrize("plural", KINDS)
def test_the_packages_own_are_what_others_have_to_be(plural):
    known = KINDS[plural]
    for name in known.names():
        if not known.extra(name):
            point = EntryPoint(name, known._own[name].value, known.group)
            assert known._load_foreign(point) is known.get(name)


def test_foreign_names_follow_the_own_ones_in_order(monkeypatch):
    known = make(monkeypatch, ("zeta", "sys:maxsize"), ("eta", "sys:maxsize"))
    assert known.names() == ("one", "extra", "eta", "zeta")
    assert known.get("eta") == sys.maxsize
    assert known.get("one") == "0123456789"


def test_an_unknown_name_is_refused_with_the_nearest(monkeypatch):
    known = make(monkeypatch, ("zeta", "sys:maxsize"))
    with pytest.raises(ConfigError, match=re.escape("expected a known thing, got 'zetta'. Did you mean 'zeta'?")):
        known.get("zetta")


def test_a_missing_library_names_the_extra_to_install(monkeypatch):
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'gfopt[cma]'")):
        make(monkeypatch).get("extra")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:thing", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("string:nothing", "module 'string' has no attribute 'nothing'"),
        ("string:digits", "to be an instance of builtins:int, got '0123456789'"),
    ],
)
def test_a_broken_package_fails_where_it_is_named_and_nowhere_else(value, words, monkeypatch):
    known = make(monkeypatch, ("bad", value), ("good", "sys:maxsize"))
    assert known.names() == ("one", "extra", "bad", "good")
    assert known.loadable() == ("one", "good")
    with pytest.raises(ConfigError, match=re.escape(words)):
        known.get("bad")
    assert words in known.failure("bad")
    assert known.failure("good") == ""


@pytest.mark.parametrize(
    ("form", "value", "fits"),
    [
        ("instance", "sys:maxsize", True),
        ("instance", "builtins:bool", False),
        ("subclass", "builtins:bool", True),
        ("subclass", "sys:maxsize", False),
        ("either", "sys:maxsize", True),
        ("either", "builtins:bool", True),
        ("either", "builtins:str", False),
    ],
)
def test_a_foreign_object_is_of_the_form_that_is_asked(form, value, fits, monkeypatch):
    assert bool(make(monkeypatch, ("it", value), form=form).failure("it")) != fits


@pytest.mark.parametrize("points", [[("one", "sys:maxsize")], [("two", "sys:maxsize"), ("two", "sys:maxsize")]])
def test_a_name_that_two_packages_claim_is_nobodys(points, monkeypatch):
    known = make(monkeypatch, *points, ("free", "sys:maxsize"))
    name = points[0][0]
    assert known.names().count(name) == 1
    with pytest.raises(ConfigError, match=f"the thing {name!r} is defined twice: .* Uninstall one of them"):
        known.get(name)
    assert known.get("free") == sys.maxsize
    assert known.source(name) == "gfopt, gfopt"
