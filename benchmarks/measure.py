"""Measure the competitors and collect what was found as one JSON object."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.competitors import Careful, Competitor, Floor, Ours, Published, Sampling, Torch, Vmap
from quanta import __version__
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.study.sections import PopulationSpec
from quanta.study.spec import UnitSpec, load_study
from quanta.training.device import describe_cpu
from quanta.training.trainer import make_population

Name = TypeVar("Name")

COMPETITORS: dict[str, type[Competitor]] = {
    "ours": Ours,
    "torch": Torch,
    "published": Published,
    "careful": Careful,
    "vmap": Vmap,
    "floor": Floor,
}

if find_spec("jax") is not None:  # of the extra "bench"
    from benchmarks.jax_population import Jax

    COMPETITORS["jax"] = Jax

SLOW = 1.0
"""Seconds: an evaluation that takes longer is timed once, not in every repeat."""

MEMORY_REPEATS = 5
"""Processes in which memory is measured; what the allocator keeps differs between them."""


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes
    ----------
    repeats : int
        Rounds in which every competitor has its turn.
    seconds : float
        Time to fill with steps in a turn; at least one step.
    n_widths, batch_size, samples_per_subtask : int
        Of what stands for the paper's sizes.
    factors : tuple of float
        Multiples of the paper's sizes at which the scaling is measured.
    """

    repeats: int
    seconds: float
    n_widths: int
    batch_size: int
    samples_per_subtask: int
    factors: tuple[float, ...]


FULL = Effort(
    repeats=5,
    seconds=0.4,
    n_widths=20,
    batch_size=20_000,
    samples_per_subtask=256,
    factors=(0.25, 0.5, 1, 2, 4),
)
QUICK = Effort(
    repeats=3, seconds=0.05, n_widths=5, batch_size=2000, samples_per_subtask=16, factors=(0.5, 1, 2)
)


@dataclass(frozen=True)
class Times:
    """Seconds of one competitor, shape (repeats,): a step, and the evaluation that falls to a step."""

    step: NDArray[np.float64]
    evaluation: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """A step with its share of evaluation."""
        return self.step + self.evaluation


def clock(action: Callable[[], object], n_calls: int = 1) -> float:
    """Time one call of `action` in seconds, the mean of `n_calls`, with what it left a GPU to do."""
    start = perf_counter()
    for _ in range(n_calls):
        action()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return (perf_counter() - start) / n_calls


def time_alternately(competitors: Mapping[Name, Competitor], effort: Effort) -> dict[Name, Times]:
    """Time all competitors in every repeat, so that a busy moment of the machine meets all of them.

    Parameters
    ----------
    competitors : mapping
    effort : Effort

    Returns
    -------
    dict of Times
    """
    n_steps, evaluation = {}, {}
    for name, competitor in competitors.items():
        with competitor.settings():
            for _ in range(2):  # makes memory and state, and graphs of CUDA
                competitor.step()
            n_steps[name] = int(np.clip(effort.seconds / clock(competitor.step), 1, 1000))
            evaluation[name] = clock(competitor.evaluate)
    found: dict[Name, list[tuple[float, float]]] = {name: [] for name in competitors}
    for _ in range(effort.repeats):
        for name, competitor in competitors.items():
            with competitor.settings():
                if n_steps[name] > 1:
                    competitor.step()  # brings its data back into the caches
                step = clock(competitor.step, n_steps[name]) / competitor.steps_a_call
                if evaluation[name] < SLOW:
                    evaluation[name] = clock(competitor.evaluate)
                found[name].append((step, evaluation[name] * competitor.evaluations_per_step))
    return {name: Times(*np.array(values).T) for name, values in found.items()}


def measure(effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    effort : Effort
    say : callable
        Told what is being measured.

    Returns
    -------
    dict
        Plain Python types; docs/benchmarks.md says what is in it.
    """
    units = make_units(effort)
    result: dict[str, Any] = {
        "schema": 1,
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": f"{describe_cpu()}, {os.cpu_count()} cores",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "quanta": __version__,
        },
        "threads": torch.get_num_threads(),
        "compiled_for": make_population(units["ladder20"]).compiled_for,
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "quick": effort is QUICK,
        "sizes": {},
        "times_ms": {},
        "ratios": {},
        "ratio_ranges": {},
        "scaling": {},
        "shares": {"by_size": {}},
        "memory": {},
        "precision": {},
    }
    if "jax" not in COMPETITORS:
        say("JAX is not installed, so its population is left out; pip install '.[bench]' brings it")
    for size, unit in units.items():
        say(f"timing {size}")
        _add_size(result, size, unit, effort)
    shares = result["shares"]["by_size"]
    result["shares"]["sampling"] = shares["ladder20"]["sampling"]
    result["shares"]["evaluation"] = max(share["evaluation"] for share in shares.values())
    base = units["ladder20"]
    for axis, variants in make_scaling(base, effort.factors).items():
        say(f"scaling with {axis}")
        times = time_alternately({x: Ours(unit) for x, unit in variants.items()}, effort)
        result["scaling"][axis] = summarise_scaling({x: t.step for x, t in times.items()})
    say("precision")
    result["precision"] = measure_precision(base, effort)
    say("memory")
    result["memory"] = measure_memory(base)
    return result


def make_units(effort: Effort) -> dict[str, UnitSpec]:
    """Make the units that are timed, by the name of their size."""
    ladder = UnitSpec.parse(
        {
            "alpha": 0.4,
            "n_train": "online",
            "seed": 0,
            "task": {},  # the defaults are the paper's
            "population": {"widths": {"from": 10, "to": 300, "count": effort.n_widths}},
            "training": {"steps": 200_000, "batch_size": effort.batch_size},
            "evaluation": {"samples_per_subtask": effort.samples_per_subtask},
        }
    )
    return {
        "ladder20": ladder,
        "width500": ladder.model_copy(update={"population": PopulationSpec(widths=(500,))}),
        "demo": load_study("demo").units()[0],
    }


def make_scaling(base: UnitSpec, factors: tuple[float, ...]) -> dict[str, dict[int, UnitSpec]]:
    """Make the units along each axis: name of the axis to its value to the unit.

    More networks between the same two widths make the sum of widths larger.
    """
    low, high, count = base.population.widths[0], base.population.widths[-1], len(base.population.widths)
    counts = [round(count * factor) for factor in factors if factor <= 2]  # more would not be distinct
    ladders = [
        PopulationSpec.parse({"widths": {"from": low, "to": high, "count": count}}) for count in counts
    ]

    def along(section: str, field: str) -> dict[int, UnitSpec]:
        fixed = getattr(base, section)
        values = [round(getattr(fixed, field) * factor) for factor in factors]
        return {
            value: base.model_copy(update={section: fixed.model_copy(update={field: value})})
            for value in values
        }

    return {
        "sum_of_widths": {
            sum(ladder.widths): base.model_copy(update={"population": ladder}) for ladder in ladders
        },
        "batch_size": along("training", "batch_size"),
        "n_subtasks": along("task", "n_subtasks"),
        "n_bits": along("task", "n_bits"),
    }


def summarise_scaling(seconds: dict[int, NDArray[np.float64]]) -> dict[str, Any]:
    """Fit the median time of a step as a power of x."""
    ms = [1e3 * float(np.median(values)) for values in seconds.values()]
    fit = fit_power_law(list(seconds), ms)
    return {"slope": fit.slope, "slope_stderr": fit.slope_stderr, "x": list(seconds), "ms": ms}


def _add_size(result: dict[str, Any], size: str, unit: UnitSpec, effort: Effort) -> None:
    competitors = {name: make(unit) for name, make in COMPETITORS.items()}
    for competitor in competitors.values():
        competitor.search(lambda step: min(clock(step) for _ in range(effort.repeats)))
    floor = competitors["floor"]
    assert isinstance(floor, Floor)
    times = time_alternately(competitors | {"sampling": Sampling(unit)}, effort)
    ours = times["ours"]
    ratios = {
        name: ours.total / times[name].total if name == "floor" else times[name].total / ours.total
        for name in COMPETITORS
        if name != "ours"
    }
    result["sizes"][size] = {
        "widths": list(unit.population.widths),
        "sum_of_widths": sum(unit.population.widths),
        "batch_size": unit.training.batch_size,
        "n_subtasks": unit.task.n_subtasks,
        "n_bits": unit.task.n_bits,
        "steps": unit.training.steps,
        "samples_per_subtask": unit.evaluation.samples_per_subtask,
        "floor_slice": min(floor.rows, unit.training.batch_size),
    }
    result["times_ms"][size] = {name: _summarise(1e3 * times[name].total) for name in COMPETITORS}
    summaries = {name: _summarise(values) for name, values in ratios.items()}
    result["ratios"][size] = {name: summary["median"] for name, summary in summaries.items()}
    result["ratio_ranges"][size] = {name: [s["min"], s["max"]] for name, s in summaries.items()}
    result["shares"]["by_size"][size] = {
        "sampling": float(np.median(times["sampling"].step / ours.step)),
        "evaluation": float(np.median(ours.evaluation / ours.total)),
    }


def _summarise(values: NDArray[np.float64]) -> dict[str, float]:
    return {"median": float(np.median(values)), "min": float(values.min()), "max": float(values.max())}


def measure_precision(unit: UnitSpec, effort: Effort) -> dict[str, float]:
    """Time our step at each lower precision: name to float32's time over its own, median over repeats."""
    rounded = unit.model_copy(update={"training": unit.training.model_copy(update={"precision": "bf16"})})
    times = time_alternately({"float32": Ours(unit), "bf16": Ours(rounded)}, effort)
    return {"bf16": float(np.median(times["float32"].total / times["bf16"].total))}


def measure_memory(unit: UnitSpec) -> dict[str, Any]:
    """Measure how much memory training takes, median over processes; empty where that is not Linux."""
    if sys.platform != "linux":
        return {}
    command = [sys.executable, "-m", "benchmarks.memory", str(torch.get_num_threads())]
    text = unit.model_dump_json()
    runs = [
        json.loads(subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout)
        for _ in range(MEMORY_REPEATS)
    ]
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
