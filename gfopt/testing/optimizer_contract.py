"""What every optimizer has to keep, whoever wrote it."""

from __future__ import annotations

from gfopt.testing.rules.declarations import DeclarationRules
from gfopt.testing.rules.losses import LossRules
from gfopt.testing.rules.rows import RowRules
from gfopt.testing.rules.states import StateRules


class OptimizerContract(RowRules, LossRules, StateRules, DeclarationRules):
    """The contract of an optimizer as tests: inherit it in a test file, and name the kind.

    ```python
    from gfopt.testing import OptimizerContract

    class TestMine(OptimizerContract):
        kind = "my-optimizer"
    ```

    The kind is a name of the registry, so the package that it comes from has to be installed. Where a fixture or a
    parametrization called `kind` says it, the attribute stays empty. One whose library is missing is skipped.

    Attributes:
        kind: the optimizer's name in the registry.
        options: what it cannot do without; of sizes (`population`, `particles`) the contract takes care.
    """
