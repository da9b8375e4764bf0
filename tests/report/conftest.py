import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))  # the synthetic study is shared


@pytest.fixture
def small() -> SimpleNamespace:
    """One problem with three norms, two repeats; a diverged run among them."""
    import synthetic_study

    return synthetic_study.study(repeats=2, problems=["deep"])
