"""What is measured before any training, where every optimizer begins."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

from gfopt.diagnostics.subject import Row, Subject, attempt
from gfopt.problems import Problem

RANKED = 32  # starts that a minibatch has to rank


def start_rows(
    problem: Problem, kinds: Collection[str], start: Tensor, *, init: int, data: int
) -> tuple[list[Row], dict[str, str]]:
    """The measurements at a start, on the first minibatch; the batch's noise on random networks.

    Args:
        problem: any problem; one without a network has no rows.
        kinds: names of `kinds.KINDS`; those that are not measured at the start are passed over.
        start: `(D,)` where a run begins: member 0 of the starts.
        init: seed of the starts.
        data: seed of the minibatches.

    Returns:
        Rows `step` (0), `forward_equivalents` (0), `quantity`, `layer`, `name`, `value`; and the kinds whose
        measurement failed, with the reason.
    """
    subject = Subject(problem)
    if subject.network is None:
        return [], {}
    looks: dict[str, Callable[[], list[Row]]] = {
        "gradient-flow": lambda: subject.gradient_flow(start, 0, data),
        "saturation": lambda: subject.saturation(start, 0, data),
        "search-blindness": lambda: [
            *subject.search_blindness(start, 0, data),
            *subject.rank_correlation(problem.initial(RANKED, init), 0, data),
        ],
        "invariance": lambda: subject.invariance(start, 0, data),
    }
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for kind, look in looks.items():
        if kind in kinds:
            found, failure = attempt(look, start)
            rows += [{"step": 0, "forward_equivalents": 0.0, **row} for row in found]
            failures |= {kind: failure} if failure else {}
    return rows, failures
