"""Locks on units, so that nobody trains a unit twice at once.

``units/<id>/lock`` is kept open with an exclusive lock of the operating system on it, which ends with its
process, however that ends, and it says whose it is. On a shared file system such locks may not reach other
hosts, so the owner also touches the file every few seconds, and another host's file counts while it is fresh.
"""

import errno
import fcntl
import os
import resource
import socket
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from pydantic import AwareDatetime, Field

from quanta.tasks.config import Config, ConfigError
from quanta.tasks.errors import QuantaError

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
    """A unit that somebody else is training; says who."""


class Owner(Config):
    """Who trains a unit. All is None for an instant, while the owner has yet to write who it is."""

    host: str | None = Field(None, pattern="^[!-~]{1,255}$")
    """Name of the machine."""
    pid: int | None = Field(None, ge=1)
    """Process id there."""
    started: AwareDatetime | None = Field(None, gt=_FIRST, lt=_LAST)
    """Since when."""

    def __str__(self) -> str:
        if self.host is None or self.pid is None or self.started is None:
            return "another process"
        since = self.started.astimezone()
        return f"process {self.pid} on host {self.host} since {since:%Y-%m-%d %H:%M}"


@contextmanager
def hold(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the locks of units while the block runs: of all of them or of none.

    Parameters
    ----------
    folders : iterable of Path
        ``units/<id>`` of a run directory; made if missing.

    Raises
    ------
    LockedError
        If somebody else holds one; says who.
    ValueError
        If the system does not allow as many open files as there are units.
    OSError
        If a lock cannot be written.
    """
    folders = list(folders)
    me = Owner(host=socket.gethostname(), pid=os.getpid(), started=datetime.now(UTC).replace(microsecond=0))
    held: list[tuple[int, Path]] = []
    stop = Event()
    heart = Thread(target=_beat, args=(held, stop), name="heartbeat of locks", daemon=True)
    with _open_files(len(folders)):
        heart.start()
        try:
            for folder in folders:
                held.append((_acquire(folder, me), folder / "lock"))
            yield
        finally:
            stop.set()
            heart.join()  # it must not touch what has been closed
            for descriptor, path in held:
                _release(descriptor, path)


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
        raise LockedError(_explain(folder, there))


def _acquire(folder: Path, me: Owner) -> int:
    """Take the lock of a unit, and return the descriptor that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        try:
            free = _lock(descriptor, fcntl.LOCK_EX)
            there = _read(descriptor)
            if free is False:
                if time.monotonic() > deadline:
                    raise LockedError(_explain(folder, there or Owner()))
            elif _is_at(descriptor, path):  # or its last owner deleted it after we had opened it
                seconds = _seconds_to_live(descriptor, there, folder, told=free is True)
                if there is not None and seconds > 0:
                    hint = f" (if it has died already, the unit is free in {seconds:.0f} s)"
                    raise LockedError(_explain(folder, there) + hint)
                _write(descriptor, me)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if free is False:
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
    if there is None or (told and there.host == socket.gethostname()):
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


def _explain(folder: Path, there: Owner) -> str:
    return f"{folder.parents[1]}: unit {folder.name} is being trained by {there}; wait for it, or stop it"


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
