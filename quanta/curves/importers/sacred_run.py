"""One run folder of the paper's own code, which logs by sacred.

A run folder holds `config.json` and `info.json`, and `run.json` where sacred's own observer wrote it. They
are JSON made by jsonpickle, which can name Python objects; here such a name is a dictionary like any other,
and nothing is made of it. Their `alpha` is the Zipf exponent, 1 + α here, their losses are in nats, their D
of -1 is online training, and their `depth` counts layers of weights.

Shapes: T evaluations, K subtasks.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quanta.tasks.config import ConfigError, one_line, read_text
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies
from quanta.tasks.memory import memory_size

MAX_INFO_BYTES = 2**30
"""The longest `info.json`: the paper's longest run, 10,000 evaluations of 500 subtasks, has a fifth of it."""

BYTES_IN_MEMORY = 32
"""What a byte of JSON may take once it is read: lists that hold nothing take the most."""

SETTINGS = {
    "n_tasks": "n_subtasks",
    "n": "n_bits",
    "k": "k",
    "offset": "offset",
    "depth": "depth",
    "activation": "activation",
    "steps": "steps",
    "batch_size": "batch_size",
    "lr": "learning_rate",
    "weight_decay": "weight_decay",
}
"""What the runs of one file must have in common: how the paper's code calls it, and this package."""


class UnfitError(Exception):
    """Why a run cannot be taken; one line."""


@dataclass(frozen=True)
class Run:
    """What one folder says.

    Attributes
    ----------
    name : str
        The folder.
    settings : dict
        Those of `SETTINGS` that it names.
    place : tuple
        (alpha, n_train, seed, width), as in Curves.
    n_parameters : int
    step : tuple of int, length T
    is_whole : bool
        Whether it was logged up to its last step.
    loss : ndarray of float32, shape (T, K)
        In bits.
    accuracy : ndarray of float32, shape (T, K), or None
    """

    name: str
    settings: dict[str, Any]
    place: tuple[float, ...]
    n_parameters: int
    step: tuple[int, ...]
    is_whole: bool
    loss: NDArray[np.float32]
    accuracy: NDArray[np.float32] | None


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Run

    Raises
    ------
    UnfitError
        If it is unfinished or damaged.
    """
    config, info = (_read_json(folder / name, required=True) for name in ("config.json", "info.json"))
    status = _read_json(folder / "run.json", required=False).get("status")
    if status not in (None, "COMPLETED"):
        raise UnfitError(f"unfinished: run.json says {one_line(status, 40)}")
    n_subtasks = _number(config, "n_tasks", whole=True, least=1)
    steps = _number(config, "steps", whole=True, least=1)
    alpha = round(_number(config, "alpha", least=0) - 1, 12)  # theirs is 1 + α
    n_train = _number(config, "D", whole=True, least=-1)
    if n_train == 0:
        raise UnfitError("config.json: D: expected -1 or a number of examples, found 0")
    step = _steps(info)
    apart = step[-1] - step[-2] if len(step) > 1 else 1
    is_whole = step[-1] + apart >= steps
    if not is_whole and status is None:
        raise UnfitError(f"unfinished: last logged at step {step[-1]} of {steps}")
    accuracy = None
    loss = _per_subtask(info, "losses_subtasks", n_subtasks, step) / math.log(2)
    if "accuracies_subtasks" in info:
        accuracy = _per_subtask(info, "accuracies_subtasks", n_subtasks, step)
        if accuracy.max() > 1:
            raise UnfitError(f"info.json: accuracies_subtasks: expected 0..1, found {accuracy.max():g}")
    settings = {name: _setting(config[name]) for name in SETTINGS if name in config}
    offset = _number(config, "offset", least=-1) if "offset" in config else 0
    if offset == -1 or not law_of(n_subtasks, alpha, offset).all():
        raise UnfitError(f"config.json: alpha {1 + alpha:g} and offset {offset:g} give no frequencies")
    seed = _number(config, "seed", whole=True, least=0)
    width = _number(config, "width", whole=True, least=1)
    return Run(
        name=str(folder),
        settings=settings | {"n_tasks": n_subtasks, "steps": steps, "offset": offset},
        place=(alpha, math.inf if n_train == -1 else float(n_train), seed, width),
        n_parameters=int(_number(info, "P", whole=True, least=1, file="info.json")),
        step=step,
        is_whole=is_whole,
        loss=loss.astype(np.float32),
        accuracy=None if accuracy is None else accuracy.astype(np.float32),
    )


def _read_json(path: Path, *, required: bool) -> dict[str, Any]:
    """Read an object; one that need not be there is empty where it is not."""
    if not required and not path.exists():
        return {}
    try:
        found = json.loads(read_text(path, min(MAX_INFO_BYTES, memory_size() // BYTES_IN_MEMORY)))
    except FileNotFoundError:
        raise UnfitError(f"there is no {path.name}") from None
    except OSError as error:
        raise UnfitError(f"{path.name} cannot be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise UnfitError(f"{path.name} is not whole: {one_line(error)}") from None
    except RecursionError:
        raise UnfitError(f"{path.name} is nested too deeply") from None
    except (ConfigError, ValueError) as error:  # no text, or a number of thousands of digits
        raise UnfitError(f"{path.name}: {one_line(error)}") from None
    if not isinstance(found, dict):
        raise UnfitError(f"{path.name}: expected an object, found {type(found).__name__}")
    return found


def _number(
    values: dict[str, Any], name: str, *, least: float, whole: bool = False, file: str = "config.json"
) -> Any:
    value = values.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value < 2**63:
        if not whole:
            return value
        if value == int(value):
            return int(value)
    wanted = f"a whole number from {least} up" if whole else f"a number from {least} up"
    found = "none" if value is None else one_line(json.dumps(value), 40)
    raise UnfitError(f"{file}: {name}: expected {wanted}, found {found}")


def _setting(value: Any) -> int | float | str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else one_line(value, 40)


def _list(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict) and set(value) == {"py/tuple"}:  # as jsonpickle writes a tuple
        value = value["py/tuple"]
    if not isinstance(value, list):
        raise UnfitError(f"info.json: {name}: expected a list, found {one_line(json.dumps(value), 40)}")
    return value


def _floats(value: Any, name: str) -> NDArray[np.float64]:
    found = _list(value, name)
    try:
        array = np.asarray(found)
    except (ValueError, OverflowError):  # lists of several lengths
        array = np.asarray(None)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise UnfitError(f"info.json: {name}: expected numbers, found something else among them")
    return array.astype(np.float64)


def _steps(info: dict[str, Any]) -> tuple[int, ...]:
    if not info.get("log_steps"):
        raise UnfitError("unfinished: nothing was logged")
    step = _floats(info["log_steps"], "log_steps")
    if not ((step == np.rint(step)) & (step >= 0) & (step < 2**53)).all() or not (np.diff(step) > 0).all():
        raise UnfitError("info.json: log_steps: expected whole numbers that increase, found others")
    return tuple(step.astype(np.int64).tolist())


def _per_subtask(
    info: dict[str, Any], name: str, n_subtasks: int, step: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return values of shape (T, K)."""
    given = info.get(name)
    if not isinstance(given, dict):
        raise UnfitError(f"info.json: {name}: expected a list for each subtask, found none")
    columns = []
    for k in range(n_subtasks):
        if str(k) not in given:
            raise UnfitError(f"info.json: {name}: subtask {k} of 0..{n_subtasks - 1} is missing")
        column = _floats(given[str(k)], f"{name} of subtask {k}")
        if column.size != len(step):
            raise UnfitError(f"info.json: {name}: subtask {k} has {column.size} values at {len(step)} steps")
        wrong = ~(np.isfinite(column) & (column >= 0))
        if wrong.any():
            at = int(wrong.argmax())
            raise UnfitError(f"info.json: {name}: subtask {k} has {column[at]:g} at step {step[at]}")
        columns.append(column)
    return np.stack(columns, axis=1)


def law_of(n_subtasks: int, alpha: float, offset: float) -> NDArray[np.float64]:
    """Frequencies of the paper's code, shape (K,): its alpha of 0, -1 here, makes them equal."""
    return uniform_frequencies(n_subtasks) if alpha == -1 else zipf_frequencies(n_subtasks, alpha, offset)
