"""Write files whole or not at all."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.[^.]*)?")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; move it into place if nothing went wrong.

    Whoever reads `path` sees the old file or the whole new one, never a part. Missing parent folders
    are made. The temporary file is removed if the block raises.

    Parameters
    ----------
    path : path-like
        Where the file shall be.

    Yields
    ------
    Path
        The temporary path, in the same folder, with the same suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files that a killed process left in a folder.

    Only for a folder to which nobody else is writing.

    Parameters
    ----------
    folder : path-like
        Need not exist.
    """
    for path in Path(folder).glob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
