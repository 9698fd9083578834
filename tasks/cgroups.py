"""The control groups of Linux, by which containers and batch jobs are given less than the machine has."""

from collections.abc import Iterator
from pathlib import Path

CGROUPS = "/sys/fs/cgroup"
"""Where Linux describes control groups; elsewhere there are none."""

MEMBERSHIP = "/proc/self/cgroup"
"""Where it says which of them this process is in."""


def group_folders(controller: str, cgroups: str, membership: str) -> Iterator[Path]:
    """List the folders of the control group of this process and of all above it, in either version.

    Parameters
    ----------
    controller : str
        What is shared out, such as "memory" or "cpu".
    cgroups, membership : str
        As `CGROUPS` and `MEMBERSHIP`.

    Yields
    ------
    Path
        Not all need exist: a container may not see its own.
    """
    try:
        lines = Path(membership).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 1 names a folder after all controllers in it, or after each, or both.
        names = [controllers, controller] if controllers else [""]
        for root in dict.fromkeys(Path(cgroups) / name for name in names):
            folder = root / path.lstrip("/")
            for place in (folder, *folder.parents):
                yield place
                if place == root:
                    break


def read_words(file: Path) -> list[str]:
    """Read the words of a file of a control group; none if there is no such file."""
    try:
        return file.read_text().split()
    except OSError:
        return []
