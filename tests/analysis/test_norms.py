import json

import numpy as np
import pytest

from gfopt import analysis
from gfopt.analysis.norms import norm_kind, norm_names, with_norm, with_norms


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("batch", "batch"),
        ({"kind": "group", "groups": 4}, "group (groups 4)"),
        ({"kind": "batch", "gain": False, "eps": 1e-3}, "batch (no gain, eps 0.001)"),
        ({"kind": "batch", "shift": True}, "batch"),
        (["batch", "layer", "none"], "batch, layer, none"),
        (["none"] * 7 + [{"kind": "group", "groups": 2}], "7 x none, group (groups 2)"),
        (np.array(["batch", "batch"]), "batch, batch"),
        (None, "none"),
    ],
)
def test_a_norm_has_one_name_as_value_and_as_json(value, name):
    assert analysis.norm_name(value) == name
    if isinstance(value, dict | list):
        assert analysis.norm_name(json.dumps(value, separators=(",", ":"))) == name


def test_text_that_is_no_json_stays():
    assert analysis.norm_name("{mine") == "{mine"


def test_names_that_would_read_the_same_are_told_apart():
    assert norm_names(["batch", '{"kind":"batch"}', "none"]) == {
        "batch": "batch",
        '{"kind":"batch"}': '{"kind":"batch"}',
        "none": "none",
    }


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        (None, ""),
        (float("nan"), ""),
        ("none", "without normalization"),
        ("batch", "with batch normalization"),
        ("whitening", "with whitening"),
        ("group (groups 4)", "with group normalization (groups 4)"),
        ("batch, layer, none", "with the norms batch, layer, none"),
    ],
)
def test_words_for_a_sentence(norm, words):
    assert with_norm(norm) == words


def test_several_norms_in_one_phrase():
    assert with_norms(["batch", "none", "layer"]) == "without normalization and with batch and layer normalization"
    assert with_norms(["batch", "whitening"]) == "with batch normalization and with whitening"
    assert with_norms([None]) == ""
    assert norm_kind("group (groups 4)") == "group"


def test_cells_carry_the_readable_name(toy):
    given = {"network.norm": '["batch","layer"]'}
    ((cell, _),) = analysis.split_cells(toy({"a": [[(0, 1.0)]]}, **given).runs)
    assert (cell.norm, cell.label, cell.panel) == ("batch, layer", "p, norm=[batch, layer]", "p")
    assert cell.grid == (("network.norm", '["batch","layer"]'),)
