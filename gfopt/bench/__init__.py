"""`gfopt bench`: what gfopt costs on this machine, beside what users write instead and what the machine can do."""

from gfopt.bench.markdown import markdown
from gfopt.bench.options import SECTIONS, BenchOptions, bench_options
from gfopt.bench.results import BenchResults
from gfopt.bench.run import explain, run_bench
from gfopt.bench.sheets import Sheet, headline, sheets

__all__ = [
    "SECTIONS",
    "BenchOptions",
    "BenchResults",
    "Sheet",
    "bench_options",
    "explain",
    "headline",
    "markdown",
    "run_bench",
    "sheets",
]
