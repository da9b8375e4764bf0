"""Dropout in a population: the same units of every member, or each member's own."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from gfopt.errors import NetworkError, expectation

DROPOUT_MASKS = ("shared", "member")
KEY = "dropout_key"  # name of the buffer that holds a member's stream


def drops(module: nn.Module) -> bool:
    """Whether any part of `module` drops units at random."""
    kinds = (_DropoutNd, MemberDropout)
    return any(isinstance(part, kinds) and part.training and part.p > 0 for part in module.modules())


def still(module: nn.Module) -> None:
    """Turn dropout off, in place."""
    for part in module.modules():
        if isinstance(part, _DropoutNd | MemberDropout):
            part.eval()


def give_members_masks(module: nn.Module) -> None:
    """Let every `nn.Dropout` of `module` take its mask from a member's own stream, in place.

    Raises:
        NetworkError: for a kind of dropout that drops more than single numbers.
    """
    for name, part in list(module.named_modules()):
        if not isinstance(part, _DropoutNd) or not part.training or part.p == 0:
            continue
        if type(part) is not nn.Dropout or not name:
            fix = "Use nn.Dropout inside the network, or dropout: shared."
            wanted = "nn.Dropout for masks of each member"
            raise NetworkError("dropout: " + expectation(wanted, type(part).__name__, fix))
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, MemberDropout(part.p, _place(name)))


class MemberDropout(nn.Module):
    """Zeroes entries with probability `p` and scales the others by `1 / (1 - p)` (Srivastava et al. 2014).

    The mask is a hash of the member's key, the layer and the entry's number, not a draw from a generator: it is the
    same whichever members are evaluated together.

    Args:
        p: share of entries that are dropped.
        place: tells the layers of a network apart.

    Attributes:
        dropout_key: `()` int64, the member's stream; a buffer, so that it can be stacked.
    """

    dropout_key: Tensor

    def __init__(self, p: float, place: int) -> None:
        super().__init__()
        self.p = p
        self.place = place
        self.register_buffer(KEY, torch.zeros((), dtype=torch.long), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        if not self.training:
            return x
        entries = torch.arange(x.numel(), device=x.device).reshape(x.shape)
        kept = _uniform(_mixed(self.dropout_key + self.place) + entries) >= self.p
        return x * kept / (1 - self.p)


def member_keys(seed: int, first: int, count: int, device: torch.device) -> Tensor:
    """`(count,)` keys of the members `first` and following under a seed."""
    members = torch.arange(first, first + count, device=device)
    return _mixed(_mixed(torch.full_like(members, seed % 2**62)) + members)


def _uniform(numbers: Tensor) -> Tensor:
    """Each number's own value in `[0, 1)`, in steps of `2^-24`."""
    return ((_mixed(numbers) >> 20) & 0xFFFFFF).to(torch.float32) / 2**24


def _mixed(numbers: Tensor) -> Tensor:
    """The finalizer of SplitMix64 (Steele et al. 2014, figure 16): each bit of it depends on all that go in."""
    z = numbers + -7046029254386353131
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return z ^ ((z >> 31) & 0x1FFFFFFFF)


def _place(name: str) -> int:
    """A number that layers of other names do not have, the same in every process."""
    return zlib.crc32(name.encode()) << 24  # far from one another: entries are counted from here
