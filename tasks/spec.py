"""Which multitask sparse parity problem: its size and its frequencies.

Apart from the task itself, so that reading what a study is does not load torch.
"""

import math
from collections import Counter
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from quanta.tasks.config import Config, ConfigError
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies
from quanta.tasks.memory import format_bytes, memory_size

WORD_BYTES = 8
"""Bits are drawn and unpacked in words of 64."""

MAX_SUBTASKS = 100_000
"""The most subtasks a task may have; a bound on memory, far above any published study."""

MAX_BITS = 4096
"""The most bits a sample may have."""

CHANCE_BITS = 1.0
"""Loss of a subtask of which nothing is learned: a parity is 0 or 1 equally often."""

Alpha = Annotated[float, Field(ge=-1, le=10, allow_inf_nan=False)] | Literal["uniform"]
"""The quanta exponent, or "uniform" for equal frequencies."""

NSubtasks = Annotated[int, Field(ge=1, le=MAX_SUBTASKS)]
"""Number of subtasks."""

NBits = Annotated[int, Field(ge=1, le=MAX_BITS)]
"""Number of bits of a sample."""

SubsetSize = Annotated[int, Field(ge=1, le=MAX_BITS)]
"""Number of bits in one parity."""


def check_subsets(n_subtasks: int, n_bits: int, k: int | tuple[int, ...]) -> None:
    """Raise ValueError unless every subtask can have a subset of its own."""
    sizes = subset_sizes(n_subtasks, k)
    if len(sizes) != n_subtasks:
        raise ValueError(f"k must be one number or {n_subtasks} (one per subtask), not {len(sizes)}")
    if max(sizes) > n_bits:
        raise ValueError(f"k must satisfy 1 <= k <= n_bits ({n_bits}), not {max(sizes)}")
    for size, wanted in Counter(sizes).items():
        possible = math.comb(n_bits, size)
        if wanted > possible:
            raise ValueError(
                f"n_subtasks must be at most {possible}, the number of subsets of {size} of "
                f"{n_bits} bits, not {wanted}"
            )


def subset_sizes(n_subtasks: int, k: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of bits in the parity of each subtask, one per subtask."""
    return (k,) * n_subtasks if isinstance(k, int) else k


class TaskShape(Config):
    """The size of a multitask sparse parity problem. The defaults are those of arXiv:2303.13506."""

    n_subtasks: NSubtasks = 500
    """Number of subtasks K."""
    n_bits: NBits = 100
    """Number of bits n of a sample."""
    k: SubsetSize | Annotated[tuple[SubsetSize, ...], Field(fail_fast=True)] = 3
    """Number of bits in the parity of a subtask: one number, or one per subtask."""
    offset: float = Field(0.0, gt=-1, allow_inf_nan=False)
    """Added to the rank in Zipf's law, which flattens its head."""

    @model_validator(mode="after")
    def _check_subsets(self) -> Self:
        check_subsets(self.n_subtasks, self.n_bits, self.k)
        return self

    @property
    def subset_sizes(self) -> tuple[int, ...]:
        """Number of bits in the parity of each subtask, one per subtask."""
        return subset_sizes(self.n_subtasks, self.k)

    @property
    def packed_bytes(self) -> int:
        """Bytes of a sample's bits, 8 in a byte, in whole words."""
        return WORD_BYTES * -(-self.n_bits // (8 * WORD_BYTES))

    @property
    def sample_bytes(self) -> int:
        """Bytes of memory that making a sample takes at the least."""
        # Unpacking takes the packed bytes, their places in a table (int32) and a word for each of them; the
        # label takes the places of the subtask's bits (int64), which of them count, and their values.
        return 8 + self.packed_bytes * (1 + 4 + WORD_BYTES) + max(self.subset_sizes) * (8 + 1 + 1)

    def check_samples(self, n_samples: int) -> None:
        """Raise ConfigError if so many samples at once are more than fit in this machine's memory."""
        most = memory_size() // self.sample_bytes
        if n_samples > most:
            raise ConfigError(
                f"samples of {self.n_bits} bits must be at most {most}, which fill this machine's "
                f"{format_bytes(memory_size())} of memory, not {n_samples}"
            )


class TaskSpec(TaskShape):
    """Which multitask sparse parity problem: its size and its frequencies."""

    alpha: Alpha = 0.4
    """Quanta exponent (the Zipf exponent is 1 + alpha), or "uniform" for equal frequencies."""

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Probability of each subtask, most frequent first, shape (K,)."""
        if self.alpha == "uniform":
            return uniform_frequencies(self.n_subtasks)
        return zipf_frequencies(self.n_subtasks, self.alpha, self.offset)
