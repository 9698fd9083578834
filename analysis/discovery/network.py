"""Quanta of one network: its samples clustered, scored against their subtasks, with all nulls beside them.

Shapes: B samples, K subtasks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quanta.analysis.discovery.affinities import AFFINITIES
from quanta.analysis.discovery.calibration import N_SIMULATED, Calibration, calibrate, debias
from quanta.analysis.discovery.clusters import cluster, eigengap
from quanta.analysis.discovery.scores import score
from quanta.analysis.discovery.zipf import count_sizes, fit_line_to_envelope, fit_zipf
from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.records import Record

PROBED = 128
"""Samples of each subtask by which it is seen whether it is learned."""

LOW_LOSS = 0.1
"""Nats below which the paper keeps a sample, for want of knowing what is learned."""

_N_SWEPT = 8

_FEWEST = 10
"""The smallest number of clusters in the envelope, as in the paper, unless all are below it."""

_STREAMS = {"learned": 0, "zipf": 1, "equal": 2, "all": 3, "low_loss": 4, "shuffled": 5, "simulated": 100}
"""Seeds of the samples, from the seed of all times a thousand on."""


class Network(Protocol):
    """A trained network as a source of numbers; `quanta.training.probe.Probe` is one."""

    def draw(self, n_samples: int, frequencies: NDArray[np.float64], seed: int, /) -> Any:
        """Draw samples of subtasks at these frequencies (K,).

        They have their `subtask` (B,), counted from 0, `label` (B,) and `loss` (B,) in nats, and `take` keeps
        those at some places.
        """

    def cosines(self, sample: Any, of: Any, sign: Literal["signed", "free"], /) -> NDArray[np.float32]:
        """Compute the cosines (B, B) of "gradients", or of a null as in the scores."""


@dataclass(frozen=True)
class Law:
    """Frequencies p_k ∝ (k + offset)^-z of the task.

    Attributes
    ----------
    n_subtasks : int
        K.
    exponent : float
        z, which is 1 + α; 0 if they are equal.
    offset : float
    """

    n_subtasks: int
    exponent: float
    offset: float = 0.0

    def frequencies(self, subtasks: NDArray[np.int64], exponent: float) -> NDArray[np.float64]:
        """Compute frequencies (K,) of another exponent, of these subtasks (counted from 0) alone."""
        weight = np.zeros(self.n_subtasks)
        weight[subtasks] = (subtasks + 1 + self.offset) ** -exponent
        return np.asarray(weight / weight.sum(), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Clusters(Record):
    """What the figures show of one affinity.

    Attributes
    ----------
    affinity : ndarray of float32, shape (B, B)
    cluster : ndarray of int64, shape (B,)
        Counted from 0, the largest first.
    subtask : ndarray of int64, shape (B,)
        Counted from 0.
    sizes : dict of ndarray
        Sizes of clusters, the largest first, by what was clustered; "truth": of the true subtasks.
    calibration : Calibration
    """

    affinity: NDArray[np.floating[Any]]
    cluster: NDArray[np.int64]
    subtask: NDArray[np.int64]
    sizes: dict[str, NDArray[np.int64]]
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Discovery(Record):
    """Quanta found in one network.

    Attributes
    ----------
    learned : ndarray of int64
        The subtasks that it has learned, counted from 0.
    scores, sweep, exponents, calibration : DataFrame
        What their columns mean is in `quanta.analysis.verdict.columns.DISCOVERY`.
    clusters : dict of Clusters
        By affinity.
    """

    learned: NDArray[np.int64]
    scores: pd.DataFrame
    sweep: pd.DataFrame
    exponents: pd.DataFrame
    calibration: pd.DataFrame
    clusters: dict[str, Clusters]


def find_learned(network: Network, law: Law, *, tau: float = 0.1, seed: int = 0) -> NDArray[np.int64]:
    """Find the subtasks, counted from 0, whose mean loss is below the share τ of chance, ln 2 nats."""
    equal = np.full(law.n_subtasks, 1 / law.n_subtasks)
    sample = network.draw(PROBED * law.n_subtasks, equal, _seed(seed, "learned"))
    n_each = np.bincount(sample.subtask, minlength=law.n_subtasks)
    loss = np.bincount(sample.subtask, weights=sample.loss, minlength=law.n_subtasks)
    return np.flatnonzero((n_each > 0) & (loss < tau * math.log(2) * n_each))


def count_clusterings(n_affinities: int, n_simulated: int = N_SIMULATED) -> int:
    """Count what `discover` does, at the most, by which it says how far it is."""
    return n_affinities * (n_simulated + len(_NULLS) + 2 * (2 + _N_SWEPT))


_NULLS = ("gradients", "equal", "shuffled", "hidden", "input", "bits", "untrained", "all", "low_loss")


def discover(
    network: Network,
    law: Law,
    *,
    affinities: Sequence[str] = ("angular", "cos4"),
    n_samples: int = 1000,
    tau: float = 0.1,
    confidence: float = 0.9,
    n_simulated: int = N_SIMULATED,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Discovery:
    """Cluster samples of a network and hold the clusters against the subtasks.

    All but two rows of the scores rest on samples of learned subtasks alone, at the frequencies of the task:
    gradients of what is not learned are noise. "all" leaves nothing out, and "low_loss" what the paper
    leaves out. Numbers of clusters are those of the subtasks there are, except in the sweep.

    Parameters
    ----------
    network : Network
    law : Law
        Of the task.
    affinities : sequence of str
        Of `AFFINITIES`.
    n_samples : int, default 1000
        B.
    tau : float, default 0.1
        Share of chance below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    n_simulated : int, default 24
        Samples by which exponents are debiased.
    seed : int, default 0
        Decides the samples and the starts of k-means.
    advance : callable, optional
        Called with how many more clusterings are done.

    Returns
    -------
    Discovery

    Raises
    ------
    TooFewPoints
        If fewer than two subtasks are learned, or there are not more samples than clusters.
    """
    learned = find_learned(network, law, tau=tau, seed=seed)
    if learned.size < 2:
        raise TooFewPoints(
            f"the network must have learned 2 subtasks or more, not {learned.size} of {law.n_subtasks} "
            "(it may be too narrow, or its weights those of another task)"
        )
    if n_samples <= 2 * law.n_subtasks:
        raise TooFewPoints(
            f"samples must be more than the {2 * law.n_subtasks} clusters that are tried, not {n_samples}"
        )
    run = _Run(network, law, learned, n_samples, confidence, seed, advance or (lambda n: None))
    found = {name: run.study(name, n_simulated) for name in affinities}
    tables = {
        name: pd.concat([tables[name] for tables, _ in found.values()], ignore_index=True)
        for name in ("scores", "sweep", "exponents", "calibration")
    }
    return Discovery(learned, **tables, clusters={name: clusters for name, (_, clusters) in found.items()})


@dataclass(frozen=True)
class _Run:
    """What all steps of one discovery share."""

    network: Network
    law: Law
    learned: NDArray[np.int64]
    n_samples: int
    confidence: float
    seed: int
    advance: Callable[[int], None]

    def draw(self, stream: str, exponent: float, subtasks: NDArray[np.int64] | None = None) -> Any:
        kept = self.learned if subtasks is None else subtasks
        frequencies = self.law.frequencies(kept, exponent)
        return self.network.draw(self.n_samples, frequencies, _seed(self.seed, stream))

    def draw_low_loss(self) -> Any:
        """Draw eight times as many of all subtasks, and keep as many as asked for that have a low loss."""
        frequencies = self.law.frequencies(np.arange(self.law.n_subtasks), self.law.exponent)
        many = self.network.draw(8 * self.n_samples, frequencies, _seed(self.seed, "low_loss"))
        return many.take(np.flatnonzero(many.loss < LOW_LOSS)[: self.n_samples])

    def affinity(self, sample: Any, name: str, of: str = "gradients") -> NDArray[np.floating[Any]]:
        kind = AFFINITIES[name]
        return kind.transform(self.network.cosines(sample, of, kind.sign))

    def cluster(self, affinity: NDArray[np.floating[Any]], n_clusters: int) -> NDArray[np.int64]:
        found = cluster(affinity, n_clusters, seed=self.seed)
        self.advance(1)
        return found

    def study(self, name: str, n_simulated: int) -> tuple[dict[str, pd.DataFrame], Clusters]:
        """Do all of it with one affinity."""
        n = self.learned.size
        zipf = self.draw("zipf", self.law.exponent)
        equal = self.draw("equal", 0.0)
        everything = self.draw("all", self.law.exponent, np.arange(self.law.n_subtasks))
        low_loss = self.draw_low_loss()
        affinity = self.affinity(zipf, name)
        found = self.cluster(affinity, n)
        rows = [self._row(name, "gradients", zipf, found, n)]
        sizes = {"truth": count_sizes(zipf.subtask, self.law.n_subtasks)[:n]}
        sizes["gradients"] = count_sizes(found, n)

        affinity_of_equal = self.affinity(equal, name)
        of_equal = self.cluster(affinity_of_equal, n)
        rows.append(self._row(name, "equal", equal, of_equal, n))
        sizes["equal"] = count_sizes(of_equal, n)
        order = np.random.default_rng(_seed(self.seed, "shuffled")).permutation(self.n_samples)
        rows.append(self._row(name, "shuffled", zipf, found[order], n))
        for of in ("hidden", "input", "bits", "untrained"):
            other = self.cluster(self.affinity(zipf, name, of), n)
            rows.append(self._row(name, of, zipf, other, n))
            sizes[of] = count_sizes(other, n)
        for of, sample, n_clusters in (("all", everything, self.law.n_subtasks), ("low_loss", low_loss, n)):
            if len(sample.subtask) > n_clusters:
                other = self.cluster(self.affinity(sample, name), n_clusters)
                rows.append(self._row(name, of, sample, other, n_clusters))

        calibration = calibrate(
            lambda z, i: self._simulate(name, z, i),
            n_simulated=n_simulated,
            seed=_seed(self.seed, "simulated"),
        )
        sweep, curves = self._sweep(name, affinity, zipf)
        others = [count_sizes(self.cluster(affinity_of_equal, m), m) for m in map(len, curves)]
        lines = {"gradients": _line(curves), "equal": _line(others)}
        tables = {
            "scores": pd.DataFrame(rows),
            "sweep": sweep,
            "exponents": self._exponents(name, calibration, rows, lines),
            "calibration": pd.DataFrame(
                {"affinity": name, "true": calibration.true, "found": calibration.found}
            ),
        }
        return tables, Clusters(affinity, found, zipf.subtask, sizes, calibration)

    def _row(self, name: str, of: str, sample: Any, found: NDArray[np.int64], n: int) -> dict[str, Any]:
        scores = score(sample.subtask, found)
        exponent = fit_zipf(count_sizes(found, n), self.confidence)
        true_sizes = np.sort(np.unique(sample.subtask, return_counts=True)[1])[::-1]
        by_label = score(2 * sample.subtask + sample.label, found)
        return {
            "affinity": name,
            "of": of,
            "n_clusters": n,
            "ari": scores.ari,
            "ami": scores.ami,
            "v": scores.v,
            "ari_by_label": by_label.ari,
            "exponent": exponent.estimate,
            "exponent_lower": exponent.lower,
            "exponent_upper": exponent.upper,
            "exponent_of_truth": fit_zipf(true_sizes).estimate,
        }

    def _simulate(self, name: str, exponent: float, seed: int) -> float:
        n = self.learned.size
        sample = self.network.draw(self.n_samples, self.law.frequencies(self.learned, exponent), seed)
        return fit_zipf(count_sizes(self.cluster(self.affinity(sample, name), n), n)).estimate

    def _sweep(
        self, name: str, affinity: NDArray[np.floating[Any]], sample: Any
    ) -> tuple[pd.DataFrame, list[NDArray[np.int64]]]:
        """Cluster with several numbers of clusters; also give the sizes of clusters for each."""
        most = 2 * self.law.n_subtasks
        by_gap = eigengap(affinity, most)
        swept = np.geomspace(2, most, _N_SWEPT).round().astype(int).tolist()
        numbers = sorted({*swept, by_gap, self.learned.size})
        rows, curves = [], []
        for n in numbers:
            found = self.cluster(affinity, n)
            curves.append(count_sizes(found, n))
            row = self._row(name, "gradients", sample, found, n)
            chosen = ["truth"] * (n == self.learned.size) + ["eigengap"] * (n == by_gap)
            rows.append(row | {"chosen_by": " and ".join(chosen) or "sweep"})
        columns = ["affinity", "n_clusters", "chosen_by", "ari", "ami", "v", "exponent"]
        return pd.DataFrame(rows)[columns], curves

    def _exponents(
        self, name: str, calibration: Calibration, rows: list[dict[str, Any]], lines: dict[str, float]
    ) -> pd.DataFrame:
        true = {"gradients": self.law.exponent, "equal": 0.0}
        table = []
        for of, exponent in true.items():
            found = next(row["exponent"] for row in rows if row["of"] == of)
            interval = debias(calibration, found, self.confidence)
            assert interval.lower is not None
            assert interval.upper is not None
            table.append(
                {
                    "affinity": name,
                    "of": of,
                    "line": lines[of],
                    "found": found,
                    "debiased": interval.estimate,
                    "debiased_lower": interval.lower,
                    "debiased_upper": interval.upper,
                    "true": exponent,
                    "holds": interval.lower <= exponent <= interval.upper,
                }
            )
        return pd.DataFrame(table)


def _line(curves: list[NDArray[np.int64]]) -> float:
    many = [sizes for sizes in curves if sizes.size >= _FEWEST]
    return fit_line_to_envelope(many or curves)


def _seed(seed: int, stream: str) -> int:
    return 1000 * seed + _STREAMS[stream]
