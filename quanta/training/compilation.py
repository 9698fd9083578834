"""Compile ladder.c on the machine that runs it, and keep what comes of it where nobody else may write."""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from quanta.tasks.atomic import atomic_write

_FLAGS = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-shared",
    "-fPIC",
    "-pthread",
)
_SOURCES = ("ladder.c", "ladder_vectors.h", "ladder_tables.h", "ladder_tiles.h")


def compile_ladder(*options: str) -> Path:
    """Compile ladder.c for this processor, unless that was done before, and return the library."""
    folder = resources.files("quanta.training")
    sources = [(folder / name).read_text(encoding="utf-8") for name in _SOURCES]
    command = (*find_compiler(), *_FLAGS, *options)
    digest = hashlib.sha256(repr((sources, command, processor())).encode()).hexdigest()
    library = _cache_folder().absolute() / f"ladder-{digest[:16]}.so"
    if not _is_whole(library):
        with tempfile.TemporaryDirectory() as workplace, atomic_write(library) as fresh:
            for name, text in zip(_SOURCES, sources, strict=True):
                (Path(workplace) / name).write_text(text, encoding="utf-8")
            done = subprocess.run(
                (*command, str(Path(workplace) / _SOURCES[0]), "-o", str(fresh), "-lm"),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                said = " ".join(done.stderr.split())[:500]
                raise OSError(f"the C compiler failed: {' '.join(command)}: {said}")
            contents = fresh.read_bytes()
            fresh.write_bytes(contents + hashlib.sha256(contents).digest())  # no loader reads what comes last
    return library


def _is_whole(library: Path) -> bool:
    """Whether compiled code is as it was written: what is damaged may kill the process that loads it."""
    try:
        contents = library.read_bytes() if library.is_file() else b""
    except OSError:
        return False
    size = hashlib.sha256().digest_size
    return hashlib.sha256(contents[:-size]).digest() == contents[-size:]


def find_compiler() -> tuple[str, ...]:
    """Find a C compiler: that of the environment variable CC, else one of this machine, else of ziglang.

    Returns
    -------
    tuple of str
        A command and its first arguments.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    if os.environ.get("CC"):
        try:
            return tuple(shlex.split(os.environ["CC"]))  # as make does: in quotes there may be spaces
        except ValueError as error:
            raise OSError(f"CC: expected a command, found {os.environ['CC']!r} ({error})") from None
    for name in ("cc", "gcc", "clang"):
        path = shutil.which(name)
        if path is not None:
            return (path,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-P", "-m", "ziglang", "cc")  # -P: not a ziglang.py of the folder we are in
    raise FileNotFoundError(
        "no C compiler: found none of cc, gcc and clang; the extra quanta[compiler] brings one "
        "(pip install ziglang)"
    )


def _cache_folder() -> Path:
    """Make the folder for compiled code; refuse one where others may have put code that we would run."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quanta"
    except RuntimeError as error:  # how Path.home says that there is none
        raise OSError("no folder for compiled code: there is neither XDG_CACHE_HOME nor a home") from error
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"{folder}: must belong to user {os.geteuid()} and be writable by nobody else, "
            f"not belong to user {found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}"
        )
    return folder


def processor() -> str:
    """Name what the code is compiled for: a cache folder may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() + platform.machine()
