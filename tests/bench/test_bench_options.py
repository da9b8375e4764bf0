"""What may be measured; and what is refused, in words that help."""

from __future__ import annotations

import pytest
import torch

from gfopt import registry
from gfopt.bench import BenchOptions, bench_options
from gfopt.bench.options import TIMED, sizes_of
from gfopt.errors import ConfigError


def test_defaults_are_the_cells_that_the_page_shows():
    options = bench_options()
    assert options.sections == TIMED
    assert (options.members, options.batches) == ((64, 256, 1024), (256, 1437))
    assert options.threads == torch.get_num_threads()


def test_what_is_given_replaces_what_quick_means():
    options = bench_options(quick=True, only=("optimizers", "optimizers"), members=(5,), repeats=None)
    assert options.sections == ("optimizers",)
    assert options.members == (5,)
    assert options.repeats == bench_options(quick=True).repeats < BenchOptions().repeats


def test_norms_by_name_or_all_of_them_with_none_in_front():
    assert bench_options(norms=("rms",)).norms == ("none", "rms")
    assert set(bench_options(norms=("all",)).norms) == set(registry.norms.names())


def test_a_gpu_has_one_section(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert bench_options(device="cuda").sections == ("evaluation",)
    with pytest.raises(ConfigError, match="A GPU has the section evaluation alone"):
        bench_options(device="cuda", only=("target",))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"only": ("evalution",)}, "Did you mean 'evaluation'"),
        ({"norms": ("bach",)}, "Did you mean 'batch'"),
        ({"members": (1,)}, "members: expected a whole number of at least 2, got 1"),
        ({"batches": (1,)}, "batches"),
        ({"batches": (2000,)}, "at most the 1437 training rows, got 2000"),
        ({"repeats": 0}, "repeats"),
        ({"threads": 0}, "threads"),
        ({"limit": 0.0}, "limit"),
        ({"networks": ("64-x-10",)}, "64-32-10"),
        ({"networks": ("64-10",)}, "at least one hidden layer"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_what_is_wrong_is_said(wrong, words):
    with pytest.raises(ConfigError, match=words):
        bench_options(**wrong)


def test_names_of_networks():
    assert sizes_of("64-32-10") == (64, 32, 10)
    assert sizes_of("64-[16]x3-10") == (64, 16, 16, 16, 10)
