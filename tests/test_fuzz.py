"""Every reader of files that somebody else may have written, on thousands of files that nobody would write.

Each file must be read, and then be as good as a sound one, or be refused with the project's own error in one
line; in little time and memory, without a warning, and without anything being executed or written. HDF5 is C,
so a process of its own reads the files, and its death is noticed.

``python tests/test_fuzz.py READER NUMBER`` repeats one input.
"""

import json
import queue
import subprocess
import sys
import threading

import pytest

SECONDS = 30
"""The most for one input, on a busy machine; the slowest take a tenth of a second on a free one."""

MEBIBYTES = 512
"""The most by which the inputs of a process may raise its memory."""

EVENTS = {
    "ctypes.dlopen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "pickle.find_class",
    "shutil.rmtree",
    "socket.connect",
    "subprocess.Popen",
    "compile",
    "exec",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.truncate",
}
"""What no reader does, as Python's audit hooks call it (PEP 578); and it opens no file to write."""


# The tests, which start workers and listen to them.


def run(reader, first, n_inputs):
    """Read some inputs in a process of its own; return what came of each, by number.

    The process is started again after an input that killed it.
    """
    found = {}
    end = first + n_inputs
    while first < end:
        command = [sys.executable, "-X", "faulthandler", __file__, reader, str(first), str(end - first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as worker:
            lines = queue.Queue()
            threading.Thread(target=lambda: [*map(lines.put, worker.stdout), lines.put(None)]).start()
            tail = []
            while True:
                try:
                    line = lines.get(timeout=SECONDS + 60 * (len(found) == 0))  # importing torch takes a while
                except queue.Empty:
                    worker.kill()
                    tail.append("no answer in time")
                    break
                if line is None:
                    break
                if line.startswith("{"):
                    answer = json.loads(line)
                    found[answer["input"]] = answer["outcome"]
                    first = answer["input"] + 1
                else:
                    tail.append(line.strip())
        if first < end:
            found[first] = f"died with exit code {worker.returncode}: {' | '.join(tail[-20:])}"
            first += 1
    return found


READERS = ("study", "task", "curves", "manifest", "weights", "checkpoint")


def check(reader, first, n_inputs):
    found = run(reader, first, n_inputs)
    assert sorted(found) == list(range(first, first + n_inputs))
    wrong = {number: outcome for number, outcome in found.items() if outcome not in ("read", "refused")}
    assert not wrong, wrong
    # Else nothing was tried: of either kind there are always some.
    assert {"read", "refused"} == set(found.values())


@pytest.mark.parametrize("reader", READERS)
def test_a_few(reader):
    check(reader, 0, 60)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("reader", READERS)
def test_many(reader, part):
    check(reader, 1000 * (part + 1), 600)


def test_a_death_and_a_delay_are_noticed(monkeypatch):
    monkeypatch.setitem(globals(), "SECONDS", 1)
    # ...
