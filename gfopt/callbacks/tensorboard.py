"""A run's curve for TensorBoard."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfopt.callbacks._arguments import missing, place, row, unit_of_budget
from gfopt.trace import LEDGER_UNITS
from gfopt.types import Callback, Observation

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardLogger(Callback):
    """Writes each logged point as scalars: `loss`, `batch_loss`, the scores, and the ledger under `ledger/`.

    TensorBoard has one axis for all runs. By default it is the cost in forward equivalents, rounded, on which
    optimizers compare. A resumed run goes on in a further file of the same folder, whose first point tells TensorBoard
    to drop what lies behind it.

    Args:
        folder: one for each run.
        unit: of the ledger, along the axis.

    Raises:
        ConfigError: for arguments of another kind.
        MissingExtraError: before the first step, if the package tensorboard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], unit: str = "forward_equivalents") -> None:
        self.folder: Path = place("folder", folder)
        self.unit = unit_of_budget("unit", unit)
        self._writer: SummaryWriter | None = None
        self._last = 0  # the place of the last point on the axis

    def on_train_begin(self, dim: int) -> None:
        """Open the folder."""
        del dim
        self._writer, self._last = self._opened(None), 0

    def on_generation_end(self, seen: Observation) -> str | None:
        """Add the scalars of a logged point."""
        if not seen.logged:
            return None
        if self._writer is None:  # a resumed run
            self._writer = self._opened(self._last + 1)
        self._last = round(getattr(seen.ledger, self.unit))
        for name, value in row(seen).items():
            if math.isfinite(value):
                self._writer.add_scalar(f"ledger/{name}" if name in LEDGER_UNITS else name, value, self._last)
        self._writer.flush()
        return None

    def on_train_end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _opened(self, drop_from: int | None) -> SummaryWriter:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("tensorboard", "TensorBoardLogger", "tensorboard") from error
        return SummaryWriter(str(self.folder), purge_step=drop_from)

    def state_dict(self) -> dict[str, Any]:
        """The place of the last point on the axis."""
        return {"last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue behind the last point of `state`."""
        self._last = int(state["last"])
