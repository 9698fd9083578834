"""The shipped studies: those of the paper have its settings, and small ones are small."""

import numpy as np
import pytest

from quanta.study.cost import count_flops
from quanta.study.spec import load_study, shipped_studies

# Michaud et al. (2023), arXiv:2303.13506, and its published configurations: what all studies share.
COMMON = {
    "n_subtasks": (500,),
    "n_bits": (100,),
    "k": 3,
    "offset": 0.0,
    "n_hidden_layers": 1,
    "batch_size": (20_000,),
    "learning_rate": (1e-3,),
    "weight_decay": 0.0,
    "precision": "float32",
    "freeze_first_layer": False,
    "sampling": "replacement",
    "patience": None,
    "n_train": ("online",),
    "alpha": (0.4,),
    "seed": (0,),
}
TRAINING_SETS = {n: tuple(np.geomspace(1e4, 5e6, n).astype(int).tolist()) for n in (13, 25, 30)}
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

# What each has of its own; widths are geometric, (first, last, how many), and it logs every so many steps.
PUBLISHED = {
    "michaud2023-parameters": {"widths": (10, 500, 30), "steps": 200_000, "log": 100},
    "michaud2023-alpha": {
        "widths": (10, 300, 20),
        "steps": 100_000,
        "log": 500,
        "alpha": ALPHAS,
        "seed": (0, 1, 2),
    },
    "michaud2023-uniform": {
        "widths": (10, 300, 20),
        "steps": 100_000,
        "log": 500,
        "alpha": ("uniform",),
        "seed": (0, 1, 2),
    },
    "michaud2023-data": {
        "widths": (500, 500, 1),
        "steps": 1_000_000,
        "log": 100,
        "n_train": TRAINING_SETS[30],
        "sampling": "epochs",
    },
    "michaud2023-alpha-data": {
        "widths": (500, 500, 1),
        "steps": 100_000,
        "log": 500,
        "alpha": tuple(round(0.1 + 0.05 * i, 2) for i in range(15)),
        "n_train": TRAINING_SETS[25],
        "sampling": "epochs",
    },
    "michaud2023-joint": {
        "widths": (10, 60, 6),
        "steps": 300_000,
        "log": 500,
        "alpha": (0.3,),
        "offset": 10.0,
        "n_subtasks": (400,),
        "batch_size": (100_000,),
        "n_train": TRAINING_SETS[13],
        "sampling": "epochs",
    },
    "michaud2023-time": {"widths": (500, 500, 1), "steps": 200_000, "log": 100},
}

SMALL_FLOPS = 15 * 60 * 60e9
"""Products of a quarter of an hour at 60 GFLOP/s; two cores have done from 90 to 230 in compiled code."""


def read(study):
    """All that a study holds, but its name and description, flat."""
    whole = {name: getattr(study, name) for name in ("alpha", "n_train", "seed")}
    for section in ("task", "population", "training", "evaluation"):
        whole |= dict(getattr(study, section))
    return whole


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_of_the_paper(name):
    own = dict(PUBLISHED[name])
    first, last, count = own.pop("widths")
    log, steps = own.pop("log"), own["steps"]
    study = load_study(name)
    found = read(study)
    widths = found.pop("widths")
    np.testing.assert_allclose(widths, np.geomspace(first, last, count), rtol=0, atol=0.5)
    for unit in study.units()[:1]:
        assert unit.evaluation_steps.tolist() == list(range(0, steps + 1, log))
        assert unit.evaluation.samples_per_subtask == 1000
    for key, value in (COMMON | own).items():
        assert found[key] == value, key


@pytest.mark.parametrize("name", [name for name in shipped_studies() if name.startswith("small-")])
def test_small_ones_are_small(name):
    units = load_study(name).units()
    assert sum(map(count_flops, units)) < SMALL_FLOPS
    assert len({unit.seed for unit in units}) >= 3  # or there are no intervals


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_of_the_paper_has_a_small_one_of_the_same_kind(name):
    published, small = load_study(name), load_study(f"small-{name}")
    assert set(small.alpha) <= set(published.alpha)
    assert (len(small.alpha) > 3) == (len(published.alpha) > 3)
    assert len(small.population.widths) > 1 or len(published.population.widths) == 1
    assert (len(small.n_train) > 1) == (len(published.n_train) > 1)
    assert (small.task.offset > 0) == (published.task.offset > 0)


def test_the_k_sweep_varies_k_alone():
    study = load_study("small-k-sweep")
    assert study.task.n_subtasks == (32, 128, 512)
    several = {name for name, value in read(study).items() if isinstance(value, tuple) and len(value) > 1}
    assert several == {"n_subtasks", "seed", "widths"}
    assert (study.population.widths[0], study.population.widths[-1]) == (16, 256)
    assert (study.alpha, study.task.n_bits, len(study.seed)) == ((0.4,), (32,), 4)


def test_three_learning_rates():
    study = load_study("small-learning-rate")
    assert len(study.training.learning_rate) == 3
    several = {name for name, value in read(study).items() if isinstance(value, tuple) and len(value) > 1}
    assert several == {"learning_rate", "seed", "widths"}
