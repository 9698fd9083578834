"""Where a unit on its way is kept, so that an interruption costs seconds and changes nothing.

One safetensors file holds everything that decides how a unit goes on: parameters, the optimiser's state, the
state of the generator of batches, and what was measured so far. A continued unit is bit for bit the one that
was never interrupted, on the same machine with the same number of threads. Another version of the
compiled code comes to other last bits, so the file names its version, and is of no use to another; nor is one
of a training set to whoever draws training sets in another way.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import torch
from safetensors.torch import save_file
from torch import Tensor

from quanta.store.manifest import SCHEMA
from quanta.study.spec import UnitSpec
from quanta.tasks.atomic import atomic_write
from quanta.tasks.config import one_line
from quanta.tasks.errors import QuantaError
from quanta.tasks.tensors import open_tensors
from quanta.training.trainer import Trainer

FORMAT = "quanta-checkpoint-1"

MIN_SECONDS = 5.0
"""Time between two checkpoints, at least."""

MAX_SHARE = 0.02
"""Of the time, for writing checkpoints: a large unit is kept less often."""


class CheckpointError(QuantaError):
    """A checkpoint that is damaged, or of another unit."""


class Checkpoint:
    """The checkpoint of one unit.

    Parameters
    ----------
    path : path-like
        The file; there need not be one yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._due = perf_counter() + MIN_SECONDS

    def save(self, trainer: Trainer) -> None:
        """Write the state of a trainer, whole or not at all; the one before is there until then.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        started = perf_counter()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in trainer.state().items()}
        metadata = {
            "format": FORMAT,
            "unit": trainer.unit.model_dump_json(),
            "n_steps": str(trainer.n_steps),
            "seconds": repr(float(state["seconds"])),  # for whoever looks how far it is
            "sha256": _digest(state),
        }
        if trainer.population.kernel_version is not None:
            metadata["kernel"] = str(trainer.population.kernel_version)
        if trainer.unit.n_train != "online":
            metadata["schema"] = str(SCHEMA)
        with atomic_write(self.path) as temporary:
            save_file(state, temporary, metadata)
        now = perf_counter()
        self._due = now + max(MIN_SECONDS, (now - started) / MAX_SHARE)

    def save_if_due(self, trainer: Trainer) -> None:
        """Write the state if the last was written long enough ago."""
        if perf_counter() >= self._due:
            self.save(trainer)

    def restore(self, trainer: Trainer) -> bool:
        """Put a new trainer of the same unit where the checkpoint was written; False if there is none.

        Raises
        ------
        CheckpointError
            If it is damaged, of another unit, of another version of the compiled code or of a training set
            that was drawn otherwise; the trainer must not be used then.
        """
        if not self.path.exists():
            return False
        state, head = self.read(trainer.unit)
        version = trainer.population.kernel_version
        if version is not None and head.get("kernel", "1") != str(version):
            raise CheckpointError(
                f"{self.path}: begun with version {one_line(head.get('kernel', '1'))} of the compiled code, "
                f"which comes to other last bits than version {version}"
            )
        schema = head.get("schema", "1")
        if trainer.unit.n_train != "online" and schema != str(SCHEMA):
            raise CheckpointError(
                f"{self.path}: begun on a training set of schema {one_line(schema)}, which has other "
                f"examples than one of schema {SCHEMA}"
            )
        try:
            trainer.restore(state)
            if head.get("n_steps") != str(trainer.n_steps):
                raise ValueError("its number of steps is not that of its contents")
        except ValueError as error:  # among them StateError
            raise self._error(error) from error
        return True

    def read(self, unit: UnitSpec) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Read a checkpoint as far as it can be judged without a trainer.

        Parameters
        ----------
        unit : UnitSpec
            Whose it must be.

        Returns
        -------
        state : dict of str to Tensor
            For `Trainer.restore`, which checks the rest.
        head : dict of str to str
            What it says of itself.

        Raises
        ------
        CheckpointError
            If it is damaged or of another unit.
        PermissionError
            If this user may not read it, which is no damage.
        """
        try:
            with open_tensors(self.path) as file:
                metadata = file.metadata
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"format: expected {FORMAT!r}, found {metadata.get('format')!r}")
                # Not the text: fields may have been added since, which are at their defaults then.
                if UnitSpec.parse(metadata.get("unit", "")) != unit:
                    raise ValueError("it is of another unit")
                state = {name: file.read(name) for name in file.tensors}
            if metadata.get("sha256") != _digest(state):
                raise ValueError("its checksum is not that of its contents")
            # Those from before the head told seconds have none.
            seconds = repr(float(state["seconds"]))
            unknown = set(metadata) - {"format", "unit", "n_steps", "seconds", "kernel", "schema", "sha256"}
            if unknown or metadata.get("seconds", seconds) != seconds:
                raise ValueError("its head and its contents differ")
        except PermissionError:
            raise
        except (OSError, ValueError) as error:
            raise self._error(error) from error
        return state, dict(metadata)

    def _error(self, reason: Exception) -> CheckpointError:
        return CheckpointError(f"{self.path}: not a checkpoint of this unit ({one_line(reason)})")

    def remove(self) -> None:
        """Delete the file, if there is one: the unit is done."""
        self.path.unlink(missing_ok=True)


def _digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
