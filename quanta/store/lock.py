"""Locks: nobody trains a unit twice at once, and a file that says who is at work is true.

A lock is a file, such as ``units/<id>/lock``. It is kept open with an exclusive lock of the operating system
on it, which ends with its process, however that ends, and it says whose it is. On a shared file system such
locks may not reach other hosts, so the owner also touches the file every few seconds, and another host's file
counts while it is fresh.
"""

import errno
import fcntl
import os
import resource
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from pydantic import AwareDatetime, Field

from quanta.tasks.config import Config, ConfigError, one_line
from quanta.tasks.errors import QuantaError, printable

HEARTBEAT_SECONDS = 10.0
"""Between two touches of a lock that is held."""

STALE_SECONDS = 60.0
"""Time without a touch after which another host's lock is dead: six are missed, not one that came late."""

PATIENCE_SECONDS = 0.2
"""How long a lock must be busy to count as held: whoever only asks for its owner has it for an instant."""

SPARE_OPEN_FILES = 256
"""Open files left to the rest of the process, which needs some dozens."""

_MAX_BYTES = 4096
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_NO_LOCKS_HERE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class LockedError(QuantaError):
    """Something that somebody else is at work on, such as a unit; says who."""


class Owner(Config):
    """Who holds a lock. All is None for an instant, while the owner has yet to write who it is."""

    host: str | None = Field(None, min_length=1, max_length=255)
    """Name of the machine; None if it has none."""
    pid: int | None = Field(None, ge=1)
    """Process id there."""
    started: AwareDatetime | None = Field(None, gt=_FIRST, lt=_LAST)
    """Since when."""

    def __str__(self) -> str:
        if self.pid is None or self.started is None:
            return "another process"
        since = self.started.astimezone()
        host = "an unnamed host" if self.host is None else f"host {one_line(self.host)}"
        return f"process {self.pid} on {host} since {since:%Y-%m-%d %H:%M}"


def this_host() -> str | None:
    """Name this machine, whatever its name is made of; None if it has none."""
    name = printable(socket.gethostname())
    return name[:255] or None


def hold(folders: Iterable[Path]) -> AbstractContextManager[None]:
    """Hold the locks of units while a block runs: of all of them or of none.

    Parameters
    ----------
    folders : iterable of Path
        ``units/<id>`` of a run directory; made if missing.

    Returns
    -------
    context manager
        Raises as `hold_files` does.
    """
    return hold_files([folder / "lock" for folder in folders], _explain)


def _say_held(file: Path, there: Owner) -> str:
    return f"{file}: is held by {there}"


@contextmanager
def hold_files(
    files: Sequence[Path],
    explain: Callable[[Path, Owner], str] = _say_held,
    patience: float = PATIENCE_SECONDS,
) -> Iterator[None]:
    """Hold locks while the block runs: all of them or none. They are deleted when it ends.

    Parameters
    ----------
    files : sequence of Path
        Made if missing, with their folders.
    explain : callable, optional
        Says what it means that somebody else holds one.
    patience : float, default PATIENCE_SECONDS
        Seconds to wait for one that somebody else holds.

    Raises
    ------
    LockedError
        If somebody else holds one; says who.
    ValueError
        If the system does not allow as many open files.
    OSError
        If a lock cannot be written.
    """
    me = Owner(host=this_host(), pid=os.getpid(), started=datetime.now(UTC).replace(microsecond=0))
    held: list[tuple[int, Path]] = []
    stop = Event()
    heart = Thread(target=_beat, args=(held, stop), name="heartbeat of locks", daemon=True)
    with _open_files(len(files)):
        heart.start()
        try:
            for file in files:
                held.append((_acquire(file, me, explain, patience), file))
            yield
        finally:
            stop.set()
            heart.join()  # it must not touch what has been closed
            for descriptor, file in held:
                _release(descriptor, file)


def remove_dead(folder: Path, pattern: str) -> None:
    """Delete those locks in a folder whose owners have died; others, and what is no lock, stay.

    Parameters
    ----------
    folder : Path
    pattern : str
        Of their names, as `Path.glob` takes it.
    """
    for file in folder.glob(pattern):
        with suppress(LockedError, OSError), hold_files([file], patience=0):
            pass  # whoever holds one deletes it in the end


def owner(folder: Path) -> Owner | None:
    """Tell who holds the lock of a unit, without taking it.

    Parameters
    ----------
    folder : Path
        ``units/<id>`` of a run directory.

    Returns
    -------
    Owner or None
        None if nobody does, or only somebody who has died.

    Raises
    ------
    OSError
        If there is a lock that cannot be read.
    """
    try:
        descriptor = _open(folder / "lock", os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        there = _read(descriptor)
        free = _lock(descriptor, fcntl.LOCK_SH)
        if free is False:
            return there or Owner()
        return there if _seconds_to_live(descriptor, there, folder, told=free is True) > 0 else None
    finally:
        os.close(descriptor)


def check_free(folder: Path) -> None:
    """Raise LockedError if somebody holds the lock of a unit; see `owner`."""
    there = owner(folder)
    if there is not None:
        raise LockedError(_explain(folder / "lock", there))


def _acquire(path: Path, me: Owner, explain: Callable[[Path, Owner], str], patience: float) -> int:
    """Take a lock, and return the descriptor that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    while True:
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        try:
            free = _lock(descriptor, fcntl.LOCK_EX)
            there = _read(descriptor)
            refusal = None
            if free is False:
                refusal = explain(path, there or Owner())
            elif _is_at(descriptor, path):  # or its last owner deleted it after we had opened it
                seconds = _seconds_to_live(descriptor, there, path.parent, told=free is True)
                if there is None or seconds <= 0:
                    _write(descriptor, me)
                    return descriptor
                refusal = f"{explain(path, there)} (if it has died already, it is free in {seconds:.0f} s)"
            if refusal is not None and time.monotonic() > deadline:
                raise LockedError(refusal)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if refusal is not None:
            time.sleep(PATIENCE_SECONDS / 20)


def _release(descriptor: int, path: Path) -> None:
    """Delete a lock while it is held, and let go of it."""
    with suppress(OSError):  # a lock that stays is dead, and troubles nobody
        if _is_at(descriptor, path):
            path.unlink()
    os.close(descriptor)


def _beat(held: list[tuple[int, Path]], stop: Event) -> None:
    """Touch the locks until told to stop."""
    while not stop.wait(HEARTBEAT_SECONDS):
        for descriptor, _ in list(held):
            with suppress(OSError):  # a file system that is away for a moment
                os.utime(descriptor)


def _open(path: Path, flags: int) -> int:
    """Open a lock: a plain file, since a run directory of somebody else might hold a link or a pipe there."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a lock", str(path))
    return descriptor


def _lock(descriptor: int, kind: int) -> bool | None:
    """Try to lock an open file; False if somebody else has, None if the file system knows no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:  # Lustre may be mounted without
            return None
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that now has this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> Owner | None:
    """Read who wrote an open lock; None if that is not readable."""
    try:
        return Owner.parse(os.pread(descriptor, _MAX_BYTES, 0).decode())
    except (ConfigError, UnicodeDecodeError):
        return None


def _write(descriptor: int, me: Owner) -> None:
    text = me.model_dump_json().encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))
    os.utime(descriptor)  # before a touch, NFS sends what was written


def _seconds_to_live(descriptor: int, there: Owner | None, folder: Path, *, told: bool) -> float:
    """For how long an open lock that is free on this host still counts as held, unless it is touched.

    `told` says whether locks work here, so that a process of this host would have been noticed.
    """
    if there is None or (told and there.host is not None and there.host == this_host()):
        return 0.0
    # Opening made NFS ask the server for the time of the last touch.
    age = _now(folder) - os.fstat(descriptor).st_mtime
    return STALE_SECONDS - abs(age)


def _now(folder: Path) -> float:
    """Read the clock that stamps the files of a folder, which may be another host's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # who may only read here can do no better
        return time.time()


def _explain(lock: Path, there: Owner) -> str:
    unit = lock.parent
    return f"{unit.parents[1]}: unit {unit.name} is being trained by {there}; wait for it, or stop it"


@contextmanager
def _open_files(n: int) -> Iterator[None]:
    """Let the process have `n` more files open than usual, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n + SPARE_OPEN_FILES
    if needed <= soft or soft == resource.RLIM_INFINITY:
        yield
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise QuantaError(
            f"{n} units at once need {needed} open files, and the system allows {hard} (ulimit -Hn); "
            "train them in shards"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
