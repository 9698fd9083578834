"""Separate streams of randomness from one seed, so that task noise and training noise can be told apart."""

from typing import Literal, get_args

import numpy as np

Stream = Literal["task", "data", "init", "evaluation", "examples"]
"""What the randomness is for: the subsets, the training samples, the initial weights, the test samples, and
the examples of a finite training set, from which the training samples are then taken."""


_SAMPLE_KEY = 2**32 - 1
"""Of the samples that are handed out; the streams of training have small keys."""


def derive_seed(seed: int, stream: Stream) -> int:
    """Derive the seed of one stream from the seed of a unit.

    Parameters
    ----------
    seed : int
        The unit's seed, at least 0.
    stream : {"task", "data", "init", "evaluation", "examples"}
        What the randomness is for. Streams of one seed are independent.

    Returns
    -------
    int
        Below 2^63, for `torch.Generator.manual_seed` or `numpy.random.default_rng`.

    Raises
    ------
    ValueError
        If `seed` is negative.
    """
    _check_not_negative(seed=seed)
    return _derive(seed, get_args(Stream).index(stream))


def derive_epoch_seed(seed: int, epoch: int) -> int:
    """Derive the seed of the order in which one epoch goes through a finite training set.

    Parameters
    ----------
    seed : int
        Of the unit, at least 0.
    epoch : int
        Counted from 0.

    Returns
    -------
    int
        Below 2^63, as from `derive_seed`.

    Raises
    ------
    ValueError
        If one of them is negative.
    """
    _check_not_negative(seed=seed, epoch=epoch)
    return _derive(seed, get_args(Stream).index("data"), epoch)


def derive_sample_seed(seed: int, sample_seed: int) -> int:
    """Derive the seed of samples that are handed out, which no training with any stream of any seed draws.

    Parameters
    ----------
    seed : int
        Of the task, at least 0.
    sample_seed : int
        Which of the task's samples, at least 0.

    Returns
    -------
    int
        Below 2^63, as from `derive_seed`.

    Raises
    ------
    ValueError
        If one of them is negative.
    """
    _check_not_negative(seed=seed, sample_seed=sample_seed)
    return _derive(seed, _SAMPLE_KEY, sample_seed)


def _check_not_negative(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name} must be at least 0, not {value}")


def _derive(seed: int, *key: int) -> int:
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
