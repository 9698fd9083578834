"""How much memory a unit needs at the least, told from what it is before anything of it is made.

Every number of a specification has a bound of its own, but their products have not.

Shapes: K subtasks, n bits, G members, H sum of widths.
"""

from typing import Literal

from quanta.study.sections import EvaluationSpec, PopulationSpec, TrainingSpec
from quanta.tasks.memory import format_bytes
from quanta.tasks.spec import TaskShape

MAX_UNIT_BYTES = 2**38
"""The most memory that a unit may need, 256 GiB: more than one accelerator has, so more is a slip."""

MAX_CURVES_BYTES = 2**36
"""The most that curves may hold, 64 GiB in all units of a study, since an analysis reads them together."""

MAX_UNITS = 10_000
"""The most units of a study: each is a folder, and listing them must not take minutes."""

_CURVES = "curves (evaluation.n_evaluations x population.widths x task.n_subtasks)"


def memory_needed(
    task: TaskShape,
    population: PopulationSpec,
    training: TrainingSpec,
    evaluation: EvaluationSpec,
    n_train: int | Literal["online"],
) -> dict[str, int]:
    """Bytes that training a unit takes at the least, by what they are for.

    Parameters
    ----------
    task : TaskShape
    population : PopulationSpec
    training : TrainingSpec
    evaluation : EvaluationSpec
    n_train : int or "online"
        Distinct training examples D.

    Returns
    -------
    dict of str to int
        The keys name what decides the size. Activations and other passing arrays are not in it.
    """
    K, widths, samples = task.n_subtasks, population.widths, evaluation.samples_per_subtask
    G, H, n_parameters = len(widths), sum(widths), count_all_parameters(task, population)
    k = task.k if isinstance(task.k, int) else max(task.k)
    packed, sample = task.packed_bytes, task.sample_bytes
    itemsize = _itemsize(training)
    n_evaluations = min(evaluation.n_evaluations, training.steps + 1)
    # Besides each example, its place in the order of an epoch, or whether it was drawn.
    example = packed + 8 + (8 if training.sampling == "epochs" else 1)
    measured = 3 * 4 * G * K + 8 * K
    if n_train != "online":  # with how many examples were seen, and the loss on both halves of the test set
        measured += 8 * K + (2 * 4 * G * K if samples > 1 else 0)
    return {
        "subsets (task.n_subtasks x task.k)": K * k * (8 + 8 + 1),
        "training set (n_train x task.n_bits)": 0 if n_train == "online" else n_train * example,
        "test set (task.n_subtasks x evaluation.samples_per_subtask x task.n_bits)": K * samples * packed,
        "batch (training.batch_size x (task.n_bits + task.k))": training.batch_size * sample,
        "test samples of a subtask (evaluation.samples_per_subtask x (task.n_bits + task.k + widths))": (
            samples * (sample + G * itemsize)
        ),
        # The readout is held as a matrix, and the optimiser keeps a gradient and two moments.
        "parameters (population.widths x (task.n_subtasks + task.n_bits))": (
            itemsize * (4 * n_parameters + 2 * H * G)
        ),
        _CURVES: n_evaluations * measured,
    }


def count_all_parameters(task: TaskShape, population: PopulationSpec) -> int:
    """Count the parameters of all members of a population together."""
    first = (task.n_subtasks + task.n_bits + 3) * sum(population.widths)
    deeper = (population.n_hidden_layers - 1) * sum(width * (width + 1) for width in population.widths)
    return first + deeper + 2 * len(population.widths)


def disk_needed(
    task: TaskShape,
    population: PopulationSpec,
    training: TrainingSpec,
    evaluation: EvaluationSpec,
    n_train: int | Literal["online"],
) -> int:
    """Bytes that a unit which is done takes on disk at the most: its weights and its curves, uncompressed."""
    curves = memory_needed(task, population, training, evaluation, n_train)[_CURVES]
    return curves + _itemsize(training) * count_all_parameters(task, population)


def _itemsize(training: TrainingSpec) -> int:
    return 8 if training.precision == "float64" else 4


def check_fits(parts: dict[str, int], most: int, memory: str = "of memory", who: str = "a unit") -> None:
    """Raise ValueError if a unit, or several at once, need more bytes than there are.

    Parameters
    ----------
    parts : dict of str to int
        As `memory_needed` returns them.
    most : int
    memory : str
        What to call what there is.
    who : str
        Who needs it.

    Raises
    ------
    ValueError
        Says how much is allowed and needed, and for what.
    """
    total = sum(parts.values())
    if total > most:
        largest = max(parts, key=parts.__getitem__)
        raise ValueError(
            f"{who} must need at most {format_bytes(most)} {memory}, not {format_bytes(total)}, "
            f"most of it for {largest}"
        )


def check_size(
    task: TaskShape,
    population: PopulationSpec,
    training: TrainingSpec,
    evaluation: EvaluationSpec,
    n_train: int | Literal["online"],
) -> int:
    """Return how many bytes its curves take, or raise ValueError if a unit needs more than is allowed.

    Parameters
    ----------
    task, population, training, evaluation, n_train
        As in `memory_needed`.

    Raises
    ------
    ValueError
        If it needs more than `MAX_UNIT_BYTES`, or its curves more than `MAX_CURVES_BYTES`.
    """
    parts = memory_needed(task, population, training, evaluation, n_train)
    check_fits(parts, MAX_UNIT_BYTES)
    check_curves(parts[_CURVES])
    return parts[_CURVES]


def check_curves(curves: int) -> None:
    """Raise ValueError if the curves of all units of a study hold more bytes than `MAX_CURVES_BYTES`."""
    if curves > MAX_CURVES_BYTES:
        raise ValueError(
            f"{_CURVES} must take at most {format_bytes(MAX_CURVES_BYTES)} in all units together, "
            f"not {format_bytes(curves)}"
        )
