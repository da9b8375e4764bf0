"""From tables of runs to statistics, summaries and verdicts: numpy, scipy and pandas, no torch."""

from gfopt.analysis.curves import StepCurve, curve_table, step_curves
from gfopt.analysis.effects import normalization_effect
from gfopt.analysis.escape import unaided_gain
from gfopt.analysis.finding import Finding
from gfopt.analysis.frames import (
    AXES,
    Cell,
    cell_columns,
    final_values,
    headline,
    higher_is_better,
    split_cells,
)
from gfopt.analysis.goals import Baseline, baseline_name, choose_baseline, targets
from gfopt.analysis.gradients import gradient_profile, gradient_ratio
from gfopt.analysis.leaders import winners
from gfopt.analysis.measured import measured_table, recorded_quantities, trajectories
from gfopt.analysis.norms import norm_name
from gfopt.analysis.overview import run_times, summary
from gfopt.analysis.paired import Paired, holm, paired_comparison, repeats_needed
from gfopt.analysis.statistics import (
    bootstrap_interval,
    critical_difference,
    ecdf,
    expected_running_time,
    probability_of_improvement,
    success_rate,
)
from gfopt.analysis.tuning import tuning_curves, with_costs_of_runs
from gfopt.analysis.verdict import brief, findings, verdicts
from gfopt.analysis.why import explain

__all__ = [
    "AXES",
    "Baseline",
    "Cell",
    "Finding",
    "Paired",
    "StepCurve",
    "baseline_name",
    "bootstrap_interval",
    "brief",
    "cell_columns",
    "choose_baseline",
    "critical_difference",
    "curve_table",
    "ecdf",
    "expected_running_time",
    "explain",
    "final_values",
    "findings",
    "gradient_profile",
    "gradient_ratio",
    "headline",
    "higher_is_better",
    "holm",
    "measured_table",
    "norm_name",
    "normalization_effect",
    "paired_comparison",
    "probability_of_improvement",
    "recorded_quantities",
    "repeats_needed",
    "run_times",
    "split_cells",
    "step_curves",
    "success_rate",
    "summary",
    "targets",
    "trajectories",
    "tuning_curves",
    "unaided_gain",
    "verdicts",
    "winners",
    "with_costs_of_runs",
]
