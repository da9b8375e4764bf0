"""`Draws`: sequences of random numbers in which the `k`-th number depends on the seed and on `k` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfopt.errors import ConfigError, ShapeError, expectation
from gfopt.threads import in_threads

_BLOCK = 1 << 20  # integers that are made at a time


class Draws:
    """Uniform, normal and other random numbers, written in place into tensors of one device.

    On a CPU there is one endless sequence for each kind of number and precision, from counters (Philox4x32-10). A fill
    takes the next numbers of its sequence; filling in parts gives the same numbers as filling at once, with any number
    of threads (as many as torch uses). Normal numbers are exact (Box and Muller), 24 or 53 bits of them.

    On another device torch's own generator of that device is used; its numbers are other ones.

    Args:
        seed: in `[0, 2**64)`; two seeds share no numbers.
        device: where the tensors are.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.seed = seed
        self.device = torch.device(device)
        self._positions: dict[str, int] = {}
        self._generator = None if self.device.type == "cpu" else torch.Generator(self.device).manual_seed(seed)

    @property
    def counted(self) -> bool:
        """Whether the numbers come from counters, which is so on a CPU."""
        return self._generator is None

    def uniform_(self, out: Tensor) -> Tensor:
        """`out` filled with numbers uniform in `[0, 1)`, multiples of `2**-24` or `2**-53`.

        Raises:
            ShapeError: if `out` is not contiguous, or on a CPU neither float32 nor float64.
        """
        return self._fill("uniform", out) if self.counted else out.uniform_(generator=self._generator)

    def normal_(self, out: Tensor) -> Tensor:
        """`out` filled with standard normal numbers.

        Raises:
            ShapeError: as `uniform_`.
        """
        return self._fill("normal", out) if self.counted else out.normal_(generator=self._generator)

    def coins_(self, out: Tensor) -> Tensor:
        """`out`, of booleans, filled with fair coins.

        Raises:
            ShapeError: if `out` is not contiguous or no tensor of booleans.
        """
        if out.dtype != torch.bool:
            raise ShapeError("coins: " + expectation("a tensor of booleans", f"`one of {out.dtype}`"))
        return self._fill("coin", out) if self.counted else out.random_(0, 2, generator=self._generator)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Whole numbers (int64) of `0..high-1`, each with probability `1 / high` up to a difference of `2**-32`.

        Args:
            high: at most `2**32`.
            *shape: of the tensor.

        Raises:
            ConfigError: if `high` is out of range.
        """
        if not 1 <= high <= 2**32:
            raise ConfigError("high: " + expectation("a number from 1 to 2**32", high))
        out = torch.empty(shape, dtype=torch.int64, device=self.device)
        if self._generator is not None:
            return out.random_(0, high, generator=self._generator)
        flat = out.view(-1).numpy()
        words = np.empty(min(len(flat), _BLOCK), dtype=np.uint32)
        for first in range(0, len(flat), _BLOCK):
            part = words[: len(flat) - first]
            self._take("word", part)
            flat[first : first + len(part)] = (part.astype(np.uint64) * np.uint64(high)) >> np.uint64(32)
        return out

    def reserve(self, tiles: int) -> int:
        """The first of the next `tiles` whole tiles of the float32 uniform sequence, which are then used up.

        For a kernel that makes its numbers itself, on a CPU: `uniform_` would have given the same ones.
        """
        size = _tile_size("uniform_32")
        first = -(-self._positions.get("uniform_32", 0) // size)
        self._positions["uniform_32"] = (first + tiles) * size
        return first

    def state_dict(self) -> dict[str, Any]:
        """The seed, and how far each sequence was used; on other devices the generator's own state."""
        own = None if self._generator is None else self._generator.get_state().numpy().copy()
        return {"seed": self.seed, "positions": dict(self._positions), "generator": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ConfigError: if it was taken on another kind of device.
        """
        own = state["generator"]
        if (own is None) != self.counted:
            expected = "the state of a CPU" if self.counted else "the state of an accelerator"
            raise ConfigError("draws: " + expectation(expected, "`that of the other`", "Resume on the same device."))
        self.seed, self._positions = int(state["seed"]), {k: int(v) for k, v in state["positions"].items()}
        if self._generator is not None:
            self._generator.set_state(torch.from_numpy(np.array(own)))

    def _fill(self, kind: str, out: Tensor) -> Tensor:
        if not out.is_contiguous():
            raise ShapeError(f"{kind}: " + expectation("a contiguous tensor", f"`strides {out.stride()}`"))
        if kind != "coin":
            if out.dtype not in (torch.float32, torch.float64):
                raise ShapeError(f"{kind}: " + expectation("a tensor of float32 or float64", f"`one of {out.dtype}`"))
            kind += "_32" if out.dtype == torch.float32 else "_64"
        self._take(kind, out.view(-1).numpy())
        return out

    def _take(self, name: str, out: NDArray[Any]) -> None:
        """Fill `(N,)` with the next numbers of a sequence: whole tiles in place, the ends through a tile of their own.

        Tiles are always made whole, so that a number does not depend on where a fill begins or ends.
        """
        kernel, size, seed = _kernel(name), _tile_size(name), np.uint64(self.seed)
        begin = self._positions.get(name, 0)
        self._positions[name] = begin + len(out)
        first, skipped = divmod(begin, size)
        done = 0
        if skipped:
            done = min(size - skipped, len(out))
            out[:done] = self._tile(kernel, first, size, out.dtype)[skipped : skipped + done]
            first += 1
        whole = (len(out) - done) // size
        if whole:
            body = out[done : done + whole * size]
            in_threads(whole, size, lambda a, b: kernel(seed, first + a, body[a * size : b * size]))
        if rest := len(out) - done - whole * size:
            out[-rest:] = self._tile(kernel, first + whole, size, out.dtype)[:rest]

    def _tile(self, kernel: Callable[..., object], index: int, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        tile = np.empty(size, dtype)
        kernel(np.uint64(self.seed), index, tile)
        return tile


def kernels() -> ModuleType:
    """The compiled kernels, imported at their first use: numba takes a second."""
    from gfopt.draws import kernels as compiled

    return compiled


def _kernel(name: str) -> Callable[..., object]:
    plural = {"word": "words", "coin": "coins"}
    kernel: Callable[..., object] = getattr(kernels(), f"fill_{plural.get(name, name)}")
    return kernel


def _tile_size(name: str) -> int:
    """Numbers of one tile, which is one group of counters."""
    module = kernels()
    return int(
        {"coin": module.COINS, "uniform_64": 2 * module.PLANE, "normal_64": 2 * module.PLANE}.get(name, module.WORDS)
    )
