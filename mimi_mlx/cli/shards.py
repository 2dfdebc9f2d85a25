"""A folder's work in several processes: which of them this one is, and what its share is.

All have the same plan, so none needs to speak to another: of ``mx.distributed`` only the rank and
the number of ranks are used, whatever the backend.
"""

import os
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import mlx.core as mx

from ..files import reason
from . import signals

Item = TypeVar("Item")

# What MLX's launcher, or the mpirun that it calls, sets for each process that it starts.
_RANKS = ("MLX_RANK", "OMPI_COMM_WORLD_RANK")


class Shard(NamedTuple):
    """One of the processes that share a folder's work."""

    number: int = 1  # from 1
    total: int = 1
    is_launched: bool = False  # by MLX's launcher, which ends all when one of them fails

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def share(self, items: Iterable[Item], cost: Callable[[Item], int]) -> list[Item]:
        """Its items: each goes to the shard that has least to do until then.

        If the longest come first, all shards end at about the same time. It depends on the items
        alone, so all of them must be given, also those that are done.
        """
        loads, own = [0] * self.total, []
        for item in items:
            least = loads.index(min(loads))
            loads[least] += cost(item)
            if least == self.number - 1:
                own.append(item)
        return own


def chosen(text: str | None) -> Shard:
    """What ``--shard`` says, or else MLX's launcher; without both, all is one share.

    Raises:
        ValueError: Both say something, or what one of them says is no share.
    """
    rank = next((os.environ[name] for name in _RANKS if name in os.environ), None)
    if text is None:
        return Shard() if rank is None else _launched(rank)
    if rank is not None:
        raise ValueError(
            f"--shard is {text}, but MLX's launcher gives each process its share. Leave it out."
        )
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0)
    if not 1 <= shard.number <= shard.total:
        raise ValueError(
            f"--shard is {text}; it is I/N, a number from 1 to N and how many there are. Give 1/N "
            "to the first process and N/N to the last."
        )
    return shard


def _launched(rank: str) -> Shard:
    """The share of a process that the launcher has started; it has given it its rank."""
    try:
        with signals.ending_at_once():  # it waits for its neighbours
            group = mx.distributed.init()
        found = f"rank {group.rank()} of {group.size()}"
        if str(group.rank()) == rank:
            return Shard(group.rank() + 1, group.size(), is_launched=True)
    except RuntimeError as error:
        found = reason(error)
    raise ValueError(
        f"MLX's launcher started this as rank {rank}, and MLX finds none or another ({found}). "
        "Start at least two processes, with a backend that is here; or one without the launcher."
    )
