"""Each sentence appears where its threshold trips, and not on the other side of it."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_diagnostics import fading, rows, table, whole_study

from gfopt import analysis, registry
from gfopt.analysis.why import thresholds as t
from gfopt.analysis.why.search import expected_cosine


def _said(diagnostics, runs=None) -> str:
    return "\n".join(finding.text for finding in analysis.explain(diagnostics, runs))


def _course(quantity, values, **given):
    """A quantity along a run: a value, or values by layer, at each step from 1 on."""
    layered = [value if isinstance(value, list | dict) else {0: value} for value in values]
    return table(*(rows(quantity, value, step=step, **given) for step, value in enumerate(layered, start=1)))


def _nudge(threshold, sign):
    return threshold * (1 + 0.01 * sign)


START_CASES = {
    "dead": ("dead_share", lambda s: [0.0, _nudge(t.DEAD_SHARE, s)], "dead before training: 50 % of layer 2"),
    "saturated": ("saturation_fraction", lambda s: [_nudge(t.SATURATED, s), 0.0], "Saturated before training"),
    "blind": ("relative_spread", lambda s: [_nudge(t.BLIND_SPREAD, -s), 1.0], "hardly sees the first layer"),
    "tied": ("tie_share", lambda s: [0.0, _nudge(t.TIED, s)], "few are distinct"),
    "noisy": ("minibatch_rank_correlation", lambda s: {0: _nudge(t.RANK_CORRELATION, -s)}, "selection picks noise"),
}


@pytest.mark.parametrize("case", START_CASES)
def test_before_training_a_sentence_needs_its_threshold(case):
    quantity, values, sentence = START_CASES[case]
    assert sentence.split(":")[0] in _said(table(rows(quantity, values(+1))))
    assert _said(table(rows(quantity, values(-1)))) == ""


COURSES = {
    "saturating": ("saturation_fraction", lambda s: [[0.1], [0.1 + _nudge(t.SATURATION_GROWTH, s)]], "drifts into sat"),
    "dead after": ("dead_share", lambda s: [[0.0], [_nudge(t.DEAD_SHARE, s)]], "Units dead after training"),
    "small": ("update_ratio", lambda s: [[_nudge(t.SMALL_UPDATE, -s)]] * 2, "Steps are tiny"),
    "large": ("update_ratio", lambda s: [[_nudge(t.LARGE_UPDATE, s)]] * 2, "Steps are large"),
    "angle": ("effective_angle", lambda s: [[0.5], [0.5 * _nudge(t.ANGLE_SHRINK, -s)]], "project_neutral"),
    "diversity": (
        "diversity",
        lambda s: [1.0, 0.5, _nudge(t.DIVERSITY_LEFT, -s), 0.01, 0.01, 0.01],
        "loses its diversity in the first half",
    ),
    "stuck": ("improving_share", lambda s: [_nudge(t.IMPROVING, -s)] * 3, "Hardly any offspring"),
    "cosine": ("gradient_cosine", lambda s: [_nudge(t.COSINE, -s)] * 3, "almost at right angles"),
    "shift": ("ics_relative", lambda s: [[0.0, _nudge(t.COVARIATE_SHIFT, s)]] * 3, "Internal covariate shift"),
    "drift": ("input_mean_drift", lambda s: [[_nudge(t.INPUT_DRIFT, s)]] * 3, "chase a moving target"),
}
POPULATION = rows("step_size", {0: 0.1}, norm="batch", optimizer="ga", step=1)


@pytest.mark.parametrize("case", COURSES)
def test_along_a_run_a_sentence_needs_its_threshold(case):
    quantity, values, sentence = COURSES[case]
    backprop = case in ("small", "large")
    for sign in (+1, -1):
        measured = _course(quantity, values(sign), norm="batch", optimizer="ga")
        if not backprop:
            measured = pd.concat([measured, pd.DataFrame(POPULATION)])
        said = _said(measured)
        assert (sentence in said) is (sign > 0), said
        assert ("ga" in said) is (sign > 0)


def test_a_vanishing_gradient_names_gain_layer_share_and_what_helps():
    found = table(rows("gradient_norm", fading(0.14), norm="none"), rows("gradient_norm", fading(1.03), norm="batch"))
    assert _said(found) == (
        "Before training, backward gain 0.14 per layer without normalization: layer 1 receives 1.5e-7 of the output's "
        "signal, so backprop hardly moves the first layers; with batch normalization the backward gain is 1.03 instead "
        "of 0.14."
    )


@pytest.mark.parametrize(
    ("gain", "layers", "said"),
    [
        (0.49, 12, "hardly moves the first layers"),
        (0.51, 12, ""),  # the share is lost, but slowly
        (0.2, 3, ""),  # a low gain over too few layers to matter
        (1.51, 20, "throws the first ones far off"),
        (1.49, 20, ""),
        (1.6, 4, ""),
    ],
)
def test_gain_and_share_must_both_be_out_of_range(gain, layers, said):
    found = _said(table(rows("gradient_norm", fading(gain, layers))))
    assert said in found
    assert bool(found) is bool(said)


def test_the_recorded_gain_counts_before_the_slope():
    found = table(rows("gradient_norm", fading(0.14)), rows("backward_gain", {0: 0.25}))
    assert "backward gain 0.25 per layer:" in _said(found)


def test_cells_that_say_the_same_share_a_sentence():
    cells = [rows("gradient_norm", fading(gain), norm=norm) for norm, gain in (("none", 0.14), ("weight", 0.24))]
    (finding,) = analysis.explain(table(*cells))
    assert "; likewise 0.24 with weight normalization (1.1e-5)" in finding.text
    dead = [rows("dead_share", [0.75], norm=norm) for norm in ("none", "batch", "layer")]
    assert "75 % of layer 1 without normalization and with batch and layer normalization" in _said(table(*dead))


def test_more_arms_than_a_sentence_holds_are_counted():
    cells = [rows("dead_share", [0.6 + 0.05 * k], norm=f"n{k}") for k in range(6)]
    said = _said(table(*cells))
    assert said.startswith("Units dead before training: 85 % of layer 1 with n5 normalization")
    assert "and the like in 3 more" in said


def test_at_most_three_sentences_on_a_cell_the_important_ones_first():
    alone = analysis.explain(whole_study(norms=("none",)))
    assert [f.text.split(":")[0].split(",")[0] for f in alone] == [
        "Before training",
        "Gradient-free search hardly sees the first layer",
        "Training drifts into saturation",
    ]
    found = analysis.explain(whole_study())
    assert [f.topic for f in found] == sorted((f.topic for f in found), reverse=True)


def test_ties_are_part_of_the_sentence_on_blindness():
    said = _said(table(rows("relative_spread", [1e-8, 1.0]), rows("tie_share", [0.96875, 0.0])))
    assert "is 1e-8 (only 3.1 % of those losses differ)" in said
    assert "few are distinct" not in said


def test_search_steps_may_be_large():
    ga = _course("update_ratio", [[0.5]] * 3, optimizer="ga")
    assert "Steps are large" in _said(ga)
    assert "Steps" not in _said(pd.concat([ga, pd.DataFrame(rows("diversity", {0: 1}, optimizer="ga", step=1))]))
    runs = pd.DataFrame({"optimizer": ["ga"], "backward_samples": [0.0], "status": ["ok"]})
    assert _said(ga, runs) == ""


@pytest.mark.parametrize(
    ("norm", "said"), [("batch", True), ("layer", False), ('{"kind":"weight","gain":false}', True)]
)
def test_only_rows_that_are_scale_invariant_shrink_their_angle(norm, said):
    angles = _course("effective_angle", [[0.8], [0.04]], norm=norm, optimizer="ga")
    population = pd.DataFrame(rows("diversity", {0: 1}, norm=norm, optimizer="ga", step=1))
    assert ("from 0.8 to 0.04 rad by ga" in _said(pd.concat([angles, population]))) is said


def test_backprop_slows_down_without_a_sentence():
    assert _said(_course("effective_angle", [[0.8], [0.01]], norm="batch", optimizer="adam")) == ""


def test_covariate_shift_is_relative_to_the_unnormalized_network():
    shift = [
        _course("ics_relative", [[0, s]] * 2, norm=n, optimizer="sgd") for n, s in (("none", 0.07), ("batch", 0.34))
    ]
    (finding,) = analysis.explain(pd.concat(shift))
    assert "34 % at layer 2 by sgd with batch normalization (7 % by sgd without normalization)" in finding.text
    assert "need not reduce this shift" in finding.text
    assert finding.topic == "fact"


def test_cosine_is_compared_with_what_as_many_evaluations_can_know():
    measured = pd.concat(
        [
            _course("gradient_cosine", [0.01] * 2, optimizer="es"),
            pd.DataFrame(rows("diversity", {0: 1}, optimizer="es")),
        ]
    )
    runs = pd.DataFrame({"optimizer": ["es"], "dim": [1210.0], "evaluations": [640.0], "steps": [10], "status": "ok"})
    assert "cosine 0.01 (mirrored sampling with as many evaluations: 0.16) by es" in _said(measured, runs)
    assert "mirrored" not in _said(measured)


def test_expected_cosine_against_sampling():
    """Mirrored sampling of a linear loss recovers the gradient's projection on the span of its normal perturbations."""
    rng = np.random.default_rng(0)
    pairs, dim, found = 32, 1210, []
    for _ in range(20):
        noise = rng.normal(size=(pairs, dim))
        estimate = noise.T @ noise[:, 0]  # of the loss x_0
        found.append(estimate[0] / np.linalg.norm(estimate))
    assert np.mean(found) == pytest.approx(expected_cosine(pairs, dim), rel=0.05)


def test_invariances_of_the_network_are_facts():
    names = ["layers.0.row_scale.network", "layers.0.weight_scale.network", "layers.0.weight_scale.layer"]
    held = [rows("invariant", {1: 1}, name=name, norm="batch") for name in names]
    data = [rows("invariant", {0: 1}, name="data_scale.network", norm="batch")]
    other = [rows("invariant", {1: 0}, name=name, norm="none") for name in names]
    (finding,) = analysis.explain(table(*held, *data, *other))
    assert finding.text == (
        "With batch normalization, scaling each unit's incoming weights in layer 1 and scaling all inputs leaves the "
        "output as it is."
    )
    broken = rows("invariant", {1: 0}, name=names[0], norm="batch", repeats=1)
    assert "each unit's" not in _said(table(*held, broken))


def test_medians_over_repeats_decide():
    two = rows("dead_share", [0.9], repeats=3)
    two[0]["value"] = 0.0
    assert "90 %" in _said(table(two))
    two[1]["value"] = 0.0
    assert _said(table(two)) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0])
def test_no_value_breaks_a_sentence(value):
    whole = whole_study(norms=("none",))
    for part in (whole["step"] >= 0, whole["step"] == 300, whole["layer"] == 1):
        assert "nan" not in _said(whole.assign(value=whole["value"].mask(part, value))).lower()


@pytest.mark.parametrize("repeats", [1, 2])
def test_one_repeat_one_layer_and_missing_columns(repeats):
    assert _said(table(rows("gradient_norm", [1e-9], repeats=repeats))) == ""
    assert _said(table(rows("relative_spread", [1.0], repeats=repeats))) == ""
    bare = table(rows("gradient_norm", fading(0.1), repeats=repeats))
    bare = bare[["problem", "repeat", "quantity", "layer", "value"]]
    assert "backward gain 0.1 per layer: layer 1 receives 1e-8" in _said(bare)


def test_nothing_measured_gives_no_sentence():
    assert analysis.explain(None) == analysis.explain(pd.DataFrame()) == []
    assert analysis.explain(table(rows("unheard_of", [1.0]))) == []
    assert analysis.explain(whole_study().assign(value=math.nan)) == []


def test_the_verdict_says_why_at_most_twice_a_panel(study):
    study.diagnostics = whole_study(["deep"])
    found = analysis.findings(study.runs, study.curves, study.diagnostics, baseline="adam")
    why = [f.text for f in found if f.topic == "why"]
    assert len(why) == 2
    assert why[0].startswith("On deep, before training, backward gain 0.15 per layer without normalization")
    brief = analysis.verdicts(study.runs, study.curves, study.diagnostics, baseline="adam")
    assert set(why) < set(brief)
    assert len(brief) < len(found)


def test_norms_whose_rows_have_no_size_are_those_that_say_so():
    from gfopt.analysis.why.steps import ROW_INVARIANT

    assert {name for name in registry.norms.names() if registry.norms.get(name).neutral == "rows"} == ROW_INVARIANT
