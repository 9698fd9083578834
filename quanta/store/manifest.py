"""What is known of a unit on disk: its manifest, which names its files and their checksums."""

import hashlib
import platform
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
from pydantic import Field

from quanta._version import __version__
from quanta.study.spec import UnitSpec
from quanta.tasks.config import Config, one_line
from quanta.tasks.seeds import Stream, derive_seed

if TYPE_CHECKING:
    import torch

UNIT_FILES = ("curves.nc", "weights.safetensors")
"""The files of a unit that is done, besides its manifest."""

CHECKPOINT = "checkpoint.safetensors"
"""The file of a unit that was begun and is not done."""


SCHEMA: Literal[2] = 2
"""Version of what is on disk. In 1, finite training sets were drawn from the stream of the batches, so that a
smaller one was no part of a larger one; units with online data are the same in both."""


class Manifest(Config):
    """What is known of one unit that was trained, or tried."""

    format: Literal[1, 2] = Field(1, alias="schema")
    """Version of what is on disk; see `SCHEMA`."""
    status: Literal["done", "failed"]
    """Whether the unit's files are there and whole, or it failed on its own."""
    reason: str | None = None
    """Why it failed."""
    unit: UnitSpec
    """The unit."""
    seeds: dict[str, int]
    """The seed of each stream of randomness."""
    device: str
    """The GPU, or the processor and the number of threads; another may change the last bits."""
    compiled_for: str = "unknown"
    """The instructions that compiled code used, such as AVX2; "none" where torch computed the gradients,
    "unknown" of a unit that failed or that a version trained which did not say."""
    versions: dict[str, str]
    """Versions of what computed it."""
    started: str
    """ISO 8601 time."""
    seconds: float = Field(allow_inf_nan=False)
    """Duration of the training, interruptions left out."""
    checksums: dict[str, str]
    """SHA-256 of each file of the unit."""

    @property
    def failure(self) -> str | None:
        """Why the unit failed on its own, in one line; None if it did not."""
        return one_line(self.reason or "no reason given") if self.status == "failed" else None

    @classmethod
    def describe(
        cls,
        unit: UnitSpec,
        folder: Path,
        *,
        device: "torch.device | None",
        started: datetime,
        seconds: float,
        compiled_for: str = "unknown",
        reason: str | None = None,
    ) -> Self:
        """Describe what became of a unit.

        Parameters
        ----------
        unit : UnitSpec
        folder : Path
            Where its files are, if it is done.
        device : torch.device or None
            Of this process; None if it was another that is gone.
        started : datetime
            With a time zone.
        seconds : float
        compiled_for : str, default "unknown"
            Of the population that was trained.
        reason : str, optional
            Why it failed; without one it is done.

        Returns
        -------
        Manifest
        """
        import torch  # here, because to read a manifest must not take seconds

        from quanta.training.device import describe_device

        return cls(
            schema=SCHEMA,
            status="done" if reason is None else "failed",
            reason=reason,
            unit=unit,
            seeds={stream: derive_seed(unit.seed, stream) for stream in get_args(Stream)},
            device="unknown" if device is None else describe_device(device),
            compiled_for=compiled_for,
            versions={
                "quanta": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            started=started.isoformat(timespec="seconds"),
            seconds=seconds,
            checksums={name: checksum(folder / name) or "" for name in UNIT_FILES} if reason is None else {},
        )

    def is_true_of(self, folder: Path) -> bool:
        """Whether the unit was trained to its end and its files are those that were written."""
        found = {name: checksum(folder / name) for name in UNIT_FILES}
        return self.status == "done" and self.checksums == found


def checksum(path: Path) -> str | None:
    """Compute the SHA-256 of a file, in hexadecimal digits; None if there is none or the disk fails.

    Raises
    ------
    PermissionError
        If this user may not read it.
    """
    if not path.is_file():  # a pipe or a device has no end
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError:
        raise
    except OSError:
        return None
