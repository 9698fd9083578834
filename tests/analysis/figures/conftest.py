import numpy as np
import pytest

from quanta.analysis.theories.simulation import simulate
from quanta.analysis.verdict.statistics import measure
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies


@pytest.fixture(scope="session")
def world(quanta_world):
    """3 seeds that learn at different times, and so slightly out of order."""
    return measure(quanta_world(scatter=0.4))


@pytest.fixture(scope="session")
def simulated():
    """5 seeds of networks with noise, in all metrics, of which the widest still learn."""
    return measure(simulate("sigmoid", n_seeds=5, n_subtasks=32, steps=2000).isel(alpha=0))


@pytest.fixture(scope="session")
def data_world(by_data):
    return measure(by_data)


@pytest.fixture(scope="session")
def stopped(slice_of):
    """2 seeds, 3 widths, steps 0 1 10 100 1000, K = 4: one network stops early, one knew subtask 1 at once.

    Subtask k < 4 is learned between 10^(k-1) and 10^k by the widths that have room for it; 4 never.
    """
    step = np.array([0, 1, 10, 100, 1000])
    loss = np.ones((2, 3, 5, 4))
    for width in range(3):
        for k in range(width + 1):
            loss[:, width, k + 2 :, k] = 0.01
    loss[0, 2, 1:, 0] = 0.01
    loss[1, 2, 4:] = np.nan
    return measure(slice_of(loss, zipf_frequencies(4, 0.4), step=step, width=[10, 20, 40]))


@pytest.fixture(scope="session")
def worlds(quanta_world, slice_of, world, simulated, data_world, stopped):
    """Slices of all kinds, by name."""
    small = {"n_subtasks": 8, "widths": np.array([8, 16, 32])}
    p = zipf_frequencies(4, 0.4)
    others = {
        "one seed": quanta_world(n_seeds=1),
        "one width": quanta_world(widths=np.array([64])),
        "nothing learned": quanta_world(**small, capacity=0),
        "everything learned": quanta_world(**small, capacity=100),
        "uniform": quanta_world(n_subtasks=8, frequency=uniform_frequencies(8), alpha=-1, scatter=0.3),
        "first and last": quanta_world(**small, steps=np.array([0, 20000])),
        "step 0 alone": quanta_world(**small, steps=np.array([0])),
        "no loss": slice_of(np.zeros((2, 3, 5, 4)), p),
        "far above chance": slice_of(np.full((1, 3, 5, 4), 9.0), p),
        "one of each": slice_of(np.ones((1, 1, 1, 1)), [1.0]),
    }
    there = {"world": world, "simulated": simulated, "data": data_world, "stopped": stopped}
    return there | {name: measure(curves) for name, curves in others.items()}
