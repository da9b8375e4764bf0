"""The options that every network of normalized layers has, whatever the layers are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gfopt.nn._options import NetworkOptions
from gfopt.nn.initialization import InitializationOption, TorchDefault
from gfopt.nn.normalization import NO_NORM, NormsOption

Flag = Annotated[bool, Field(strict=True)]
Size = Annotated[int, Field(gt=0, strict=True)]


class LayerOptions(NetworkOptions):
    """How the layers of a network are normalized and drawn.

    Attributes:
        norm: of the layers, a name of `registry.norms` or a mapping with its options; or a list with one for each.
        gain, shift: whether layers learn `g` and `b`.
        eps: of the norm.
        init: of the weights; He's takes its slope from the activation.
    """

    norm: NormsOption = NO_NORM
    gain: Flag = True
    shift: Flag = True
    eps: float = Field(default=1e-5, gt=0)
    init: InitializationOption = TorchDefault()
