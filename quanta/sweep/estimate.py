"""What a study would take here, before it is trained: arithmetic, memory, disk, and time by a few steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from quanta.store.slices import Slice, group
from quanta.study.cost import count_flops
from quanta.study.size import count_all_parameters, disk_needed
from quanta.study.spec import UnitSpec
from quanta.tasks.memory import format_bytes
from quanta.tasks.terminal import format_duration
from quanta.training.device import (
    default_threads,
    memory_in_training,
    own_products,
    own_settings,
    own_threads,
    use_threads,
)
from quanta.training.population import count_parameters
from quanta.training.trainer import Trainer

if TYPE_CHECKING:
    from rich.console import Console

TIMED_SECONDS = 1.0
"""For how long the same thing is timed again and again; what takes longer is timed once."""
TIMED_STEPS = 5
"""Steps that are timed together."""


@dataclass(frozen=True)
class Timing:
    """What was timed of one unit.

    Attributes
    ----------
    setup, step, evaluation : float
        Seconds that it takes to begin, to take one step, and to evaluate once.
    """

    setup: float
    step: float
    evaluation: float

    def of(self, unit: UnitSpec) -> float:
        """Seconds of a whole unit."""
        n_evaluations = len(unit.evaluation_steps)
        return self.setup + unit.training.steps * self.step + n_evaluations * self.evaluation


@dataclass(frozen=True)
class SliceEstimate:
    """What the units of one slice would take.

    Attributes
    ----------
    condition : dict
    n_units : int
    n_parameters : int
        Of all widths of a unit together.
    flops : float
        Floating-point operations of all its units.
    memory : int
        Bytes that its largest unit takes at the least while it is trained.
    disk : int
        Bytes that its units take on disk at the most.
    step_seconds : float
        Of its slowest unit.
    seconds : float
        Of all its units, one after another.
    """

    condition: dict[str, int | float | str]
    n_units: int
    n_parameters: int
    flops: float
    memory: int
    disk: int
    step_seconds: float
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """What units of a study would take on one device.

    Attributes
    ----------
    study, device : str
    n_threads : int
    steps : int
        Of each unit.
    widths : tuple of int
    parameters : tuple of int
        N of the narrowest and of the widest network; the least and the most of all slices.
    slices : tuple of SliceEstimate
        In the order of the study.
    """

    study: str
    device: str
    n_threads: int
    steps: int
    widths: tuple[int, ...]
    parameters: tuple[int, int]
    slices: tuple[SliceEstimate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Turn into what `json.dumps` takes."""
        total = {name: sum(getattr(one, name) for one in self.slices) for name in _SUMMED}
        return {"schema": 1, **asdict(self), **total, "memory": max(one.memory for one in self.slices)}


_SUMMED = ("n_units", "flops", "disk", "seconds")


def estimate(
    study: str,
    units: Sequence[UnitSpec],
    device: torch.device | str = "cpu",
    n_threads: int | None = None,
    on_timed: Callable[[int], None] | None = None,
) -> Estimate:
    """Estimate what training units would take, from a few steps and an evaluation of each size of unit.

    Parameters
    ----------
    study : str
        Its name.
    units : sequence of UnitSpec
        At least one.
    device : torch.device or str, default "cpu"
    n_threads : int, optional
        As of `run_sweep`.
    on_timed : callable, optional
        Called with a number of units that need no longer be timed.

    Returns
    -------
    Estimate
        Times are of units one after another, if nothing else is at work on the machine. Units that differ in
        α, learning rate, seed or the size of a training set are taken to be equally fast.
    """
    device, n_threads = torch.device(device), n_threads or default_threads()
    sizes: dict[UnitSpec, list[UnitSpec]] = {}
    for unit in units:
        sizes.setdefault(_size(unit), []).append(unit)
    timings: dict[UnitSpec, Timing] = {}
    with use_threads(n_threads):
        for size, same in sizes.items():
            timings[size] = time_unit(_typical(same), device)
            if on_timed is not None:
                on_timed(len(same))
        found = [_estimate_slice(one, timings, n_threads) for one in group(units, ())]
    ends = [
        count_parameters(width, unit.task.n_subtasks, unit.task.n_bits, unit.population.n_hidden_layers)
        for unit in sizes
        for width in (unit.population.widths[0], unit.population.widths[-1])
    ]
    first = units[0]
    return Estimate(
        study,
        str(device),
        n_threads,
        first.training.steps,
        first.population.widths,
        (min(ends), max(ends)),
        tuple(found),
    )


@own_settings()
def time_unit(unit: UnitSpec, device: torch.device) -> Timing:
    """Begin a unit, take a few steps and evaluate; nothing of it is kept."""
    before = _now(device)
    trainer = Trainer(unit, device)
    with own_threads(trainer.population), own_products(unit, device):
        trainer.advance(1)  # what is made once is made now
        setup = _now(device) - before
        step = _fastest(lambda: _advance(trainer, TIMED_STEPS), device)
        evaluation = _fastest(lambda: bool(trainer.evaluate()), device)
    return Timing(setup, step, evaluation)


def _advance(trainer: Trainer, at_least: int) -> int:
    """Take steps, and return their number."""
    n_steps = 0
    while n_steps < at_least:
        n_steps += trainer.advance(trainer.unit.training.steps)
    return n_steps


def _fastest(work: Callable[[], int], device: torch.device) -> float:
    """Time work again and again, and return the least seconds for each of what it counts.

    What else is at work on a machine only makes it slower.
    """
    best, begun = math.inf, _now(device)
    before = now = begun
    while now - begun < TIMED_SECONDS:
        n = work()
        before, now = now, _now(device)
        best = min(best, (now - before) / n)
    return best


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def _size(unit: UnitSpec) -> UnitSpec:
    """Name what decides how long a unit takes, by the unit at a fixed value of all else."""
    training = unit.training.model_copy(update={"learning_rate": 1.0})
    data = unit.n_train if unit.n_train == "online" else 1
    return unit.model_copy(update={"alpha": 0.0, "n_train": data, "seed": 0, "training": training})


def _typical(units: Sequence[UnitSpec]) -> UnitSpec:
    """Choose the unit of the smallest training set that fills a batch, or else of the largest."""
    by_data = sorted(units, key=lambda unit: unit.coordinates["n_train"])
    filled = (unit for unit in by_data if unit.coordinates["n_train"] >= unit.training.batch_size)
    return next(filled, by_data[-1])


def _estimate_slice(one: Slice, timings: dict[UnitSpec, Timing], n_threads: int) -> SliceEstimate:
    units = one.units
    timed = [timings[_size(unit)] for unit in units]
    return SliceEstimate(
        one.condition,
        len(units),
        count_all_parameters(units[0].task, units[0].population),
        sum(map(count_flops, units)),
        max(sum(memory_in_training(unit, n_threads).values()) for unit in units),
        sum(
            disk_needed(unit.task, unit.population, unit.training, unit.evaluation, unit.n_train)
            for unit in units
        ),
        max(timing.step for timing in timed),
        sum(timing.of(unit) for timing, unit in zip(timed, units, strict=True)),
    )


def render_estimate(found: Estimate, console: "Console") -> None:
    """Print what units of a study would take: a line that sums up, and a row a slice.

    Parameters
    ----------
    found : Estimate
    console : Console
        Where to.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    whole = found.to_dict()
    low, high = found.parameters
    where = f"{found.device}, {found.n_threads} thread{'s' * (found.n_threads != 1)}"
    console.print(
        Text(
            f"{found.study}: {whole['n_units']} units of {len(found.widths)} widths "
            f"{found.widths[0]} to {found.widths[-1]}, {low:,} to {high:,} parameters a network, "
            f"{found.steps:,} steps each; about {format_duration(whole['seconds'])} here ({where})"
        )
    )
    console.print()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("slice", overflow="fold")
    for name in ("units", "parameters", "FLOPs", "memory", "disk", "a step", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.slices:
        name = ", ".join(f"{axis}={value}" for axis, value in one.condition.items())
        milliseconds = 1e3 * one.step_seconds
        step = f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"
        table.add_row(name, *_cells(asdict(one), f"{one.n_parameters:,}", step))
    if len(found.slices) > 1:
        table.add_section()
        table.add_row("all", *_cells(whole, "", ""))
    console.print(table)


def _cells(values: dict[str, Any], n_parameters: str, step: str) -> list[str]:
    return [
        str(values["n_units"]),
        n_parameters,
        f"{values['flops']:.1e}",
        format_bytes(values["memory"]),
        format_bytes(values["disk"]),
        step,
        format_duration(values["seconds"]),
    ]
