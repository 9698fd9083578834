"""What numpy does about numbers that it cannot hold, whatever somebody else has set."""

import numpy as np

own_errors = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
"""As numpy begins. Decorates what would raise where somebody has called ``np.seterr(all="raise")``."""
