"""How much memory there is, so that what cannot fit is refused before it is tried."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path


def memory_size(cgroups: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
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
    return min([*sizes, *_group_limits(Path(cgroups), Path(membership))])


def _group_limits(cgroups: Path, membership: Path) -> Iterator[int]:
    """Limits of the control group of this process and of all above it, in either version of cgroups."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = cgroups / controllers
        folder = root / path.lstrip("/")
        for place in (folder, *folder.parents):
            for name in ("memory.max", "memory.limit_in_bytes"):
                try:
                    text = (place / name).read_text().strip()
                except OSError:
                    continue
                if text.isdecimal():  # the other value is "max"
                    yield int(text)
            if place == root:
                break


def format_bytes(n_bytes: int) -> str:
    """Write a size for people: ``"1.5 GiB"``."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
