"""Search in a sorted table by a guide: most values are found by one look, without comparing."""

import torch
from torch import Tensor

N_CELLS = 2**14
"""Of the guide: a power of two, so that the cell of a value is exact."""


class GuidedSearch:
    """How many of some edges are no larger than values from 0 to 1: as `torch.searchsorted` on the right.

    The guide has that number for each of `N_CELLS` equal cells, or -1 where an edge lies inside; there it is
    searched for. So is every value on another device than a CPU, where the host would have to wait.

    Parameters
    ----------
    edges : Tensor of float64, shape (E,)
        Sorted.
    """

    def __init__(self, edges: Tensor) -> None:
        self._edges = edges
        self._guide: Tensor | None = None
        if edges.device.type == "cpu":
            borders = torch.arange(N_CELLS + 1, dtype=edges.dtype, device="cpu") / N_CELLS
            counts = torch.searchsorted(edges, borders, right=True)
            self._guide = torch.where(counts[1:] == counts[:-1], counts[:-1], -1)

    def __call__(self, values: Tensor) -> Tensor:
        """Count the edges up to each value of [0, 1): int64, of the same shape (B,)."""
        if self._guide is None:
            return torch.searchsorted(self._edges, values, right=True)
        counts = self._guide.index_select(0, (values * N_CELLS).int())
        open_ = (counts < 0).nonzero()[:, 0]
        counts[open_] = torch.searchsorted(self._edges, values[open_], right=True)
        return counts
