"""How much processor time there is, so that no more threads share it than can run."""

import math
from collections.abc import Iterator

from quanta.tasks.cgroups import CGROUPS, MEMBERSHIP, group_folders, read_words


def processor_quota(cgroups: str = CGROUPS, membership: str = MEMBERSHIP) -> float:
    """Processors that this process may keep busy at once, by the control groups that it is in.

    Parameters
    ----------
    cgroups, membership : str
        Where Linux describes control groups.

    Returns
    -------
    float
        More than 0, such as 1.5; infinity if no control group (a container, a batch job) has a quota.
    """
    return min(_quotas(cgroups, membership), default=math.inf)


def _quotas(cgroups: str, membership: str) -> Iterator[float]:
    for folder in group_folders("cpu", cgroups, membership):
        # Microseconds of processor time in each period: in one file in version 2, in two in version 1.
        for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
            words = [word for name in names for word in read_words(folder / name)]
            # Without a quota the first is "max", or -1.
            if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
                yield int(words[0]) / int(words[1])
