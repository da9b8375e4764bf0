import subprocess
import sys
from dataclasses import fields

import pytest

from gfopt import diagnostics
from gfopt.diagnostics import (
    QUANTITIES,
    GenerationChange,
    GroupUpdate,
    InputDrift,
    Invariance,
    LayerGradient,
    LayerSaturation,
    LayerShift,
    LayerSpread,
    as_rows,
    quantities,
)

RESULTS = (
    GenerationChange,
    GroupUpdate,
    InputDrift,
    Invariance,
    LayerGradient,
    LayerSaturation,
    LayerShift,
    LayerSpread,
)


def test_every_constant_has_a_definition():
    names = {value for name, value in vars(quantities).items() if name.isupper() and isinstance(value, str)}
    assert names == set(QUANTITIES)


@pytest.mark.parametrize("name", list(QUANTITIES))
def test_a_definition_is_one_line(name):
    quantity = QUANTITIES[name]
    assert quantity.per in ("layer", "run")
    assert quantity.meaning
    assert quantity.unit
    assert "\n" not in quantity.meaning


def test_every_quantity_is_measured_by_something():
    measured = {f.metadata.get("quantity", f.name) for kind in RESULTS for f in fields(kind)}
    of_functions = {"backward_gain", "minibatch_rank_correlation", "gradient_cosine"}
    assert set(QUANTITIES) - measured == of_functions
    assert all(hasattr(diagnostics, name) for name in of_functions)


def test_rows_of_results():
    rows = as_rows([LayerGradient(2, "b", 0.5, 0.25), GenerationChange(1.0, 0.2, 0.5, 1.4, 0.3)])
    assert rows[:2] == [
        {"quantity": "gradient_norm", "layer": 2, "name": "b", "value": 0.5},
        {"quantity": "weight_gradient_norm", "layer": 2, "name": "b", "value": 0.25},
    ]
    assert [(row["quantity"], row["layer"], row["name"], row["value"]) for row in rows[2:]] == [
        ("diversity", 0, "", 1.0),
        ("step_size", 0, "", 0.2),
        ("improving_share", 0, "", 0.5),
        ("selection_intensity", 0, "", 1.4),
        ("parents_represented", 0, "", 0.3),
    ]


def test_rows_of_a_table_of_invariances_can_be_told_apart():
    yes = Invariance(1, "layers.0", "row_scale", "network", 1e-9, True, True, 1e-5)
    no = Invariance(0, "", "data_scale", "network", 0.5, False, False, 0.0)
    assert as_rows([yes, no]) == [
        {"quantity": "invariant", "layer": 1, "name": "layers.0.row_scale.network", "value": 1.0},
        {"quantity": "invariant", "layer": 0, "name": "data_scale.network", "value": 0.0},
    ]


def test_the_names_load_without_torch():
    code = "import sys, gfopt.diagnostics.quantities as q; sys.exit('torch' in sys.modules or not q.QUANTITIES)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    for name in diagnostics.__all__:
        assert getattr(diagnostics, name) is not None
        assert not isinstance(getattr(diagnostics, name), type(sys))
    assert set(diagnostics.__all__) <= set(dir(diagnostics))
    with pytest.raises(AttributeError, match="no attribute 'gradient_folw'"):
        _ = diagnostics.gradient_folw
