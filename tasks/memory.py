"""How much memory there is, so that what cannot fit is refused before it is tried."""

import os
import resource
from collections.abc import Iterator

from quanta.tasks.cgroups import CGROUPS, MEMBERSHIP, group_folders, read_words


def memory_size(cgroups: str = CGROUPS, membership: str = MEMBERSHIP) -> int:
    """Bytes of memory that this process may use.

    That of the machine, or less where ``ulimit -v`` or a control group (a container, a batch job) allows
    less.

    Parameters
    ----------
    cgroups, membership : str
        Where Linux describes control groups; elsewhere there are none.

    Returns
    -------
    int
    """
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        sizes.append(soft)
    return min([*sizes, *_group_limits(cgroups, membership)])


def _group_limits(cgroups: str, membership: str) -> Iterator[int]:
    for folder in group_folders("memory", cgroups, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for limit in read_words(folder / name):
                if limit.isdecimal():  # the other value is "max"
                    yield int(limit)


def format_bytes(n_bytes: int) -> str:
    """Write a size for people: ``"1.5 GiB"``."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
