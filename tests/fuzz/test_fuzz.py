"""Every reader of files that somebody else may have written, on thousands of files that nobody would write.

Each file must be read, and then be as good as a sound one, or be refused with the project's own error in one
line; in little time and memory, without a warning, and without anything being executed or written. HDF5 is C,
so processes of their own read the files (`fuzzing.py`), and their death or silence is noticed.
"""

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.store.manifest import Manifest
from quanta.study.spec import StudySpec
from quanta.tasks.config import ConfigError

KEYS = st.sampled_from(["name", "alpha", "seed", "task", "k", "widths", "from", "steps", "unit", "schema"])
"""Keys that mean something in one place or another."""

WORKER = Path(__file__).with_name("fuzzing.py")

READERS = {"Study", "Task", "Curves", "Run", "Weights", "Checkpoints", "HowFar"}

NEVER_REFUSES = {"HowFar"}
"""What it cannot read it takes for something that is not there."""

SECONDS = 20
"""The most for one input, on a busy machine; on a free one the slowest take a tenth of a second."""

SECONDS_TO_START = 120
"""The most until the first answer: importing everything takes seconds."""


def read_inputs(first, count, worker=WORKER, seconds=SECONDS):
    """Let a worker read inputs, and start it again after one that killed or delayed it.

    Returns
    -------
    list of dict
        One an input: its ``number``, ``reader`` and ``outcome``.
    """
    answers = []
    end = first + count
    while first < end:
        command = [sys.executable, "-X", "faulthandler", str(worker), str(first), str(end - first)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            lines = queue.Queue()
            listener = threading.Thread(target=_listen, args=(process.stdout, lines))
            listener.start()
            said = []
            patience = SECONDS_TO_START
            try:
                while (line := lines.get(timeout=patience)) is not None:
                    if line.startswith('{"number"'):
                        answers.append(json.loads(line))
                        first = answers[-1]["number"] + 1
                        patience = seconds
                    else:
                        said.append(line.strip())
                fate = f"died with exit code {process.wait()}"
            except queue.Empty:
                process.kill()
                fate = f"no answer in {patience} s"
            listener.join()
        if not answers:
            pytest.fail(f"the worker {fate} before it read anything: {' | '.join(said[-20:])}")
        if first < end:
            answers.append({"number": first, "reader": "?", "outcome": f"{fate}: {' | '.join(said[-20:])}"})
            first += 1
    return answers


def _listen(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(None)


def check(first, count):
    answers = read_inputs(first, count)
    assert [answer["number"] for answer in answers] == list(range(first, first + count))
    wrong = [answer for answer in answers if answer["outcome"] not in ("read", "refused")]
    assert not wrong, "\n".join(map(str, wrong))
    return answers


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | KEYS, inner, max_size=4)
    ),
    max_leaves=8,
)
"""Whatever JSON can hold."""


@st.composite
def changed(draw, sound):
    """A sound configuration with a value changed, or gone, or a new one, at any depth."""
    values = json.loads(sound)
    place = values
    while sections := [key for key, value in place.items() if isinstance(value, dict)]:
        key = draw(st.sampled_from([None, *sections]))
        if key is None:
            break
        place = place[key]
    key = draw(st.sampled_from(sorted(place)) | KEYS)
    if draw(st.booleans()):
        place[key] = draw(VALUES)
    else:
        place.pop(key, None)
    return json.dumps(values)


@pytest.fixture(scope="session")
def sound_texts(finished):
    """What a run directory holds as JSON, by what it is."""
    return {
        StudySpec: (finished / "study.json").read_text(),
        Manifest: next(finished.glob("units/*/manifest.json")).read_text(),
    }


@pytest.mark.parametrize("config", [StudySpec, Manifest])
@settings(max_examples=500)
@given(data=st.data())
def test_any_value_in_any_place(sound_texts, config, data):
    text = data.draw(changed(sound_texts[config]))
    try:
        read, refusal = config.parse(text), ""
    except ConfigError as error:
        read, refusal = None, str(error)
    if read is None:
        assert refusal.isprintable()
        assert 0 < len(refusal) < 2000
    else:
        assert config.parse(read.model_dump_json(by_alias=True)) == read


def test_a_few():
    answers = check(0, 300)
    # Neither all sound nor all refused at first sight, for any reader.
    found = {(answer["reader"], answer["outcome"]) for answer in answers}
    assert found >= {(reader, "refused") for reader in READERS - NEVER_REFUSES}
    assert found >= {(reader, "read") for reader in READERS}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(1, 9))
def test_many(part):
    check(10_000 * part, 1800)


def test_a_death_and_a_delay_are_noticed(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, sys, time\n"
        "for number in range(int(sys.argv[1]), 5):\n"
        "    if number == 1: os.kill(os.getpid(), 11)\n"
        "    if number == 3: time.sleep(60)\n"
        "    print(json.dumps({'number': number, 'reader': 'x', 'outcome': 'read'}), flush=True)\n"
    )
    answers = read_inputs(0, 5, worker, seconds=0.5)
    assert [answer["number"] for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer["outcome"] == "read" for answer in answers] == [True, False, True, False, True]
    assert answers[1]["outcome"].startswith("died with exit code -11")
    assert answers[3]["outcome"].startswith("no answer in 0.5 s")
