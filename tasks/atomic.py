"""Write files whole or not at all."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)
_MOST_STEM, _MOST_SUFFIX = 200, 20
"""Bytes that a temporary name keeps of a name, which itself may have all of the 255 that are allowed."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; move it into place if nothing went wrong.

    Whoever reads `path` sees the old file or the whole new one, never a part. Missing parent folders
    are made. The temporary file is removed if the block raises. Whoever may read a new file of this process
    may read this one, whatever wrote it: safetensors writes for the owner alone.

    Parameters
    ----------
    path : path-like
        Where the file shall be.

    Yields
    ------
    Path
        The temporary path, in the same folder, with the same suffix. It is absolute, since some libraries
        take a relative one for something else, such as the home of a user.
    """
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path))
    mode = _mode_of_new_file(temporary)
    try:
        yield temporary
        if stat.S_IMODE(temporary.stat().st_mode) != mode:
            temporary.chmod(mode)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(path: Path) -> str:
    stem = os.fsencode(path.stem)[:_MOST_STEM].decode(errors="ignore") or "_"
    suffix = os.fsencode(path.suffix)[:_MOST_SUFFIX].decode(errors="ignore")
    return f".{stem}.{secrets.token_hex(4)}{suffix}"


def _mode_of_new_file(path: Path) -> int:
    """Permissions that a file gets here; to ask for the umask is to change it, for all threads."""
    path.touch(exist_ok=False)
    try:
        return stat.S_IMODE(path.stat().st_mode)
    finally:
        path.unlink()


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files that a killed process left in a folder.

    Only for a folder to which nobody else is writing.

    Parameters
    ----------
    folder : path-like
        Need not exist.
    """
    for path in Path(folder).glob(".*"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file has the name of one that `atomic_write` writes to."""
    return _TEMPORARY.fullmatch(name) is not None
