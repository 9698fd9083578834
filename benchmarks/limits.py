"""How memory grows with subtasks in training and with seeds in the analysis: ``python -m benchmarks.limits``.

Training is measured as `benchmarks.memory` does; the analysis by what Python and numpy allocate, since memory
that was used before hides what a resident set would show.
"""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from quanta import analysis
from quanta.analysis.figures import style
from quanta.study.spec import UnitSpec

SUBTASKS = (1000, 3000, 10_000, 30_000, 100_000)
SEEDS = (3, 10, 30, 100)
MIB = 2**20


def measure_training(n_subtasks: int) -> int:
    """Measure what training and evaluation take with K subtasks: four networks on 100 bits, batch 20000."""
    unit = UnitSpec.parse(
        {
            "alpha": 0.4,
            "n_train": "online",
            "seed": 0,
            "task": {"n_subtasks": n_subtasks, "n_bits": 100},
            "population": {"widths": [10, 30, 100, 300]},
            "training": {"steps": 1000},
            "evaluation": {"samples_per_subtask": 16},
        }
    )
    command = [sys.executable, "-m", "benchmarks.memory", "1"]
    text = unit.model_dump_json()
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["steps_and_evaluation"])


def measure_analysis(n_seeds: int) -> tuple[int, int]:
    """Measure what the verdict takes on a world of S seeds at the demo's size, and the curves' bytes."""
    curves = analysis.select(analysis.simulate("sigmoid", n_seeds=n_seeds))
    tracemalloc.start()
    analysis.judge(curves)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak, curves.nbytes


def draw(training: dict[int, int], analysed: dict[int, tuple[int, int]], path: Path) -> None:
    """Draw both against their sizes, each with the line through its ends."""
    with style.applied():
        figure = Figure(figsize=(7, 3), layout="constrained")
        left, right = figure.subplots(1, 2)
        for ax, x, y, label in (
            (left, list(training), list(training.values()), "subtasks K"),
            (right, list(analysed), [taken for taken, _ in analysed.values()], "seeds"),
        ):
            mib = np.array(y) / MIB
            ax.plot([x[0], x[-1]], [mib[0], mib[-1]], color="0.6", label="line through the ends")
            ax.plot(x, mib, "o", label="measured")
            ax.set(xlabel=label, ylabel="memory (MiB)", xlim=(0, None), ylim=(0, None))
        left.set_title("training")
        right.set_title("analysis, beyond the curves")
        left.legend()
        figure.savefig(path, dpi=200)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a figure to this file.",
)
def main(plot: Path | None) -> None:
    """Print tables of memory in Markdown."""
    training = {K: measure_training(K) for K in SUBTASKS}
    click.echo("| K | training, MiB | KiB a subtask |\n| ---: | ---: | ---: |")
    for K, taken in training.items():
        click.echo(f"| {K} | {taken / MIB:.0f} | {taken / 1024 / K:.2f} |")
    measure_analysis(SEEDS[0])  # what libraries keep
    analysed = {n: measure_analysis(n) for n in SEEDS}
    click.echo("\n| seeds | analysis beyond the curves, MiB | curves, MiB |\n| ---: | ---: | ---: |")
    for n, (taken, held) in analysed.items():
        click.echo(f"| {n} | {taken / MIB:.0f} | {held / MIB:.0f} |")
    if plot is not None:
        draw(training, analysed, plot)


if __name__ == "__main__":
    main()
