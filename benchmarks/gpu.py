"""Try all of it on a CUDA device and write one file to send back: ``python -m benchmarks.gpu``."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import click
import numpy as np
import torch

from benchmarks.measure import FULL, make_units
from quanta import __version__
from quanta.study.spec import StudySpec, UnitSpec, load_study
from quanta.training.capture import STEPS_PER_REPLAY
from quanta.training.device import describe_cpu
from quanta.training.trainer import Trainer, train_unit

SECONDS = 2.0
"""Time to fill with steps in a measurement; half as much is not counted first."""
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


def time_step(unit: UnitSpec, device: str, *, in_graphs: bool) -> float:
    """Time a step of training in milliseconds, with the host's wait for the last one."""
    trainer = Trainer(unit, device)

    def steps(seconds: float) -> tuple[int, float]:
        start, n_steps = perf_counter(), 0
        while perf_counter() - start < seconds:
            for _ in range(5):
                if in_graphs:
                    n_steps += trainer.advance(STEPS_PER_REPLAY)
                else:
                    trainer.step()
                    n_steps += 1
            trainer.samples_seen.sum().item()  # waits for the device
        return n_steps, perf_counter() - start

    steps(SECONDS / 2)
    n_steps, seconds = steps(SECONDS)
    return 1e3 * seconds / n_steps


def tabulate_times() -> Iterator[str]:
    """Time steps at the sizes of the benchmark, on the GPU in each precision, and on the CPU."""
    yield "| size | graphs, ms | graphs, tf32 | single launches | CPU |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, unit in make_units(FULL).items():
        rounded = unit.model_copy(update={"training": unit.training.model_copy(update={"precision": "tf32"})})
        times = (
            time_step(unit, "cuda", in_graphs=True),
            time_step(rounded, "cuda", in_graphs=True),
            time_step(unit, "cuda", in_graphs=False),
            time_step(unit, "cpu", in_graphs=False),
        )
        yield f"| {name} | {' | '.join(f'{time:.3g}' for time in times)} |"


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
