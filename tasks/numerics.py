"""What numpy does about numbers that it cannot hold, whatever somebody else has set."""

import numpy as np


def own_errors() -> np.errstate:
    """Let numpy warn as it begins, where somebody may have called ``np.seterr(all="raise")``.

    Returns
    -------
    errstate
        A context or a decorator.
    """
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
