import errno
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quanta.store import lock as module
from quanta.store.lock import LockedError, Owner, hold, owner, this_host
from quanta.store.run_directory import RunDirectory

ROOT = Path(__file__).parents[3]
HERE = socket.gethostname()
STARTED = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)

HOLD = """
import sys
from pathlib import Path
from quanta.store.lock import LockedError, hold
try:
    with hold(map(Path, sys.argv[1:])):
        print("held", flush=True)
        sys.stdin.read()
except LockedError as error:
    print(error, flush=True)
"""


@pytest.fixture
def folders(tmp_path):
    """Three units of a run directory, not made yet."""
    return [tmp_path / "run" / "units" / name for name in "abc"]


@contextmanager
def process_holding(*folders):
    """A process of its own that tries to hold units; yields it and what it answers."""
    command = [sys.executable, "-c", HOLD, *map(str, folders)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def locks(folders):
    return [(folder / "lock").exists() for folder in folders]


def write_lock(folder, host, age):
    """Leave the lock of a process that has no lock of the operating system, last touched some time ago."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "lock"
    file.write_text(Owner(host=host, pid=4711, started=STARTED).model_dump_json())
    last = time.time() - age
    os.utime(file, (last, last))


class TestHold:
    def test_says_whose_it_is_and_leaves_nothing(self, folders):
        before = datetime.now(UTC).replace(microsecond=0)
        assert [owner(folder) for folder in folders] == [None] * 3
        with hold(folders):
            for folder in folders:
                there = owner(folder)
                assert (there.host, there.pid) == (HERE, os.getpid())
                assert before <= there.started <= datetime.now(UTC)
                assert json.loads((folder / "lock").read_text()) == there.model_dump(mode="json")
        assert [owner(folder) for folder in folders] == [None] * 3
        assert [list(folder.iterdir()) for folder in folders] == [[], [], []]

    def test_asking_who_holds_it_takes_nothing(self, folders):
        with hold(folders[:1]):
            for _ in range(3):
                assert owner(folders[0]) is not None
            assert locks(folders) == [True, False, False]

    def test_is_released_when_the_block_raises(self, folders):
        with pytest.raises(KeyboardInterrupt), hold(folders):
            raise KeyboardInterrupt
        with hold(folders):
            pass

    def test_all_or_none(self, folders):
        with hold(folders[1:2]):
            with pytest.raises(LockedError, match="unit b "), hold(folders):
                pytest.fail("held what is held")
            assert locks(folders) == [False, True, False]
        with hold(folders):
            assert locks(folders) == [True] * 3

    def test_no_units(self):
        with hold([]):
            pass

    def test_the_message_is_one_line_that_says_who_and_what_to_do(self, folders):
        with hold(folders):
            since = owner(folders[0]).started.astimezone()
            with pytest.raises(LockedError) as caught, hold(folders):
                pass
        assert str(caught.value) == (
            f"{folders[0].parents[1]}: unit a is being trained by process {os.getpid()} on host {HERE} "
            f"since {since:%Y-%m-%d %H:%M}; wait for it, or stop it"
        )

    def test_refuses_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError), hold([tmp_path / "file" / "unit"]):
            pass


class TestProcesses:
    def test_the_second_is_refused_while_the_first_lives(self, folders):
        with process_holding(*folders[:2]) as (first, answer):
            assert answer == "held"
            assert owner(folders[0]).pid == first.pid
            with process_holding(*folders[1:]) as (_, refusal):
                assert f"unit b is being trained by process {first.pid} on host {HERE} since " in refusal
            assert locks(folders) == [True, True, False]
            first.communicate("")
            assert locks(folders) == [False] * 3
        with process_holding(*folders) as (_, answer):
            assert answer == "held"

    def test_disjoint_units_do_not_disturb_each_other(self, folders):
        with process_holding(folders[0]) as (_, one), process_holding(*folders[1:]) as (_, other):
            assert (one, other) == ("held", "held")

    def test_the_units_of_a_killed_one_are_free_at_once(self, folders):
        with process_holding(*folders) as (first, _):
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert locks(folders) == [True] * 3
            assert [owner(folder) for folder in folders] == [None] * 3
            with process_holding(*folders) as (second, answer):
                assert answer == "held"
                assert owner(folders[0]).pid == second.pid

    def test_only_one_of_many_gets_it(self, folders):
        with ExitStack() as stack:
            answers = [stack.enter_context(process_holding(*folders))[1] for _ in range(4)]
        assert answers.count("held") == 1
        assert sum("unit a is being trained by process" in answer for answer in answers) == 3


class TestOtherHosts:
    def test_a_fresh_heartbeat_counts(self, folders):
        write_lock(folders[1], "elsewhere", age=50)
        assert owner(folders[1]) == Owner(host="elsewhere", pid=4711, started=STARTED)
        with pytest.raises(LockedError) as caught, hold(folders):
            pass
        says, seconds = str(caught.value).split(" (if it has died already, it is free in ")
        since = STARTED.astimezone()
        assert says == (
            f"{folders[0].parents[1]}: unit b is being trained by process 4711 on host elsewhere "
            f"since {since:%Y-%m-%d %H:%M}; wait for it, or stop it"
        )
        assert seconds in ("10 s)", "9 s)")  # a moment passes between writing and asking
        assert locks(folders) == [False, True, False]
        assert json.loads((folders[1] / "lock").read_text())["host"] == "elsewhere"

    @pytest.mark.parametrize("age", [61, 10**6, -61])
    def test_a_stale_one_is_taken_over(self, folders, age):
        write_lock(folders[0], "elsewhere", age)
        assert owner(folders[0]) is None
        with hold(folders):
            assert owner(folders[0]).host == HERE
        assert locks(folders) == [False] * 3

    def test_of_this_host_it_is_dead_however_fresh(self, folders):
        write_lock(folders[0], HERE, age=0)
        assert owner(folders[0]) is None
        with hold(folders):
            pass

    def test_the_clock_is_that_of_the_file_system(self, folders, monkeypatch):
        # The clock of this host is an hour late, or the file server's an hour early.
        monkeypatch.setattr(module.time, "time", lambda: STARTED.timestamp())
        file = folders[0] / "lock"
        write_lock(folders[0], "elsewhere", age=0)
        os.utime(file)
        assert owner(folders[0]) is not None
        assert os.listdir(folders[0]) == ["lock"]

    def test_a_holder_touches_its_locks(self, folders, monkeypatch):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
        with hold(folders):
            for folder in folders:
                os.utime(folder / "lock", (0, 0))
            deadline = time.monotonic() + 10
            while any((folder / "lock").stat().st_mtime == 0 for folder in folders):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert locks(folders) == [False] * 3

    @pytest.mark.parametrize("host", [HERE, "elsewhere"])
    def test_where_the_file_system_knows_no_locks_the_heartbeat_decides(self, folders, monkeypatch, host):
        def refuse(*arguments):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", refuse)
        write_lock(folders[0], host, age=0)
        assert owner(folders[0]).host == host
        with pytest.raises(LockedError, match=f"process 4711 on host {host} since"), hold(folders):
            pass
        write_lock(folders[0], host, age=61)
        with hold(folders):
            assert owner(folders[0]).pid == os.getpid()
            with pytest.raises(LockedError, match=f"process {os.getpid()} on host"), hold(folders):
                pass


class TestRaces:
    def test_a_lock_that_is_deleted_after_it_was_opened(self, folders, monkeypatch):
        # Its owner leaves just then; the file that was opened is nobody's path any more.
        real, n_calls = fcntl.flock, 0

        def flock(descriptor, kind):
            nonlocal n_calls
            n_calls += 1
            if n_calls == 1:
                (folders[0] / "lock").unlink()
            real(descriptor, kind)

        monkeypatch.setattr(fcntl, "flock", flock)
        with hold(folders[:1]):
            monkeypatch.undo()
            assert n_calls == 2
            with process_holding(folders[0]) as (_, answer):
                assert f"process {os.getpid()} on host" in answer

    def test_the_lock_of_a_successor_is_not_deleted(self, folders):
        file = folders[0] / "lock"
        with hold(folders[:1]):
            file.unlink()  # by a person, say
            file.write_text("of somebody else")
        assert file.read_text() == "of somebody else"

    def test_whoever_only_looks_does_not_make_it_busy(self, folders, monkeypatch):
        # A look takes a shared lock for an instant; here it lasts as long as three attempts to hold the unit.
        folders[0].mkdir(parents=True)
        looking = os.open(folders[0] / "lock", os.O_RDONLY | os.O_CREAT)
        fcntl.flock(looking, fcntl.LOCK_SH)
        n_waits = 0

        def wait(seconds):
            nonlocal n_waits
            n_waits += 1
            if n_waits == 3:
                os.close(looking)

        monkeypatch.setattr(module.time, "sleep", wait)
        with hold(folders):
            assert n_waits == 3

    def test_an_owner_that_has_not_written_who_it_is(self, folders):
        folders[0].mkdir(parents=True)
        with (folders[0] / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert owner(folders[0]) == Owner()
            with (
                pytest.raises(LockedError, match="unit a is being trained by another process; wait"),
                hold(folders),
            ):
                pass


class TestNamesOfMachines:
    NAMES = ("my host", "Jörgs-Rechner", "a\nb", "\udcff", "ホスト", "x" * 300, "", "-", "\x1b[2J")

    @pytest.mark.parametrize("name", NAMES)
    def test_any_will_do(self, folders, monkeypatch, name):
        monkeypatch.setattr(socket, "gethostname", lambda: name)
        with hold(folders):
            there = owner(folders[0])
            assert there.pid == os.getpid()
            assert str(there).isprintable()
            assert (there.host is None) == (name == "")
            with pytest.raises(LockedError, match=r"on (an unnamed host|host .*) since"), hold(folders):
                pass
        assert locks(folders) == [False] * 3

    @pytest.mark.parametrize("name", NAMES)
    def test_what_its_own_dead_left_is_free_at_once(self, folders, monkeypatch, name):
        monkeypatch.setattr(socket, "gethostname", lambda: name)
        write_lock(folders[0], this_host(), age=0)
        # Of two hosts without a name nobody can tell whether they are one.
        assert (owner(folders[0]) is None) == (name != "")
        write_lock(folders[0], this_host(), age=61)
        assert owner(folders[0]) is None

    def test_another_process_of_an_unnamed_host_is_told(self):
        there = Owner(host=None, pid=5, started=STARTED)
        assert str(there).startswith("process 5 on an unnamed host since ")
        assert str(Owner()) == "another process"


class TestStrangeFiles:
    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"[]",
            b"\xff",
            b'{"host": "\x1b[2J", "pid": 1}',
            b'{"host": "x", "pid": "1"}',
            b'{"host": "x", "pid": 1, "started": "2026-11-22"}',
            b'{"host": "x", "pid": 1, "started": "0001-01-01T00:00:00Z"}',
            b"7" * 10**6,
        ],
    )
    def test_what_nobody_holds_and_nobody_can_read_is_free(self, folders, text):
        folders[0].mkdir(parents=True)
        (folders[0] / "lock").write_bytes(text)
        assert owner(folders[0]) is None
        with hold(folders):
            assert owner(folders[0]).pid == os.getpid()

    def test_a_link_is_not_followed(self, folders, tmp_path):
        folders[0].mkdir(parents=True)
        (tmp_path / "precious").write_text("mine")
        (folders[0] / "lock").symlink_to(tmp_path / "precious")
        for refused in (lambda: owner(folders[0]), lambda: hold(folders).__enter__()):
            with pytest.raises(OSError, match="lock"):
                refused()
        assert (tmp_path / "precious").read_text() == "mine"

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_refused(self, folders, make):
        folders[0].mkdir(parents=True)
        make(folders[0] / "lock")
        for refused in (lambda: owner(folders[0]), lambda: hold(folders).__enter__()):
            with pytest.raises(OSError, match="lock"):
                refused()


class TestManyUnits:
    @pytest.fixture
    def limits(self):
        """Let the soft limit on open files be changed; the hard one could not be raised again."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield before
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_more_than_open_files_are_usually_allowed(self, limits, tmp_path):
        _, hard = limits
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        folders = [tmp_path / "run" / "units" / str(i) for i in range(400)]
        with hold(folders):
            assert all(locks(folders))
            with pytest.raises(LockedError, match="unit 399 "), hold(folders[399:]):
                pass
        assert not any(locks(folders))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)

    def test_more_than_the_system_allows(self, tmp_path, monkeypatch):
        monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 512))
        message = (
            r"300 units at once need 556 open files, and the system allows 512 \(ulimit -Hn\); "
            "train them in shards"
        )
        with pytest.raises(ValueError, match=message), hold(tmp_path / str(i) for i in range(300)):
            pass
        assert list(tmp_path.iterdir()) == []


class TestRunDirectory:
    def test_lock(self, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        one, *others = tiny_study.units()
        with run.lock([one]):
            assert owner(run.folder(one)) is not None
            with run.lock(others):
                assert owner(run.folder(others[0])) is not None
            with pytest.raises(LockedError, match=f"run: unit {one.id} is being trained"), run.lock([one]):
                pass

    def test_overwriting_deletes_nothing_that_somebody_trains(self, tiny_study, copied):
        run = RunDirectory(copied)
        before = {file for file in copied.rglob("*") if file.is_file()}
        with run.lock(tiny_study.units()[1:2]), pytest.raises(LockedError, match="seed=1"):
            RunDirectory.create(copied, tiny_study, overwrite=True)
        assert {file for file in copied.rglob("*") if file.is_file()} == before
        RunDirectory.create(copied, tiny_study, overwrite=True)
        assert [file.name for file in copied.iterdir()] == ["study.json"]
