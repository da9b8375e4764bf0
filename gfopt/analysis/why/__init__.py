"""Why a network is hard or easy to train: plain sentences from the table of diagnostics."""

from gfopt.analysis.why.explain import explain

__all__ = ["explain"]
