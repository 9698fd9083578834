"""The weights of a trained population, as a safetensors file."""

import json
from pathlib import Path

from safetensors.torch import save_file

from quanta.study.spec import UnitSpec
from quanta.tasks.atomic import atomic_write
from quanta.tasks.config import one_line
from quanta.tasks.errors import QuantaError
from quanta.tasks.tensors import DTYPES, TensorFileError, open_tensors, sort_metadata
from quanta.training.population import Population
from quanta.training.trainer import make_population

TENSORS = {
    "embedding": "shape (K, H): row i is added to the hidden units for subtask i, counted from 0",
    "weight": "shape (n, H): bits @ weight is added to them",
    "bias": "shape (H,): and this; hidden units are relu of the sum",
    "hidden_weight": (
        "hidden_weight.i, shape (w, w): of deeper layers, for relu(hidden @ weight + bias); i counts from 0 "
        "over the widths of the second hidden layer, then of the third"
    ),
    "hidden_bias": "hidden_bias.i, shape (w,): likewise",
    "readout_weight": "shape (2, H): each network's logits of label 0 and 1 from its own hidden units",
    "readout_bias": "shape (2, G): added to them",
}
"""What the tensors of a file are: K subtasks, n bits, and the hidden units H of all G networks, which stand
side by side in the order of `population.widths`."""


class WeightsError(QuantaError):
    """A file that does not hold the weights of a unit."""


def save_weights(population: Population, path: Path, unit: UnitSpec) -> None:
    """Write the weights of a unit's population, whole or not at all.

    Parameters
    ----------
    population : Population
    path : Path
        Usually ends in ``.safetensors``.
    unit : UnitSpec

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    weights = {name: x.detach().cpu() for name, x in population.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(weights, temporary, {"unit": unit.model_dump_json(), "tensors": json.dumps(TENSORS)})
        sort_metadata(temporary)


def load_weights(path: Path, unit: UnitSpec) -> Population:
    """Read the trained population of a unit, on the CPU.

    Parameters
    ----------
    path : Path
    unit : UnitSpec
        Decides the shapes.

    Returns
    -------
    Population

    Raises
    ------
    WeightsError
        If the file is damaged, or is one of another shape.
    OSError
        If there is none that can be read.
    """
    expected = {
        name: (DTYPES[str(tensor.dtype).removeprefix("torch.")], tuple(tensor.shape))
        for name, tensor in make_population(unit, "meta").state_dict().items()
    }
    try:
        with open_tensors(path) as file:
            # Before anything of that size is made: the file has it, whatever its unit says.
            wrong = [name for name in expected if file.tensors.get(name) != expected[name]]
            wrong += [name for name in file.tensors if name not in expected]
            if wrong:
                raise TensorFileError(f"another type or shape of {wrong[0]}")
            weights = {name: file.read(name) for name in expected}
    except TensorFileError as error:
        raise WeightsError(f"{path}: not the weights of this unit ({one_line(error)})") from error
    population = make_population(unit)
    population.load_state_dict(weights)
    return population
