"""pyswarms' backend, imported without what its import does to logging and to the working directory.

`backend`, `handlers` and `topology` are pyswarms' own modules; what makes a reporter (their topologies and
handlers do) is to be constructed inside `quiet()`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "LOG_CFG"
_CONFIGURATION = Path(__file__).with_name("pyswarms_logging.yaml")


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, pyswarms leaves logging alone and writes no `report.log`; on exit `os.environ` is as it was."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(_CONFIGURATION)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


with quiet():
    from pyswarms import backend as backend
    from pyswarms.backend import handlers as handlers
    from pyswarms.backend import topology as topology
