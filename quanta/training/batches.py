"""Where batches come from: fresh without end, or from a finite training set, drawn from it or gone through.

Shapes: B samples a batch, D examples, K subtasks, P bytes of packed bits a sample.
"""

import sys
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from quanta.study.spec import UnitSpec
from quanta.tasks.seeds import derive_epoch_seed
from quanta.tasks.sparse_parity import MultitaskSparseParity

EXAMPLES_AT_A_TIME = 2**14
"""Examples drawn at a time, whatever their number, so that a smaller set is the beginning of a larger one."""


class Batches(Protocol):
    """What the trainer takes its batches from.

    `take` has static shapes and asks the host for nothing, so that a CUDA graph can hold it; what does not go
    into a graph is done by `begin`.
    """

    def begin(self, n_steps: int) -> int:
        """Make ready for the batch after `n_steps`; say how many in a row from it on are of the full size.

        Parameters
        ----------
        n_steps : int
            Batches taken so far.

        Returns
        -------
        int
            0 if the next is smaller. So many may be taken without being made ready one by one.
        """

    def take(self) -> tuple[Tensor, Tensor]:
        """Take the next batch: subtasks, int64 (B,), and packed bits, uint8 (B, P)."""

    def n_presented(self, n_steps: int) -> int:
        """Count the samples of the first batches, those that came again included."""

    def count_examples(self, samples_seen: Tensor) -> Tensor | None:
        """Count the different examples of each subtask so far, int64 (K,); None if all are different.

        Parameters
        ----------
        samples_seen : Tensor of int64, shape (K,)
            Samples of each subtask so far.
        """

    def state(self) -> dict[str, Tensor]:
        """Return what decides how it goes on, besides the number of batches and the generator; not copied."""

    def restore(self, state: Mapping[str, Tensor], n_steps: int, samples_seen: Tensor) -> None:
        """Go on where `state` was taken.

        Raises
        ------
        KeyError, ValueError
            If it cannot be that of a set like this one.
        """


def make_batches(
    unit: UnitSpec,
    task: MultitaskSparseParity,
    examples: torch.Generator | None,
    data: torch.Generator | None,
) -> Batches:
    """Make what a unit is trained on.

    Parameters
    ----------
    unit : UnitSpec
    task : MultitaskSparseParity
        On the device where the batches shall be.
    examples, data : torch.Generator or None
        Of the training set and of the batches; None on "meta", which has none.

    Returns
    -------
    Batches
    """
    size = unit.training.batch_size
    if unit.n_train == "online":
        return FreshBatches(task, size, data)
    training_set = TrainingSet(task, unit.n_train, examples)
    if unit.training.sampling == "epochs":
        return EpochBatches(training_set, size, unit.seed, data)
    return DrawnBatches(training_set, size, data)


class TrainingSet:
    """D examples, held packed.

    Parameters
    ----------
    task : MultitaskSparseParity
        On the device where they shall be.
    n_train : int
        D. The examples of a smaller D are the first of those of a larger one, on devices of one kind.
    generator : torch.Generator or None
        Used for nothing else.

    Attributes
    ----------
    subtask : Tensor of int64, shape (D,)
    packed : Tensor of uint8, shape (D, P)
    """

    def __init__(self, task: MultitaskSparseParity, n_train: int, generator: torch.Generator | None) -> None:
        self.n_subtasks = task.spec.n_subtasks
        self.subtask = torch.empty(n_train, dtype=torch.int64, device=task.device)
        self.packed = torch.empty(n_train, task.spec.packed_bytes, dtype=torch.uint8, device=task.device)
        for first in range(0, n_train, EXAMPLES_AT_A_TIME):
            rows = slice(first, min(first + EXAMPLES_AT_A_TIME, n_train))
            # Also of the last ones as many as always are drawn: the bits come after the subtasks.
            subtask = task.draw_subtasks(EXAMPLES_AT_A_TIME, generator)
            packed = task.draw_packed(EXAMPLES_AT_A_TIME, generator)
            self.subtask[rows] = subtask[: rows.stop - first]
            self.packed[rows] = packed[: rows.stop - first]

    def __len__(self) -> int:
        return len(self.subtask)

    def rows(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Take the examples at some places."""
        return self.subtask.index_select(0, chosen), self.packed.index_select(0, chosen)

    def count(self, chosen: Tensor) -> Tensor:
        """Count the examples of each subtask that are chosen, int64 (K,); `chosen` is 0 or 1, shape (D,)."""
        counts = torch.zeros(self.n_subtasks, dtype=torch.int64, device=self.subtask.device)
        return counts.scatter_add_(0, self.subtask, chosen.to(torch.int64))


class FreshBatches:
    """Every batch is drawn anew: as many examples as there are samples.

    Parameters
    ----------
    task : MultitaskSparseParity
    size : int
        B.
    generator : torch.Generator or None
    """

    def __init__(self, task: MultitaskSparseParity, size: int, generator: torch.Generator | None) -> None:
        self._task, self._size, self._generator = task, size, generator

    def begin(self, n_steps: int) -> int:
        """As of `Batches`."""
        return sys.maxsize

    def take(self) -> tuple[Tensor, Tensor]:
        """As of `Batches`."""
        subtask = self._task.draw_subtasks(self._size, self._generator)
        return subtask, self._task.draw_packed(self._size, self._generator)

    def n_presented(self, n_steps: int) -> int:
        """As of `Batches`."""
        return n_steps * self._size

    def count_examples(self, samples_seen: Tensor) -> Tensor | None:
        """As of `Batches`."""
        return None

    def state(self) -> dict[str, Tensor]:
        """As of `Batches`."""
        return {}

    def restore(self, state: Mapping[str, Tensor], n_steps: int, samples_seen: Tensor) -> None:
        """As of `Batches`."""


class DrawnBatches:
    """Every sample is drawn from the training set, with replacement.

    Parameters
    ----------
    training_set : TrainingSet
    size : int
        B, which may be more than D.
    generator : torch.Generator or None
    """

    def __init__(self, training_set: TrainingSet, size: int, generator: torch.Generator | None) -> None:
        self.training_set, self._size, self._generator = training_set, size, generator
        # 0 or 1: files of tensors are read in plain numbers alone.
        self._seen = torch.zeros(len(training_set), dtype=torch.uint8, device=training_set.subtask.device)

    def begin(self, n_steps: int) -> int:
        """As of `Batches`."""
        return sys.maxsize

    def take(self) -> tuple[Tensor, Tensor]:
        """As of `Batches`."""
        chosen = torch.randint(
            len(self._seen), (self._size,), generator=self._generator, device=self._seen.device
        )
        self._seen.index_fill_(0, chosen, 1)
        return self.training_set.rows(chosen)

    def n_presented(self, n_steps: int) -> int:
        """As of `Batches`."""
        return n_steps * self._size

    def count_examples(self, samples_seen: Tensor) -> Tensor | None:
        """As of `Batches`."""
        return self.training_set.count(self._seen)

    def state(self) -> dict[str, Tensor]:
        """As of `Batches`."""
        return {"seen": self._seen}

    def restore(self, state: Mapping[str, Tensor], n_steps: int, samples_seen: Tensor) -> None:
        """As of `Batches`."""
        seen = state["seen"]
        if seen.dtype != self._seen.dtype or seen.shape != self._seen.shape or seen.max() > 1:
            raise ValueError(f"the marks of examples are {seen.dtype} of shape {tuple(seen.shape)}")
        self._seen.copy_(seen)
        counts = self.training_set.count(self._seen).cpu()
        if (counts > samples_seen).any() or ((counts == 0) & (samples_seen > 0)).any():
            raise ValueError("the examples seen are not those of the samples")


class EpochBatches:
    """The whole training set again and again, each time in a new order; what is left is a smaller last batch.

    Nothing but the number of steps says where it is: the order of an epoch has a seed of its own.

    Parameters
    ----------
    training_set : TrainingSet
    size : int
        The most samples of a batch; it is D where that is smaller.
    seed : int
        Of the unit.
    generator : torch.Generator or None
        Is given the seed of each epoch.
    """

    def __init__(
        self, training_set: TrainingSet, size: int, seed: int, generator: torch.Generator | None
    ) -> None:
        self.training_set, self._seed, self._generator = training_set, seed, generator
        n_train, device = len(training_set), training_set.subtask.device
        self._size = self._n_next = min(size, n_train)
        self._n_full, self._n_rest = divmod(n_train, self._size)
        self._order = torch.empty(n_train, dtype=torch.int64, device=device)
        # Where the next batch begins is on the device, since a graph would repeat a number of the host.
        self._place = torch.zeros((), dtype=torch.int64, device=device)
        self._within = torch.arange(self._size, dtype=torch.int64, device=device)
        self._of_subtask = training_set.count(torch.ones(n_train, dtype=torch.uint8, device=device))

    @property
    def _n_steps(self) -> int:
        """Batches of an epoch."""
        return self._n_full + (self._n_rest > 0)

    def begin(self, n_steps: int) -> int:
        """As of `Batches`; shuffles where an epoch begins."""
        epoch, taken = divmod(n_steps, self._n_steps)
        if taken == 0:
            self._shuffle(epoch)
        self._n_next = self._size if taken < self._n_full else self._n_rest
        return self._n_full - taken if taken < self._n_full else 0

    def take(self) -> tuple[Tensor, Tensor]:
        """As of `Batches`."""
        places = self._within[: self._n_next] + self._place
        self._place.add_(self._n_next)
        return self.training_set.rows(self._order.index_select(0, places))

    def n_presented(self, n_steps: int) -> int:
        """As of `Batches`."""
        epoch, taken = divmod(n_steps, self._n_steps)
        return epoch * len(self.training_set) + taken * self._size

    def count_examples(self, samples_seen: Tensor) -> Tensor | None:
        """As of `Batches`."""
        return torch.minimum(samples_seen, self._of_subtask)  # in the first epoch all are different

    def state(self) -> dict[str, Tensor]:
        """As of `Batches`."""
        return {}

    def restore(self, state: Mapping[str, Tensor], n_steps: int, samples_seen: Tensor) -> None:
        """As of `Batches`."""
        epoch, taken = divmod(n_steps, self._n_steps)
        if taken:
            self._shuffle(epoch)
            self._place.fill_(taken * self._size)

    def _shuffle(self, epoch: int) -> None:
        if self._generator is not None:
            self._generator.manual_seed(derive_epoch_seed(self._seed, epoch))
        torch.randperm(
            len(self._order), generator=self._generator, device=self._order.device, out=self._order
        )
        self._place.zero_()
