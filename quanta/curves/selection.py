"""At which step the loss of a network is read, since one that overfits is worst at the end.

The lowest of T noisy values is too low: by about σ √(2 ln T) for noise of standard deviation σ. So the step
is chosen on one half of the test samples and the loss reported on the other, whose noise knows nothing of
the choice.

Shapes: T evaluations, K subtasks.
"""

from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.curves.conversion import as_curves
from quanta.curves.schema import AXES

At = Literal["last", "lowest mean", "own lowest"]
"""The last evaluation; that of the lowest mean loss of a network; or of each subtask's own lowest loss, as
the paper (arXiv:2303.13506) takes it to count what is learned from D examples, and for that alone."""

HALVES = ("selection_loss", "reported_loss")
"""The loss on the half of the test samples on which a step is chosen, and on that which is reported."""


def read_losses(curves: xr.Dataset, at: At = "lowest mean", *, same_samples: bool = False) -> xr.Dataset:
    """Read one loss of each network and subtask off its learning curve.

    Parameters
    ----------
    curves : Dataset
        Curves, or what `quanta.as_curves` can make Curves of.
    at : {"lowest mean", "last", "own lowest"}, default "lowest mean"
    same_samples : bool, default False
        Choose the step and report the loss on all test samples alike, which is too low, as the paper does.

    Returns
    -------
    Dataset
        ``loss`` over (alpha, n_train, seed, width, subtask) and ``mean_loss`` over the first four, in bits;
        ``step``, at which they were read, over the same dimensions as ``mean_loss``, or as ``loss`` for each
        subtask's own. NaN for networks without halves, as those of online data, beside others with them; the
        last evaluation is that of all samples, and there for all.

    Raises
    ------
    ValueError
        If `at` is another, or a lowest loss is asked for and the curves have no halves.
    CurvesError
        If they are no Curves.
    """
    if at not in get_args(At):
        raise ValueError(f"at must be one of {', '.join(get_args(At))}, not {at!r}")
    curves = as_curves(curves)
    if at != "last" and not same_samples and not set(HALVES) <= set(curves.variables):
        raise ValueError(
            f"at must be last where curves have no {' and '.join(HALVES)}, not {at}; same_samples=True takes "
            "the lowest on all test samples, which is too low"
        )
    names = ("loss", "loss") if at == "last" or same_samples else HALVES
    choice, report = (curves[name].values for name in names)
    frequency, step = curves["frequency"].values, curves["step"].values
    networks, n_subtasks = choice.shape[:-2], choice.shape[-1]
    loss = np.full((*networks, n_subtasks), np.nan)
    read_at = np.full(loss.shape, np.nan)
    for network in np.ndindex(networks):
        if np.isnan(choice[network][0]).any():
            continue
        place = find_place(choice[network], frequency[network[0]], at)
        loss[network] = report[network][place, np.arange(n_subtasks)]
        read_at[network] = step[place]
    dims = [dim for dim in AXES if dim != "step"]
    mean_loss = np.stack([loss[i] @ frequency[i] for i in range(len(frequency))])
    variables: dict[str, Any] = {
        "loss": (dims, loss, {"units": "bit"}),
        "mean_loss": (dims[:-1], mean_loss, {"units": "bit"}),
        "step": (dims, read_at) if at == "own lowest" else (dims[:-1], read_at[..., 0]),
    }
    return xr.Dataset(variables, {dim: curves[dim] for dim in dims})


def find_place(loss: NDArray[np.floating[Any]], frequency: NDArray[np.float64], at: At) -> NDArray[np.int64]:
    """Choose the evaluation at which each subtask of one network is read.

    Parameters
    ----------
    loss : ndarray, shape (T, K)
        NaN after an early stop.
    frequency : ndarray, shape (K,)
    at : {"last", "lowest mean", "own lowest"}
        The first of equally low ones.

    Returns
    -------
    ndarray of int, shape (K,)
        The same for all but of their own lowest.
    """
    measured = loss[: int(np.isfinite(loss).all(axis=1).sum())].astype(np.float64)
    if at == "own lowest":
        return np.asarray(measured.argmin(axis=0), dtype=np.int64)
    place = len(measured) - 1 if at == "last" else int((measured @ frequency).argmin())
    return np.full(loss.shape[1], place)
