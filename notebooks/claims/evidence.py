"""Where the numbers come from: results of the shipped studies, run when they are missing, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gfopt
from gfopt.results import Results

CONFIGS = Path(__file__).parents[2] / "configs"


class Evidence:
    """Results of studies by name.

    Args:
        results: folder that holds one results folder a study.
        figures: folder for pictures.
        overrides: of every study, as `repeats=1`; for tests.
    """

    def __init__(self, results: Path, figures: Path, overrides: tuple[str, ...] = ()) -> None:
        self.results = results
        self.figures = figures
        self.overrides = overrides
        self.study = cache(self._study)

    def _study(self, name: str) -> Results:
        """The results of configs/<name>.yaml; finished runs are not run again."""
        study = gfopt.load_study(CONFIGS / f"{name}.yaml", list(self.overrides))
        return study.run(self.results / name)

    def figure(self, name: str, draw: Callable[[Axes], None]) -> Path:
        """A picture that `draw` draws on the axes it is given."""
        self.figures.mkdir(parents=True, exist_ok=True)
        picture = Figure(figsize=(5.6, 3.2), layout="constrained")
        draw(picture.subplots())
        path = self.figures / f"{name}.png"
        picture.savefig(path, dpi=110, metadata={"Software": None})
        return path
