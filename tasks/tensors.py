"""Read safetensors files that anybody may have written: header first, and tensors only when asked for."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from quanta.tasks.config import one_line
from quanta.tasks.errors import QuantaError

if TYPE_CHECKING:  # to read what is written about a file must not take seconds
    from torch import Tensor

MAX_HEADER_BYTES = 2**25
"""The longest header of a file, since reading one takes some twenty times its length of memory."""

DTYPES = {"int64": "I64", "uint8": "U8", "float32": "F32", "float64": "F64"}
"""What safetensors call the types that are used here."""


class TensorFileError(QuantaError):
    """A file that holds no tensors, or is damaged."""


class TensorFile:
    """An open file of tensors, of which only the header was read.

    Attributes
    ----------
    metadata : dict of str to str
    tensors : dict of str to (str, tuple of int)
        Name of each tensor to its type, as in the values of `DTYPES`, and its shape.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.metadata: dict[str, str] = file.metadata() or {}
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        self.tensors = {name: (x.get_dtype(), tuple(x.get_shape())) for name, x in slices.items()}

    def read(self, name: str) -> "Tensor":
        """Read one tensor into memory of its own; KeyError if there is none of that name."""
        dtype, _ = self.tensors[name]
        if dtype not in DTYPES.values():
            raise TensorFileError(f"{name}: expected {', '.join(DTYPES)}, found {dtype}")
        try:
            # As it comes, it is the file itself, and whoever cuts the file short then kills the process.
            tensor: Tensor = self._file.get_tensor(name).clone()
        except (TypeError, RuntimeError) as error:  # an empty tensor that is too long along another axis
            raise TensorFileError(one_line(error)) from error
        return tensor


@contextmanager
def open_tensors(path: str | os.PathLike[str]) -> Iterator[TensorFile]:
    """Open a safetensors file, whoever wrote it; nothing in it is executed.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    TensorFile

    Raises
    ------
    TensorFileError
        If it is no such file, is damaged, or has a header longer than `MAX_HEADER_BYTES`.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    _check_header(path)
    try:
        with _in_utf8(path) as name, safe_open(name, framework="pt", device="cpu") as file:
            yield TensorFile(file)
    except (SafetensorError, RuntimeError) as error:  # torch raises the latter if it cannot map the file
        raise TensorFileError(one_line(error)) from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what a safetensors file says of itself, whoever wrote it, without its tensors and without torch.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict of str to str

    Raises
    ------
    TensorFileError, OSError
        As `open_tensors`.
    """
    path = Path(path)
    _check_header(path)
    try:
        with _in_utf8(path) as name, safe_open(name, framework="numpy") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise TensorFileError(one_line(error)) from error


def sort_metadata(path: Path) -> None:
    """Put the metadata of a fresh safetensors file in order, so that the same contents are the same bytes.

    Parameters
    ----------
    path : Path
        A file that safetensors has just written.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= length:  # it is what was there in another order, and is filled up with spaces
            file.seek(8)
            file.write(text.ljust(length))


@contextmanager
def _in_utf8(path: Path) -> Iterator[str]:
    """Name a file in UTF-8, since safetensors opens no other; the system allows any bytes."""
    with path.open("rb") as file:
        is_utf8 = os.fsencode(path).decode(errors="ignore") == str(path)
        yield str(path) if is_utf8 else f"/dev/fd/{file.fileno()}"


def _check_header(path: Path) -> None:
    if path.exists() and not path.is_file():  # a pipe or a device has no end
        raise TensorFileError("expected a plain file")
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    if MAX_HEADER_BYTES < length < path.stat().st_size:
        raise TensorFileError(f"header: expected at most {MAX_HEADER_BYTES} bytes, found {length}")
