"""One colour, marker and dash per optimizer and per norm, in every figure; readable without colour too.

The palette is Okabe and Ito's, which survives the common forms of colour blindness.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# The palette's yellow is left out: it cannot be told from a white page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# (plotly symbol, matplotlib marker)
MARKERS = (
    ("circle", "o"),
    ("square", "s"),
    ("diamond", "D"),
    ("triangle-up", "^"),
    ("cross", "P"),
    ("star", "*"),
    ("hexagon", "h"),
)
# (plotly dash, matplotlib line style)
DASHES = (("solid", "-"), ("dash", "--"), ("dot", ":"), ("dashdot", "-."))

_NORMS = ("none", "batch", "layer", "weight", "cosine", "pearson", "rms")
_NORM_COLOURS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


@dataclass(frozen=True)
class Look:
    """How one optimizer or norm is drawn.

    Attributes:
        colour: as `#rrggbb`.
        symbol, marker: of plotly and of matplotlib.
        dash, line: of plotly and of matplotlib.
    """

    colour: str
    symbol: str
    marker: str
    dash: str
    line: str

    def faint(self, opacity: float) -> str:
        """The colour as `rgba(...)`."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity:g})"


def optimizer_looks(names: Iterable[str]) -> dict[str, Look]:
    """Name to look by order of first appearance; more than 7 repeat the colours with another dash."""
    return {name: _look(PALETTE, index) for index, name in enumerate(dict.fromkeys(names))}


def norm_looks(names: Iterable[str]) -> dict[str, Look]:
    """Name to look: the known norms always have the same, others follow."""
    present = list(dict.fromkeys(names))
    order = [name for name in _NORMS if name in present] + [name for name in present if name not in _NORMS]
    places = {name: _NORMS.index(name) if name in _NORMS else len(_NORMS) + k for k, name in enumerate(order)}
    return {name: _look(_NORM_COLOURS, places[name]) for name in order}


def norm_key(value: object) -> str:
    """A norm as a key of `norm_looks`; empty where the study varies none."""
    return "" if value is None or value != value else str(value)


def norm_label(norm: str) -> str:
    """A norm's name in a legend."""
    return "no normalization" if norm == "none" else norm


def _look(colours: tuple[str, ...], index: int) -> Look:
    symbol, marker = MARKERS[(index + index // len(colours)) % len(MARKERS)]
    dash, line = DASHES[(index // len(colours)) % len(DASHES)]
    return Look(colours[index % len(colours)], symbol, marker, dash, line)
