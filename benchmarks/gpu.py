"""Try all of it on a CUDA device and write one file to send back: ``python -m benchmarks.gpu``."""

import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import click
import numpy as np
import torch

from benchmarks.competitors import Competitor, Launched, Ours
from benchmarks.measure import COMPETITORS, FULL, Effort, clock, make_units, time_alternately
from quanta import __version__
from quanta.study.sections import PopulationSpec
from quanta.study.spec import StudySpec, UnitSpec, load_study
from quanta.training.device import describe_cpu
from quanta.training.trainer import train_unit

EFFORT = replace(FULL, seconds=0.25, repeats=3)

WARM_UP = 8
"""Times as long as a measurement."""

WAYS: dict[str, type[Competitor]] = {
    "ours": Ours,
    "launched": Launched,
    **{name: make for name, make in COMPETITORS.items() if name not in ("ours", "torch")},
}
"""What is timed on the GPU, where torch computes for us too."""

FIGURE_2 = {"widths": {"from": 10, "to": 500, "count": 30}}
"""The ladder of the paper's figure 2, which docs/benchmarks.md has an estimate for."""

N_SEEDS = 5
"""Of the study that is trained on both devices."""
LEARNED = 0.1
"""Bits."""
MEASURED = ("loss", "mean_loss")


def describe() -> str:
    """Name the device and the versions."""
    gpu = torch.cuda.get_device_properties(0)
    memory = f"{gpu.total_memory / 2**30:.0f} GiB"
    return (
        f"{gpu.name}, {memory}, CUDA {torch.version.cuda}; {describe_cpu()}; "
        f"torch {torch.__version__}, python {sys.version.split()[0]}, quanta {__version__}"
    )


def run_tests() -> Iterator[str]:
    """Run the tests marked `gpu`: the last lines that pytest prints."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--no-header"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    yield f"`pytest -m gpu` ended with {found.returncode}:"
    yield "```"
    yield from found.stdout.strip().splitlines()[-40:]
    yield "```"


def tabulate_times() -> Iterator[str]:
    """Time a step of every way on the GPU with exact and with rounded factors, and ours on the CPU."""
    units = make_units(FULL)
    units["figure2"] = units["ladder20"].model_copy(update={"population": PopulationSpec.parse(FIGURE_2)})
    yield "ms a step with its share of evaluation, medians; beside it the memory that torch held at most."
    for size, unit in units.items():
        widths = unit.population.widths
        yield f"\n**{size}**: {len(widths)} networks, sum of widths {sum(widths)}\n"
        yield "| way | float32 | over ours | tf32 | over ours | memory, MiB |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
        exact = time_ways(unit, "float32", WAYS, "cuda", EFFORT)
        # What is published waits for launches, with whatever factors.
        rounded = time_ways(unit, "tf32", WAYS.keys() - {"published"}, "cuda", EFFORT)
        for name, (_, memory) in exact.items():
            cells = [name]
            for found in (exact, rounded):
                ms = found[name][0] if name in found else math.nan
                cells += [f"{ms:.3g}", f"{ms / found['ours'][0]:.2f}"]
            yield f"| {' | '.join(cells)} | {memory / 2**20:.0f} |"
        ours = 1e3 * float(np.median(time_alternately({"ours": Ours(unit)}, FULL)["ours"].total))
        yield f"| ours on the CPU, {torch.get_num_threads()} threads | {ours:.3g} | | | | |"


def time_ways(
    unit: UnitSpec, precision: str, names: Iterable[str], device: str, effort: Effort
) -> dict[str, tuple[float, int]]:
    """Time ways, each alone since some need much memory: ms a step, and bytes that torch held at most."""
    rounded = unit.model_copy(update={"training": unit.training.model_copy(update={"precision": precision})})
    found = {}
    warm_up(device, effort)
    for name in names:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        competitor = WAYS[name](rounded, device)
        competitor.search(lambda step: min(clock(step) for _ in range(effort.repeats)))
        seconds = time_alternately({name: competitor}, effort)[name].total
        found[name] = (1e3 * float(np.median(seconds)), torch.cuda.max_memory_allocated())
    return found


def warm_up(device: str, effort: Effort) -> None:
    """Keep a device busy for a while: the clock of a GPU that was idle takes seconds to rise."""
    matrix = torch.ones(2000, 2000, device=device)
    start = perf_counter()
    while perf_counter() - start < WARM_UP * effort.seconds:
        for _ in range(20):
            matrix @ matrix
        matrix.sum().item()


def compare_devices(study: StudySpec, device: str) -> Iterator[str]:
    """Train a study on a device and on the CPU, and compare where they end.

    Each device draws batches of its own, so that seeds differ as other seeds do: what is compared is their
    means.
    """
    ends = []
    for place in (device, "cpu"):
        start = perf_counter()
        curves = [train_unit(unit, place).curves for unit in study.units()]
        seconds = perf_counter() - start
        yield f"{len(curves)} units of `{study.name}` on {place}: {seconds:.0f} s."
        ends.append([np.stack([one[name].isel(step=-1).squeeze() for one in curves]) for name in MEASURED])
    yield ""
    yield f"| width | learned on {device} | on cpu | difference in mean log loss | in standard errors |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for i, width in enumerate(study.population.widths):
        learned = [f"{(loss[:, i] < LEARNED).sum(axis=-1).mean():.1f}" for loss, _ in ends]
        there, ours = (np.log(mean_loss[:, i]) for _, mean_loss in ends)
        difference = there.mean() - ours.mean()
        error = np.sqrt(there.var(ddof=1) / there.size + ours.var(ddof=1) / ours.size)
        cells = (str(width), *learned, f"{difference:+.3f}", f"{difference / error:+.1f}")
        yield f"| {' | '.join(cells)} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("report", type=click.Path(dir_okay=False, path_type=Path), default="gpu-report.md")
def main(report: Path) -> None:
    """Run tests, times and a small study on a GPU, and write what came of it to REPORT."""
    if not torch.cuda.is_available():
        raise click.ClickException("torch finds no CUDA device here")
    study = load_study("demo").model_copy(update={"seed": tuple(range(N_SEEDS))})
    with report.open("w", encoding="utf-8") as file:
        sections = {
            "Tests": run_tests,
            "Times of a step": tabulate_times,
            "The same study on both": lambda: compare_devices(study, "cuda"),
        }
        file.write(f"# quanta on a GPU\n\n{describe()}\n")
        for title, make in sections.items():
            click.echo(f"{title} ...", err=True)
            file.write(f"\n## {title}\n\n")
            for line in make():
                file.write(f"{line}\n")
                file.flush()
    click.echo(f"written: {report}")


if __name__ == "__main__":
    main()
