"""The page of a study that tunes says what was chosen, what it brought and what it cost."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd

from gfopt.report.page import render
from gfopt.report.tuned import tuning

TUNED = pd.DataFrame(
    {
        "tuning": ["a", "b", "c"],
        "problem": ["p", "p", "p"],
        "network.norm": ["batch", "batch", "batch"],
        "optimizer": ["adam", "<b>ga</b>", "initial"],
        "kind": ["adam", "deap-ga", "initial"],
        "base": ["adam", "ga", "initial"],
        "status": ["ok", "ok", "untuned"],
        "message": ["", "", "nothing of initial is tuned: it declares no search space"],
        "trials": [20, 20, 0],
        "sampler": ["tpe", "tpe", "tpe"],
        "metric": ["validation_accuracy", "validation_accuracy", None],
        "objective": [0.9, 0.8, math.nan],
        "default": [0.7, 0.8, math.nan],
        "options.learning_rate": [0.0123456, math.nan, math.nan],
        "options.crossover": [None, "neuron", None],
        "forward_equivalents": [2e5, 2e5, math.nan],
        "runs_forward_equivalents": [1e5, 1e5, 10.0],
    }
)


def test_a_line_each_with_choice_gain_and_costs():
    found = tuning(TUNED)
    first, second = found.rows
    assert first[:3] == ("p, norm=batch", "adam", "learning_rate 0.0123")
    assert second[2] == "crossover neuron"
    assert first[4:6] == ("0.7", "0.9")
    assert found.effort.startswith("20 trials each")
    assert found.untuned == ["nothing of initial is tuned: it declares no search space"]


def test_a_study_without_tuning_has_no_section(small):
    assert tuning(None) is tuning(TUNED.iloc[:0]) is None
    assert 'id="tuning"' not in render(small)


def test_the_page_shows_it_and_hostile_names_stay_text(small):
    page = render(SimpleNamespace(**vars(small), tuned=TUNED))
    assert 'href="#tuning"' in page
    assert "&lt;b&gt;ga&lt;/b&gt;" in page
    assert "<b>ga</b>" not in page
    assert "Nothing of initial is tuned: it declares no search space." in page
