"""A trained member with its task, to draw samples from and ask which of them it takes for alike.

Shapes: B samples, K subtasks. Everything that comes out is numpy, for who knows nothing of torch.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from quanta.study.spec import UnitSpec
from quanta.tasks.seeds import derive_sample_seed, derive_seed
from quanta.tasks.sparse_parity import Batch, MultitaskSparseParity
from quanta.training.gradients import WITHOUT_CODE, Sign, Term, compute_gram, compute_hidden
from quanta.training.population import Population
from quanta.training.trainer import make_population

Of = Literal["gradients", "untrained", "hidden", "input", "bits"]
"""What of a sample: gradients of the trained member or of itself at step 0, activations of its last hidden
layer, the dense input, or the bits alone."""


@dataclass(frozen=True)
class Sample:
    """Samples and what the member makes of them.

    Attributes
    ----------
    subtask : ndarray of int64, shape (B,)
        Counted from 0.
    label : ndarray of uint8, shape (B,)
    loss : ndarray of float64, shape (B,)
        Cross-entropy in nats.
    batch : Batch
        The samples themselves.
    """

    subtask: NDArray[np.int64]
    label: NDArray[np.uint8]
    loss: NDArray[np.float64]
    batch: Batch

    def take(self, places: NDArray[np.int64]) -> "Sample":
        """Keep those at these places."""
        index = torch.from_numpy(places).to(self.batch.subtask.device)
        batch = Batch(*(tensor[index] for tensor in self.batch))
        return Sample(self.subtask[places], self.label[places], self.loss[places], batch)


class Probe:
    """One trained member of a unit's population, and its task.

    Parameters
    ----------
    population : Population
        Trained on the unit.
    unit : UnitSpec
    width : int
        Which member.
    device : torch.device or str, default "cpu"
        Where everything is computed.
    terms : collection of {"readout", "hidden", "embedding", "bits", "bias"}
        The parameters whose gradients count.

    Raises
    ------
    ValueError
        If there is no member of that width.

    Notes
    -----
    The member at step 0 is drawn again from its seed. On another kind of device than it was trained on, it is
    another one of the same law.
    """

    def __init__(
        self,
        population: Population,
        unit: UnitSpec,
        width: int,
        device: torch.device | str = "cpu",
        terms: Collection[Term] = WITHOUT_CODE,
    ) -> None:
        self.task = MultitaskSparseParity(unit.task_spec, unit.seed, device)
        self.terms = tuple(terms)
        generator = torch.Generator(device).manual_seed(derive_seed(unit.seed, "init"))
        self._trained = population.member(width).to(device)
        self._untrained = make_population(unit, device, generator).member(width)

    def draw(self, n_samples: int, frequencies: NDArray[np.float64], seed: int) -> Sample:
        """Draw samples of subtasks at given frequencies, none of which any training draws but by chance.

        Parameters
        ----------
        n_samples : int
            B.
        frequencies : ndarray of float64, shape (K,)
            Of each subtask, summing to 1.
        seed : int
            Decides them, at least 0.

        Returns
        -------
        Sample
        """
        derived = derive_sample_seed(self.task.seed, seed)
        drawn = np.random.default_rng(derived).choice(len(frequencies), n_samples, p=frequencies)
        device = self.task.device
        packed = self.task.draw_packed(n_samples, torch.Generator(device).manual_seed(derived))
        batch = self.task.unpack(torch.from_numpy(drawn).to(device), packed)
        with torch.no_grad():
            logits = _logits(self._trained, self.task.dense_input(batch, _dtype(self._trained)))
            loss = functional.cross_entropy(logits.double(), batch.label.long(), reduction="none")
        return Sample(drawn, batch.label.cpu().numpy(), loss.cpu().numpy(), batch)

    def cosines(
        self,
        sample: Sample,
        of: Of,
        sign: Sign = "signed",
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Cosines between all pairs of samples.

        Parameters
        ----------
        sample : Sample
        of : {"gradients", "untrained", "hidden", "input", "bits"}
            Of what.
        sign : {"signed", "free"}, default "signed"
            For gradients; activations and inputs are never negative.
        advance : callable, optional
            Called with how many more of the B² cosines of gradients have been computed.

        Returns
        -------
        ndarray of float32, shape (B, B)
            0 where one of the two is zero everywhere.
        """
        batch = sample.batch
        if of in ("gradients", "untrained"):
            member = self._trained if of == "gradients" else self._untrained
            gram = compute_gram(member, batch, terms=self.terms, sign=sign, unit=True, advance=advance)
            return gram.float().cpu().numpy()
        rows = {
            "hidden": lambda: compute_hidden(self._trained, batch),
            "input": lambda: self.task.dense_input(batch),
            "bits": lambda: batch.bits.float(),
        }[of]()
        unit = functional.normalize(rows.double(), dim=1, eps=1e-300)
        return (unit @ unit.T).float().cpu().numpy()


def _dtype(member: nn.Sequential) -> torch.dtype:
    return next(member.parameters()).dtype


def _logits(member: nn.Sequential, inputs: Tensor) -> Tensor:
    found: Tensor = member(inputs)
    return found
