"""Time Gram matrices of gradients, and clustering by them: ``python -m benchmarks.gradients``."""

import resource
import statistics
import sys
from collections.abc import Callable
from time import process_time

import click
import numpy as np
import torch

from quanta.analysis.discovery.affinities import AFFINITIES
from quanta.analysis.discovery.clusters import cluster
from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.tasks.spec import TaskSpec
from quanta.training.gradients import compute_gram
from quanta.training.population import Population


def measure_gram(n_samples: int, width: int, n_rounds: int) -> dict[str, float]:
    """Time a Gram matrix beside the products that cannot be had for less: of activations and of the bits.

    Parameters
    ----------
    n_samples, width : int
        B samples of the paper's task and a member of this width.
    n_rounds : int
        Rounds in which they take turns.

    Returns
    -------
    dict
        Processor seconds (medians), their ratio with its extremes, and the peak memory of the process in GiB,
        which holds the two matrices that are compared.
    """
    task = MultitaskSparseParity(TaskSpec(), 0)
    batch = task.sample(n_samples, torch.Generator().manual_seed(0))
    member = Population((width,), 500, 100, generator=torch.Generator().manual_seed(0)).member(width)
    activations = torch.rand(n_samples, width, generator=torch.Generator().manual_seed(0))
    bits = batch.bits.float()
    seconds: dict[str, list[float]] = {"activations": [], "bits": [], "gram": []}
    for _ in range(n_rounds + 1):
        seconds["activations"].append(_time(lambda: torch.mm(activations, activations.T)))
        seconds["bits"].append(_time(lambda: torch.mm(bits, bits.T)))
        seconds["gram"].append(_time(lambda: compute_gram(member, batch)))
    kept = {name: values[1:] for name, values in seconds.items()}  # the first round warms up
    ratios = [g / (a + b) for g, a, b in zip(kept["gram"], kept["activations"], kept["bits"], strict=True)]
    return {
        **{name: statistics.median(values) for name, values in kept.items()},
        "ratio": statistics.median(ratios),
        "min": min(ratios),
        "max": max(ratios),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def measure_clustering(n_samples: int, n_clusters: int) -> float:
    """Processor seconds of clustering samples in as many noisy groups as clusters."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 0.1, (n_samples, n_clusters)).astype(np.float32)
    rows[np.arange(n_samples), rng.integers(0, n_clusters, n_samples)] += 1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    affinity = AFFINITIES["cos4"].transform(rows @ rows.T)
    return _time(lambda: cluster(affinity, n_clusters))


def _time(call: Callable[[], object]) -> float:
    start = process_time()
    call()
    return process_time() - start


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--samples", type=click.IntRange(2), default=10_000, show_default=True)
@click.option("--width", type=click.IntRange(1), default=500, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of torch.  [default: torch's own choice]")
def main(samples: int, width: int, rounds: int, threads: int | None) -> None:
    """Time Gram matrices of gradients, and clustering of a twentieth to a fifth of the samples."""
    if threads is not None:
        torch.set_num_threads(threads)
    click.echo(f"Gram matrix of {samples} samples at width {width}, processor time ...", err=True)
    for name, value in measure_gram(samples, width, rounds).items():
        click.echo(f"{name:<12}{value:.3g}{' GiB' if name == 'peak' else ''}")
    for n in (samples // 20, samples // 10, samples // 5):
        click.echo(f"clustering of {n} samples in 16: {measure_clustering(n, min(16, n - 1)):.3g} s")


if __name__ == "__main__":
    sys.exit(main())
