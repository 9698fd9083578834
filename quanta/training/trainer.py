"""Train one unit: sample, step, evaluate.

Shapes: B samples, K subtasks, G members.
"""

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from quanta.study.spec import UnitSpec
from quanta.tasks.seeds import Stream, derive_seed
from quanta.tasks.sparse_parity import Batch, MultitaskSparseParity
from quanta.training.batches import make_batches
from quanta.training.capture import STEPS_PER_REPLAY, CapturedSteps
from quanta.training.device import EVALUATION_ROWS, check_device, own_products, own_settings, own_threads
from quanta.training.optimizer import AdamW
from quanta.training.population import Population
from quanta.training.results import TrainedUnit, as_curves
from quanta.training.state import StateError, check_measured, check_samples_seen


def make_population(
    unit: UnitSpec, device: torch.device | str = "cpu", generator: torch.Generator | None = None
) -> Population:
    """Make the untrained population of a unit; `generator` decides its weights."""
    return Population(
        unit.population.widths,
        unit.task.n_subtasks,
        unit.task.n_bits,
        unit.population.n_hidden_layers,
        dtype=torch.float64 if unit.training.precision == "float64" else torch.float32,
        device=device,
        bf16=unit.training.precision == "bf16",
        generator=generator,
    )


class DivergedError(RuntimeError):
    """A loss that is no longer finite; says at which step and for which widths."""


class StoppedError(RuntimeError):
    """Training was asked to stop, and did between two steps."""


class Keeper(Protocol):
    """What keeps a unit on its way; see `quanta.store.checkpoint.Checkpoint`."""

    def restore(self, trainer: "Trainer") -> bool:
        """Put a new trainer where the unit was left; False if it was not begun."""

    def save_if_due(self, trainer: "Trainer") -> None:
        """Keep the state, if it is time."""

    def save(self, trainer: "Trainer") -> None:
        """Keep the state."""


class Trainer:
    """One unit on its way: the task, the population, the optimiser and the generators.

    Parameters
    ----------
    unit : UnitSpec
    device : torch.device or str, default "cpu"
        Where everything lives. On "meta" nothing is computed, but every shape and device is checked.

    Raises
    ------
    ConfigError
        If the device has not the unit's precision or memory.

    Attributes
    ----------
    n_steps : int
        Steps taken so far.
    samples_seen : Tensor of int64, shape (K,)
        Training samples of each subtask so far.
    batches : Batches
        Where they come from.
    evaluations : list of dict
        What `record` measured so far.
    seconds : float
        Time spent on the unit before this trainer took it up.
    """

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        self.unit = unit
        self.device = torch.device(device)
        check_device(unit, self.device)
        self.n_steps = 0
        self.seconds = 0.0
        self.evaluations: list[dict[str, NDArray[Any]]] = []
        self._created = perf_counter()
        self.task = MultitaskSparseParity(unit.task_spec, unit.seed, self.device)
        self.population = make_population(unit, self.device, self._generator("init"))
        if unit.training.freeze_first_layer:
            for parameter in (self.population.embedding, self.population.weight, self.population.bias):
                parameter.requires_grad_(False)
        self.optimizer = AdamW(
            # `compute_gradients` gives a gradient to the frozen ones too.
            (parameter for parameter in self.population.parameters() if parameter.requires_grad),
            unit.training.learning_rate,
            unit.training.weight_decay,
        )
        self._captured: dict[int, CapturedSteps] = {}
        self._has_stepped = False
        self.samples_seen = torch.zeros(unit.task.n_subtasks, dtype=torch.int64, device=self.device)
        self._data = self._generator("data")
        self._one = torch.ones((), dtype=torch.int64, device=self.device)
        self.batches = make_batches(unit, self.task, self._generator("examples"), self._data)
        # The same number of samples of every subtask, subtask by subtask; unpacked when they are needed.
        n_test = unit.evaluation.samples_per_subtask * unit.task.n_subtasks
        self._test_set = self.task.draw_packed(n_test, self._generator("evaluation"))

    def advance(self, most: int) -> int:
        """Take at least one optimisation step, and at most as many as asked for; return their number.

        On CUDA all but the first are replayed from a `CapturedSteps`, many together where they fit and one by
        one before an evaluation or the end of an epoch, and the host does not wait. A graph has static
        shapes, so the smaller batch that ends an epoch is taken without one.

        Parameters
        ----------
        most : int
            At least 1.
        """
        n_full = min(most, self.batches.begin(self.n_steps))
        if self.device.type == "cuda" and self._has_stepped and n_full > 0:
            taken = STEPS_PER_REPLAY if n_full >= STEPS_PER_REPLAY else 1
            if taken not in self._captured:
                assert self._data is not None
                self._captured[taken] = CapturedSteps(self.step, self._data, taken)
            self._captured[taken].replay()
        else:
            self.step()
            self._has_stepped, taken = True, 1
        self.n_steps += taken
        return taken

    def step(self) -> None:
        """Take one optimisation step of every member on one batch that `batches` has begun, uncounted."""
        subtask, packed = self.batches.take()
        self.samples_seen.scatter_add_(0, subtask, self._one.expand_as(subtask))
        if self.population.is_compiled:
            self.population.compute_gradients_packed(subtask, packed, self.task.own_bits)
        else:
            self.population.compute_gradients(*self.task.unpack(subtask, packed))
        self.optimizer.step()

    def record(self) -> None:
        """Evaluate, and append to `evaluations` what was measured.

        Raises
        ------
        DivergedError
            If a loss is not finite.
        """
        measured = {name: values.cpu().numpy() for name, values in self.evaluate().items()}
        _check_finite(measured["loss"], self.unit, self.n_steps)
        measured["samples_seen"] = self.samples_seen.cpu().numpy().copy()
        examples_seen = self.batches.count_examples(self.samples_seen)
        if examples_seen is not None:
            measured["examples_seen"] = examples_seen.cpu().numpy()
        self.evaluations.append(measured)

    def is_at_rest(self) -> bool:
        """Whether no network had a new lowest mean test loss in the last `training.patience` evaluations.

        Where the loss is measured on both halves of the test set it is that of the first: the other is kept
        for what is reported.
        """
        patience = self.unit.training.patience
        if patience is None or len(self.evaluations) <= patience:
            return False
        name = "selection_loss" if self.unit.has_halves else "loss"
        mean_loss = [evaluation[name] @ self.task.frequencies for evaluation in self.evaluations]
        last_lowest = int(np.argmin(mean_loss, axis=0).max())  # the first of equal ones, in each network
        return len(self.evaluations) - 1 - last_lowest >= patience

    def elapsed(self) -> float:
        """Seconds spent on the unit so far, interruptions left out."""
        return self.seconds + perf_counter() - self._created

    def state(self) -> dict[str, Tensor]:
        """Everything that decides how training goes on, by name; the tensors are not copied.

        The task, the training set and the test set are not in it: the unit decides them.
        """
        assert self._data is not None  # there is none on "meta"
        state = {f"population.{name}": tensor for name, tensor in self.population.state_dict().items()}
        for name, parameter in self.population.named_parameters():
            for key, tensor in self.optimizer.state.get(parameter, {}).items():
                state[f"optimizer.{name}.{key}"] = tensor
        for name in self.evaluations[0] if self.evaluations else ():
            stacked = np.stack([evaluation[name] for evaluation in self.evaluations])
            state[f"evaluations.{name}"] = torch.from_numpy(stacked)
        return state | {
            **self.batches.state(),
            "generator": self._data.get_state(),
            "samples_seen": self.samples_seen,
            "n_steps": torch.tensor(self.n_steps, device="cpu"),
            "seconds": torch.tensor(self.elapsed(), dtype=torch.float64, device="cpu"),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state` was taken, from a trainer of the same unit on the same kind of device.

        Raises
        ------
        StateError
            If it does not fit the unit.
        """
        parts: dict[str, dict[str, Tensor]] = {"population": {}, "optimizer": {}, "evaluations": {}}
        try:
            for name, tensor in state.items():
                part, _, rest = name.partition(".")
                if rest:
                    parts[part][rest] = tensor
            n_steps = int(state["n_steps"])
            measured = {name: values.numpy() for name, values in parts["evaluations"].items()}
            check_measured(self.unit, measured, n_steps)
            self.population.load_state_dict(parts["population"])
            for name, parameter in self.population.named_parameters():
                of_parameter = {
                    key.removeprefix(f"{name}."): tensor.to(self.device)
                    for key, tensor in parts["optimizer"].items()
                    if key.startswith(f"{name}.")
                }
                found = {key: (tensor.dtype, tuple(tensor.shape)) for key, tensor in of_parameter.items()}
                moment = (parameter.dtype, tuple(parameter.shape))
                expected = {"step": (torch.float32, ()), "exp_avg": moment, "exp_avg_sq": moment}
                if found != (expected if parameter.requires_grad and n_steps else {}):
                    raise ValueError(f"the optimiser's state of {name} has the types and shapes {found}")
                if of_parameter:
                    self.optimizer.state[parameter] = of_parameter
            n_presented = self.batches.n_presented(n_steps)
            check_samples_seen(self.unit, state["samples_seen"], n_steps, n_presented)
            self.samples_seen.copy_(state["samples_seen"])
            assert self._data is not None
            self._data.set_state(state["generator"])
            self.batches.restore(state, n_steps, state["samples_seen"])
            self.seconds = float(state["seconds"])
            if not (0 <= n_steps <= self.unit.training.steps and 0 <= self.seconds < math.inf):
                raise ValueError(f"it is at step {n_steps} after {self.seconds} s")
        except (KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise StateError(" ".join(str(error).split())) from error
        self.n_steps = n_steps
        n_kept = len(next(iter(measured.values()))) if measured else 0
        self.evaluations = [{name: values[i] for name, values in measured.items()} for i in range(n_kept)]

    def evaluate(self) -> dict[str, Tensor]:
        """Measure every member on every subtask of the test set.

        Returns
        -------
        dict
            ``loss`` in bits, ``accuracy`` and ``brier``, each a float32 Tensor of shape (G, K) on the device;
            of a unit that `has_halves` also ``selection_loss`` and ``reported_loss``, those of each half.
        """
        n_samples, n_subtasks = self.unit.evaluation.samples_per_subtask, self.unit.task.n_subtasks
        at_a_time = max(1, EVALUATION_ROWS // n_samples)
        parts = []
        for first in range(0, n_subtasks, at_a_time):
            last = min(first + at_a_time, n_subtasks)
            subtask = torch.arange(first, last, device=self.device).repeat_interleave(n_samples)
            packed = self._test_set[first * n_samples : last * n_samples]
            parts.append(self._measure(self.task.unpack(subtask, packed)))
        return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}

    def _measure(self, batch: Batch) -> dict[str, Tensor]:
        """Measure every member on some subtasks, as `evaluate` on all."""
        margin = self.population.predict(batch.subtask, batch.bits)
        target = batch.label[:, None].to(margin.dtype)
        per_sample = {
            "loss": functional.softplus((1 - 2 * target) * margin) / math.log(2),
            "accuracy": ((margin > 0) == (target > 0)).to(margin.dtype),
            "brier": (margin.sigmoid() - target).square(),
        }
        n_samples = self.unit.evaluation.samples_per_subtask
        by_subtask = {
            name: values.reshape(-1, n_samples, len(self.population.widths))
            for name, values in per_sample.items()
        }
        if self.unit.has_halves:
            halves = torch.tensor_split(by_subtask["loss"], 2, dim=1)
            by_subtask |= dict(zip(("selection_loss", "reported_loss"), halves, strict=True))
        return {name: values.mean(1).T.float() for name, values in by_subtask.items()}

    def _generator(self, stream: Stream) -> torch.Generator | None:
        if self.device.type == "meta":  # it has no generators
            return None
        return torch.Generator(self.device).manual_seed(derive_seed(self.unit.seed, stream))


@own_settings()
def train_unit(
    unit: UnitSpec,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
    keeper: Keeper | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainedUnit:
    """Train the population of one unit to the end, from the beginning or from where it was left.

    Parameters
    ----------
    unit : UnitSpec
    device : torch.device or str, default "cpu"
    on_progress : callable, optional
        Called with a number of steps that need no longer be taken.
    keeper : Keeper, optional
        Where the unit is taken up, if it was begun, and kept on its way.
    should_stop : callable, optional
        Asked after every step; when it says so, the unit is kept and `StoppedError` raised.

    Returns
    -------
    TrainedUnit

    Raises
    ------
    ConfigError
        If the device has not the unit's precision or memory.
    DivergedError
        If a loss is not finite at an evaluation.
    StoppedError
        If it was asked to stop.
    """
    trainer = Trainer(unit, device)
    if keeper is not None and keeper.restore(trainer) and on_progress is not None:
        on_progress(trainer.n_steps)
    with own_threads(trainer.population), own_products(unit, trainer.device):
        for step in unit.evaluation_steps[len(trainer.evaluations) :].tolist():
            while trainer.n_steps < step:
                taken = trainer.advance(step - trainer.n_steps)
                if on_progress is not None:
                    on_progress(taken)
                if should_stop is not None and should_stop():
                    if keeper is not None:
                        keeper.save(trainer)
                    raise StoppedError(f"stopped after step {trainer.n_steps}")
                if keeper is not None:
                    keeper.save_if_due(trainer)
            trainer.record()
            if trainer.is_at_rest():
                if on_progress is not None:
                    on_progress(unit.training.steps - trainer.n_steps)
                break
    return TrainedUnit(as_curves(unit, trainer.evaluations), trainer.population, trainer.elapsed())


def _check_finite(loss: np.ndarray[Any, Any], unit: UnitSpec, step: int) -> None:
    bad = ~np.isfinite(loss).all(axis=1)
    if bad.any():
        widths = ", ".join(str(width) for width in np.array(unit.population.widths)[bad])
        raise DivergedError(f"the loss is not finite at step {step} for widths {widths}")
