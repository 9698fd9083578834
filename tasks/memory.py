"""How much memory there is, so that what cannot fit is refused before it is tried."""

import os
import resource
import socket
from collections.abc import Iterator

from quanta.tasks.cgroups import CGROUPS, MEMBERSHIP, group_folders, read_words


def memory_size(cgroups: str = CGROUPS, membership: str = MEMBERSHIP) -> int:
    """Bytes of memory that this process may use.

    What it shares with others, or less where ``ulimit -v`` allows it less.

    Parameters
    ----------
    cgroups, membership : str
        Where Linux describes control groups; elsewhere there are none.

    Returns
    -------
    int
    """
    shared, _ = _least(cgroups, membership)
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return shared if soft == resource.RLIM_INFINITY else min(shared, soft)


def shared_memory(cgroups: str = CGROUPS, membership: str = MEMBERSHIP) -> tuple[int, str]:
    """Bytes of memory that this process shares with others, and a name for what they share.

    The memory of the machine, or less where a control group (a container, a batch job) allows less.

    Parameters
    ----------
    cgroups, membership : str
        As of `memory_size`.

    Returns
    -------
    n_bytes : int
    name : str
        The same for all processes that share it, and for no others.
    """
    n_bytes, place = _least(cgroups, membership)
    return n_bytes, f"{socket.gethostname()}:{place}"


def _least(cgroups: str, membership: str) -> tuple[int, str]:
    """Bytes of the memory that is shared, and the folder of the control group that allows no more."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), ""
    return min([there, *_group_limits(cgroups, membership)])


def _group_limits(cgroups: str, membership: str) -> Iterator[tuple[int, str]]:
    for folder in group_folders("memory", cgroups, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for limit in read_words(folder / name):
                if limit.isdecimal():  # the other value is "max"
                    yield int(limit), str(folder)


def format_bytes(n_bytes: int) -> str:
    """Write a size for people: ``"1.5 GiB"``."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
