"""Threads share even the smallest work here, so that what depends on them would show."""

import pytest


@pytest.fixture(autouse=True)
def small_work_is_shared(monkeypatch):
    monkeypatch.setattr("gfopt.threads._WORTH_A_THREAD", 1)
