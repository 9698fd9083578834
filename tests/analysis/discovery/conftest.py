from dataclasses import dataclass, replace

import numpy as np
import pytest

from quanta.analysis.discovery.network import Law, discover
from quanta.tasks.frequencies import zipf_frequencies

K = 12


@dataclass(frozen=True)
class FakeSample:
    subtask: np.ndarray
    label: np.ndarray
    loss: np.ndarray

    def take(self, places):
        return replace(self, subtask=self.subtask[places], label=self.label[places], loss=self.loss[places])


class FakeNetwork:
    """Gradients of a subtask are alike up to the label's sign, if it is among the first that are learned.

    Everything else is noise: of what is not learned, of activations, inputs and the network at step 0.
    """

    def __init__(self, n_learned=8, within=0.7):
        self.n_learned, self.within = n_learned, within

    def draw(self, n_samples, frequencies, seed):
        rng = np.random.default_rng(seed)
        subtask = rng.choice(len(frequencies), n_samples, p=frequencies)
        loss = np.where(subtask < self.n_learned, 0.01, np.log(2))
        return FakeSample(subtask, rng.integers(0, 2, n_samples).astype(np.uint8), loss)

    def cosines(self, sample, of, sign):
        n = len(sample.subtask)
        noise = np.random.default_rng(n).normal(0, 0.1, (n, 60))
        code = np.zeros((n, K))
        if of == "gradients":
            learned = sample.subtask < self.n_learned
            code[np.arange(n), sample.subtask] = learned * (1 - 2.0 * sample.label) * self.within
        code = np.abs(code) if sign == "free" else code
        rows = np.hstack([code, noise])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows @ rows.T).astype(np.float32)


@pytest.fixture(scope="session")
def law():
    return Law(K, 1.4)


@pytest.fixture(scope="session")
def fake_network():
    return FakeNetwork


@pytest.fixture(scope="session")
def fake_discovery(law):
    return discover(FakeNetwork(), law, n_samples=300, n_simulated=12)


@pytest.fixture(scope="session")
def true_frequencies():
    return zipf_frequencies(K, 0.4)
