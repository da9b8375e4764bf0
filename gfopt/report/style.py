"""One colour, marker and dash per optimizer and per norm, in every figure; readable without colour too.

The palette is Okabe and Ito's, which survives the common forms of colour blindness.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gfopt.analysis.norms import norm_kind

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

# Every name of `registry.norms`: the first seven have a colour of their own, the others repeat the colours with another
# marker and dash.
_NORMS = (
    *("none", "batch", "layer", "weight", "cosine", "pearson", "rms"),
    *("iternorm", "whitening", "group", "weight_standardization", "centred_weight", "instance", "spectral"),
    *("ghost", "batch_renorm", "filter_response", "weight_mean", "mean"),
)
_NORM_COLOURS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_LIGHT, _DARK = (158, 202, 225), (8, 48, 107)  # of one hue: told apart by lightness, which every eye sees


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
    """Name to look: the known norms always have the same, others follow.

    A norm with options, as `group (groups 4)`, has the look of its kind where nothing else that is there has it.
    """
    present = list(dict.fromkeys(names))
    places = {name: _NORMS.index(name) for name in _NORMS if name in present}
    for name in present:
        kind = norm_kind(name)
        if name not in places and kind in _NORMS and _NORMS.index(kind) not in places.values():
            places[name] = _NORMS.index(kind)
    ordered = sorted(places, key=places.__getitem__)
    rest = [name for name in present if name not in places]
    places |= {name: len(_NORMS) + k for k, name in enumerate(rest)}
    return {name: _look(_NORM_COLOURS, places[name]) for name in [*ordered, *rest]}


def shades(count: int) -> list[Look]:
    """Looks for an ordered set, as layers: one hue from light to dark, with circles first and squares last."""
    found = []
    for place in range(count):
        part = place / (count - 1) if count > 1 else 1.0
        red, green, blue = (round(a + part * (b - a)) for a, b in zip(_LIGHT, _DARK, strict=True))
        last = place == count - 1 > 0
        symbol, marker = MARKERS[1 if last else 0]
        found.append(Look(f"#{red:02x}{green:02x}{blue:02x}", symbol, marker, *DASHES[0]))
    return found


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
