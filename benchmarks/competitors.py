"""Ways to take one step of training every network of a ladder; all start from the same weights.

Shapes: B samples, K subtasks, n bits, G networks, H = sum of widths.
"""

# What overrides a method of Competitor is documented there.
# ruff: noqa: D102

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from quanta.study.spec import UnitSpec
from quanta.tasks.seeds import derive_seed
from quanta.tasks.sparse_parity import Batch
from quanta.training.capture import STEPS_PER_REPLAY
from quanta.training.device import own_products, own_threads
from quanta.training.trainer import Trainer

BITS = 1 / math.log(2)
"""Bits in a nat."""

FLOOR_SLICES = (128, 256, 512, 1024, 2048, 4096, 20_000)
"""Sizes of slices, in samples, that `Floor` tries."""


class Competitor(ABC):
    """One way to train the networks of a unit.

    Parameters
    ----------
    unit : UnitSpec
    device : torch.device or str, default "cpu"

    Attributes
    ----------
    evaluations_per_step : float
        How often a run of this kind evaluates.
    steps_a_call : int
        Steps that `step` takes.
    """

    steps_a_call = 1

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        self.unit = unit
        self.device = torch.device(device)
        self.evaluations_per_step = len(unit.evaluation_steps) / unit.training.steps

    @abstractmethod
    def step(self) -> None:
        """Take one optimisation step of every network on a fresh batch, or `steps_a_call` at once."""

    def search(self, clock: Callable[[Callable[[], None]], float]) -> None:  # noqa: B027
        """Keep what `clock` finds the fastest, where there is a choice."""

    @abstractmethod
    def evaluate(self) -> Tensor:
        """Measure the test loss in bits of every network on every subtask, shape (G, K)."""

    def settings(self) -> AbstractContextManager[object]:
        """Arrange torch's precision, and its threads as this way wants them; work inside of it."""
        return own_products(self.unit, self.device)


class Ours(Competitor):
    """A step of `quanta.Trainer`, with torch as `quanta train` arranges it; on CUDA in graphs."""

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.trainer = Trainer(unit, device)
        self.steps_a_call = STEPS_PER_REPLAY if self.device.type == "cuda" else 1

    def step(self) -> None:
        self.trainer.advance(self.steps_a_call)

    def evaluate(self) -> Tensor:
        return self.trainer.evaluate()["loss"]

    def settings(self) -> AbstractContextManager[object]:
        settings = ExitStack()
        settings.enter_context(own_threads(self.trainer.population))
        settings.enter_context(super().settings())
        return settings


class Launched(Ours):
    """Our step on CUDA without graphs, launched kernel by kernel."""

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.steps_a_call = 1

    def step(self) -> None:
        self.trainer.step()


class Torch(Ours):
    """Our step as it is where there is no compiler."""

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.trainer.population._kernel = None


class Sampling(Ours):
    """The part of our step that draws the batch."""

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.evaluations_per_step = 0.0
        self._data = torch.Generator(self.device).manual_seed(derive_seed(unit.seed, "data"))

    def step(self) -> None:
        self.trainer.task.draw_subtasks(self.unit.training.batch_size, self._data)
        self.trainer.task.draw_packed(self.unit.training.batch_size, self._data)


class Dense(Competitor):
    """Plain networks on the dense input (B, K + n): one-hot subtask code, then the bits."""

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        trainer = Trainer(unit, device)
        self.task = trainer.task
        self.networks = [trainer.population.member(width) for width in unit.population.widths]
        self._data = torch.Generator(self.device).manual_seed(derive_seed(unit.seed, "data"))
        self._test_set = self.task.sample_stratified(
            unit.evaluation.samples_per_subtask,
            torch.Generator(self.device).manual_seed(derive_seed(unit.seed, "evaluation")),
        )
        n_inputs = unit.task.n_subtasks + unit.task.n_bits
        dtype = trainer.population.weight.dtype
        self._inputs = torch.empty(unit.training.batch_size, n_inputs, dtype=dtype, device=self.device)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Draw a batch: input, of shape (B, K + n), and label, int64 of shape (B,)."""
        batch = self.task.sample(self.unit.training.batch_size, self._data)
        return self._dense(batch), batch.label.long()

    def _dense(self, batch: Batch) -> Tensor:
        """Write the dense input to memory that is used again and again: fresh pages would cost more."""
        inputs = self._inputs[: len(batch.subtask)].zero_()
        inputs.scatter_(1, batch.subtask[:, None], 1.0)
        inputs[:, self.unit.task.n_subtasks :].copy_(batch.bits)
        return inputs

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        losses = []
        for batch in _split(self._test_set, len(self._inputs)):
            logits, label = self._logits(self._dense(batch)), batch.label.long()
            losses.append(torch.stack([functional.cross_entropy(z, label, reduction="none") for z in logits]))
        by_subtask = (len(self.networks), self.unit.task.n_subtasks, -1)
        return torch.cat(losses, dim=1).reshape(by_subtask).mean(2) * BITS

    def _logits(self, inputs: Tensor) -> list[Tensor]:
        return [network(inputs) for network in self.networks]


class Careful(Dense):
    """One network after another, as a careful user of torch writes it."""

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.optimizers = [self._make_optimizer(network) for network in self.networks]

    def _make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        training = self.unit.training
        return torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )

    def step(self) -> None:
        for network, optimizer in zip(self.networks, self.optimizers, strict=True):
            inputs, label = self.draw()
            optimizer.zero_grad()
            functional.cross_entropy(network(inputs), label).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


class Published(Careful):
    """One network after another in the structure of the script behind arXiv:2303.13506, rewritten.

    The batch is put together subtask by subtask, Adam is not fused, and every hundredth step evaluates with
    one forward call a subtask.
    """

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.evaluations_per_step = 1 / 100
        self._counts = np.random.default_rng(derive_seed(unit.seed, "data"))

    def _make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.unit.training.learning_rate)

    def draw(self) -> tuple[Tensor, Tensor]:
        size, n_subtasks = self.unit.training.batch_size, self.unit.task.n_subtasks
        inputs = torch.zeros_like(self._inputs)
        label = torch.zeros(size, dtype=torch.int64, device=self.device)
        start = 0
        for subtask, count in enumerate(self._counts.multinomial(size, self.task.frequencies)):
            rows = slice(start, start + int(count))
            shape = (int(count), self.unit.task.n_bits)
            bits = torch.randint(0, 2, shape, generator=self._data, device=self.device)
            subset = self.task.subsets[subtask]
            inputs[rows, subtask] = 1
            inputs[rows, n_subtasks:] = bits
            label[rows] = bits[:, subset[subset >= 0]].sum(1) % 2
            start = rows.stop
        return inputs, label

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        losses = torch.empty(len(self.networks), self.unit.task.n_subtasks, device=self.device)
        by_subtask = _split(self._test_set, self.unit.evaluation.samples_per_subtask)
        for subtask, batch in enumerate(by_subtask):
            for index, network in enumerate(self.networks):
                inputs = self.task.dense_input(batch, self._inputs.dtype)  # every run makes its own
                losses[index, subtask] = functional.cross_entropy(network(inputs), batch.label.long())
        return losses * BITS


class Vmap(Dense):
    """All networks at once with `torch.func`, padded with zeros to the largest width.

    A hidden unit whose weights in and out are zero stays at zero: ReLU has gradient 0 there, so no mask is
    needed for the padded network to be the same function.
    """

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        n_inputs, width = self._inputs.shape[1], max(unit.population.widths)
        padded = [_pad(network, n_inputs, width) for network in self.networks]
        self._skeleton = padded[0]
        self.parameters, _ = stack_module_state(padded)
        self._optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=unit.training.learning_rate,
            weight_decay=unit.training.weight_decay,
            fused=True,
        )
        self._gradients = vmap(grad(self._loss), in_dims=(0, None, None))
        self._forward = vmap(self._call, in_dims=(0, None))

    def _call(self, parameters: dict[str, Tensor], inputs: Tensor) -> Any:
        return functional_call(self._skeleton, parameters, (inputs,))

    def _loss(self, parameters: dict[str, Tensor], inputs: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(self._call(parameters, inputs), label)

    def step(self) -> None:
        gradients = self._gradients(self.parameters, *self.draw())
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self._optimizer.step()

    def _logits(self, inputs: Tensor) -> list[Tensor]:
        return list(self._forward(self.parameters, inputs).unbind())


def _split(batch: Batch, size: int) -> list[Batch]:
    return [Batch(*parts) for parts in zip(*(torch.split(tensor, size) for tensor in batch), strict=True)]


def _pad(network: nn.Sequential, n_inputs: int, width: int) -> nn.Sequential:
    padded = nn.Sequential(nn.Linear(n_inputs, width), nn.ReLU(), nn.Linear(width, 2))
    padded.to(next(network.parameters()))
    with torch.no_grad():
        for parameter, values in zip(padded.parameters(), network.parameters(), strict=True):
            parameter.zero_()[tuple(slice(length) for length in values.shape)] = values
    return padded


class Floor(Competitor):
    """No training: only the two matrix products of the bits, 4 B n H floating-point operations.

    They are computed in slices, whose hidden layer may stay in cache; `search` finds the fastest size.
    """

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        self.evaluations_per_step = 0.0
        total, size = sum(unit.population.widths), unit.training.batch_size
        self.bits = torch.randint(0, 2, (size, unit.task.n_bits), device=self.device).float()
        self.weight = torch.rand(unit.task.n_bits, total, device=self.device)
        self.d_weight = torch.empty_like(self.weight)
        self.rows = size
        self._hidden = torch.zeros(size, total, device=self.device)

    def search(self, clock: Callable[[Callable[[], None]], float]) -> None:
        seconds = {}
        for rows in FLOOR_SLICES:
            self.rows = rows
            seconds[rows] = clock(self.step)
        self.rows = min(seconds, key=lambda rows: seconds[rows])

    def step(self) -> None:
        self.d_weight.zero_()
        for bits in torch.split(self.bits, self.rows):
            hidden = self._hidden[: len(bits)]
            torch.mm(bits, self.weight, out=hidden)
            self.d_weight.addmm_(bits.T, hidden)

    def evaluate(self) -> Tensor:
        return torch.empty(0)
