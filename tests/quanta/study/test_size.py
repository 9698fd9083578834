import re

import pytest

from quanta.study.size import MAX_UNITS
from quanta.study.spec import StudySpec, UnitSpec, load_study, shipped_studies
from quanta.tasks.config import ConfigError
from quanta.training.population import count_parameters
from quanta.training.trainer import Trainer

SMALLEST = {"name": "small", "population": {"widths": [4, 8]}, "training": {"steps": 100}}

PUBLISHED = {
    # Michaud et al. (2023), arXiv:2303.13506: K = 500, n = 100, widths to 500, batches of 20 000, 2e5 steps,
    # and up to 5e6 distinct examples.
    "task": {"n_subtasks": 500, "n_bits": 100, "k": 3},
    "population": {"widths": {"from": 10, "to": 500, "count": 30}},
    "training": {"steps": 200_000, "batch_size": 20_000},
    "n_train": ["online", 10_000, 5_000_000],
    "evaluation": {"n_evaluations": 2000},
    "seed": [0, 1, 2],
}


def needed(study):
    return study.units()[0].memory_needed


def part(study, name):
    [size] = [size for key, size in needed(study).items() if key.startswith(name)]
    return size


def n_bytes(*tensors):
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("sampling", ["replacement", "epochs"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("n_hidden_layers", [1, 3])
@pytest.mark.parametrize("n_bits", [64, 65])
def test_is_what_a_trainer_holds(n_bits, n_hidden_layers, precision, sampling):
    study = StudySpec.parse(
        {
            "name": "small",
            "n_train": 1000,
            "task": {"n_subtasks": 20, "n_bits": n_bits, "k": [1, 2, 3, 4] * 5},
            "population": {"widths": [3, 8, 10], "n_hidden_layers": n_hidden_layers},
            "training": {"steps": 4, "batch_size": 16, "precision": precision, "sampling": sampling},
            "evaluation": {"samples_per_subtask": 8, "n_evaluations": 5},
        }
    )
    trainer = Trainer(study.units()[0])
    trainer.advance(1)
    trainer.record()
    task, population = trainer.task, trainer.population
    batches = trainer.batches
    beside = batches._order if sampling == "epochs" else batches._seen
    held = n_bytes(batches.training_set.subtask, batches.training_set.packed, beside)
    assert part(study, "training set") == held
    assert part(study, "test set") == n_bytes(trainer._test_set)
    assert part(study, "subsets") == task.subsets.nbytes + n_bytes(task._bit_index, task._in_subset)
    moments = [
        tensor for state in trainer.optimizer.state.values() for tensor in state.values() if tensor.ndim
    ]
    gradients = [parameter.grad for parameter in population.parameters()]
    readout = population._readout()
    held = n_bytes(*population.parameters(), *moments, *gradients, population.membership, readout)
    # Both logits of a network are parameters, and counted; so are those of every layer.
    assert part(study, "parameters") == held
    n_parameters = sum(count_parameters(width, 20, n_bits, n_hidden_layers) for width in (3, 8, 10))
    assert n_parameters == sum(parameter.numel() for parameter in population.parameters())
    n_evaluations = 5  # at steps 0, 1, 2, 3 and 4, as many as are asked for
    assert part(study, "curves") == n_evaluations * sum(x.nbytes for x in trainer.evaluations[0].values())
    batch = trainer.task.sample(16)
    assert part(study, "batch") > n_bytes(*batch)


def test_online_there_is_no_training_set():
    assert part(StudySpec.parse(SMALLEST), "training set") == 0


def test_studies_of_published_size_are_allowed():
    study = StudySpec.parse({"name": "published", **PUBLISHED})
    assert len(study.units()) == 9
    # The largest a person may reasonably want: every one of the numbers above ten times.
    large = StudySpec.parse(
        {
            "name": "large",
            "task": {"n_subtasks": 5000, "n_bits": 1000},
            "population": {"widths": {"from": 10, "to": 5000, "count": 30}},
            "training": {"steps": 2_000_000, "batch_size": 200_000},
            "n_train": 50_000_000,
            "evaluation": {"n_evaluations": 1000},
        }
    )
    assert sum(needed(large).values()) < 2**35
    assert {name for name in shipped_studies() if load_study(name)} == shipped_studies().keys()


ABSURD = {
    "training set": ({"n_train": 10**9, "task": {"n_bits": 4096}}, "n_train x task.n_bits"),
    "test set": (
        {"task": {"n_subtasks": 100_000}, "evaluation": {"samples_per_subtask": 10**6}},
        "task.n_subtasks x evaluation.samples_per_subtask x task.n_bits",
    ),
    "batch": (
        {"task": {"n_bits": 4096}, "training": {"steps": 1, "batch_size": 10**8}},
        r"training.batch_size x \(task.n_bits \+ task.k\)",
    ),
    "parameters": (
        {"task": {"n_subtasks": 100_000}, "population": {"widths": [90_000, 100_000]}},
        r"population.widths x \(task.n_subtasks \+ task.n_bits\)",
    ),
    "parameters of many layers": (
        {"population": {"widths": [100_000], "n_hidden_layers": 16}},
        r"population.widths x \(task.n_subtasks \+ task.n_bits\)",
    ),
    "curves": (
        {
            "training": {"steps": 10**9},
            "population": {"widths": list(range(1, 201))},
            "evaluation": {"n_evaluations": 10**5},
        },
        "evaluation.n_evaluations x population.widths x task.n_subtasks",
    ),
}


@pytest.mark.parametrize("name", ABSURD)
def test_products_without_bounds_are_refused(name):
    values, product = ABSURD[name]
    with pytest.raises(ConfigError) as caught:
        StudySpec.parse(SMALLEST | values)
    line = str(caught.value)
    assert re.search(product, line)
    assert re.search(
        r"^a unit must need at most 256 GiB of memory, not [\d.e+]+ [GT]iB, most of it for ", line
    ) or re.search(r"must take at most 64 GiB in all units together, not [\d.]+ [GT]iB$", line)
    assert line.isprintable()


def test_a_unit_alone_is_refused_too():
    unit = StudySpec.parse(SMALLEST).units()[0].model_dump(mode="json")
    with pytest.raises(ConfigError, match="a unit must need at most 256 GiB"):
        UnitSpec.parse(unit | {"n_train": 10**9, "task": {"n_bits": 4096}})


def test_curves_of_many_units_are_counted_together():
    values = {"evaluation": {"n_evaluations": 10**4}, "training": {"steps": 10**9}}
    values |= {"population": {"widths": list(range(1, 101))}}
    StudySpec.parse(SMALLEST | values | {"seed": list(range(10))})
    with pytest.raises(ConfigError, match="must take at most 64 GiB in all units together, not 67"):
        StudySpec.parse(SMALLEST | values | {"seed": list(range(12))})


def test_the_largest_training_set_counts():
    with pytest.raises(ConfigError, match="most of it for training set"):
        StudySpec.parse(SMALLEST | {"n_train": ["online", 1, 10**9, 5], "task": {"n_bits": 4096}})


def test_the_number_of_units_is_limited():
    seeds = list(range(MAX_UNITS // 4))
    axes = {"seed": seeds, "alpha": [0.1, 0.2], "n_train": ["online", 5]}
    assert len(StudySpec.parse(SMALLEST | axes).units()) == MAX_UNITS
    with pytest.raises(ConfigError, match=r"^alpha x n_train x seed must be at most 10000 units, not 10004$"):
        StudySpec.parse(SMALLEST | axes | {"seed": [*seeds, 10**6]})
