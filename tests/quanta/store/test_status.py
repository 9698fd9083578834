import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from quanta.cli import main
from quanta.curves.dataset import load_curves, save_curves
from quanta.store.checkpoint import Checkpoint
from quanta.store.lock import Owner
from quanta.store.manifest import Manifest
from quanta.store.run_directory import RunDirectory
from quanta.store.status import read_status
from quanta.study.cost import count_flops
from quanta.study.spec import StudySpec
from quanta.sweep.units import run_sweep
from quanta.tasks.tensors import MAX_HEADER_BYTES
from quanta.training.trainer import StoppedError, train_unit

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
STATES = ["done", "running", "failed", "interrupted", "remaining"]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """Nothing is set that changes the output."""
    for name in os.environ:
        if name.startswith("QUANTA_") or name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name)


def run(*arguments, exit_code=0):
    """Run a command; exceptions other than its own are mistakes in the program."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.stderr
    return result


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def read_json(command, path, exit_code=0):
    """The one object that a command prints on one line."""
    text = run(command, path, "--json", exit_code=exit_code).stdout
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse_constant)


def seeds_in(found):
    """The seed of every unit, by state."""
    by_state = {state: [] for state in STATES}
    for unit in found["units"]:
        by_state[unit["state"]].append(int(unit["id"].partition("seed=")[2].partition("_")[0]))
    return by_state


def leave_at(directory, unit, n_steps):
    """Leave a unit with a checkpoint after some steps."""
    calls = iter(range(1, 1000))
    checkpoint = Checkpoint(directory.folder(unit) / "checkpoint.safetensors")
    with pytest.raises(StoppedError):
        train_unit(unit, keeper=checkpoint, should_stop=lambda: next(calls) == n_steps)


def change_manifest(folder, **values):
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.fixture
def mixed(tiny_study, copied):
    """A run directory with a unit in each state, and two that are done; it is held while the test runs."""
    study = tiny_study.model_copy(update={"seed": (0, 1, 2, 3, 4, 5)})
    directory = RunDirectory.create(copied, study)
    _, _, failed, left, held, _ = study.units()
    shutil.rmtree(directory.folder(failed))
    directory.write_failed(failed, "the loss is not finite", device=CPU, started=datetime.now(UTC))
    leave_at(directory, left, 5)
    leave_at(directory, held, 10)
    for unit, seconds, kind in zip(study.units()[:2], (100, 300), ("AVX2", "none"), strict=True):
        change_manifest(directory.folder(unit), seconds=seconds, compiled_for=kind)
    with directory.lock([held]):
        yield directory


class TestStatus:
    def test_json_has_every_state(self, mixed, tiny_study):
        found = read_json("status", mixed.path)
        assert list(found) == [
            "schema",
            "path",
            "study",
            "steps",
            "n_units",
            *(f"n_{state}" for state in STATES),
            "seconds_left",
            "units",
        ]
        assert (found["schema"], found["path"], found["study"]) == (1, str(mixed.path), "tiny")
        assert (found["steps"], found["n_units"]) == (20, 6)
        assert [found[f"n_{state}"] for state in STATES] == [2, 1, 1, 1, 1]
        assert [unit["id"] for unit in found["units"]] == [unit.id for unit in mixed.study.units()]
        names = ["id", "state", "n_steps", "seconds", "owner", "reason", "compiled_for", "work", "share_done"]
        assert all(list(unit) == names for unit in found["units"])
        assert seeds_in(found) == {
            "done": [0, 1],
            "running": [4],
            "failed": [2],
            "interrupted": [3],
            "remaining": [5],
        }
        assert [unit["n_steps"] for unit in found["units"]] == [20, 20, 0, 5, 10, 0]
        assert [unit["seconds"] for unit in found["units"]][:3] == [100, 300, None]
        assert all(0 < unit["seconds"] < 60 for unit in found["units"][3:5])
        assert found["units"][5]["seconds"] is None
        assert [unit["reason"] for unit in found["units"] if unit["reason"]] == ["the loss is not finite"]
        assert [unit["compiled_for"] for unit in found["units"]] == ["AVX2", "none", None, None, None, None]
        [owner] = [unit["owner"] for unit in found["units"] if unit["owner"]]
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
        age = datetime.now(UTC) - datetime.fromisoformat(owner["started"])
        assert timedelta(0) <= age < timedelta(minutes=1)
        # 200 s a unit, of 20 steps of 3456 operations and 5 evaluations, at 0, 1, 3, 7 and 20, of 3072.
        done = [(5 * 3456 + 3 * 3072) / 84480, (10 * 3456 + 4 * 3072) / 84480]
        assert [unit["share_done"] for unit in found["units"]] == pytest.approx([1, 1, 0, *done, 0])
        assert found["seconds_left"] == pytest.approx(200 * (1 - done[0] + 1 - done[1] + 1))
        assert {unit["work"] for unit in found["units"]} == {1}

    def test_units_of_different_sizes_take_times_as_their_work(self, tiny_study, tmp_path):
        values = json.loads(tiny_study.model_dump_json())
        values |= {"seed": [0, 1], "training": values["training"] | {"batch_size": [16, 4096]}}
        directory = RunDirectory.create(tmp_path / "run", StudySpec.parse(values))
        small, other, *large = directory.study.units()
        directory.write_done(small, train_unit(small), device=CPU, started=datetime.now(UTC))
        change_manifest(directory.folder(small), seconds=10)
        found = read_json("status", directory.path)
        assert [unit["work"] for unit in found["units"]][2:] == [1, 1]
        share = found["units"][0]["work"]
        flops = [count_flops(unit) for unit in (other, large[0])]
        assert found["units"][1]["work"] == share == flops[0] / flops[1] < 0.1
        assert found["seconds_left"] == pytest.approx(10 * (1 + 2 / share))

    def test_text(self, mixed):
        result = run("status", mixed.path)
        assert result.stderr == ""
        _, _, failed, left, held, _ = [unit.id for unit in mixed.study.units()]
        # A long path or a long row goes on on the next line.
        lines = result.stdout.splitlines()
        text = " ".join(result.stdout.split())
        assert max(map(len, lines)) <= 100
        assert "tiny, 2 of 6 units done; about 7 min left" in text
        assert "state units details" in text
        assert "done 2 3 min each, compiled for AVX2, not compiled" in text
        assert f"running 1 process {os.getpid()} on host {socket.gethostname()} since " in text
        assert f"{held} at step 10" in text
        assert f"failed 1 {failed}: the loss is not finite" in text
        assert f"interrupted 1 {left} at step 5 of 20" in text
        assert lines[-1].split() == ["remaining", "1"]

    def test_all_done(self, finished):
        found = read_json("status", finished)
        assert seeds_in(found)["done"] == [0, 1, 2]
        assert found["seconds_left"] == 0
        lines = run("status", finished).stdout.splitlines()
        assert "".join(lines[: lines.index("")]).endswith("tiny, 3 of 3 units done")

    def test_a_manifest_that_does_not_say_what_was_compiled_for(self, copied):
        for file in copied.glob("units/*/manifest.json"):
            manifest = json.loads(file.read_text()) | {"seconds": 100}
            del manifest["compiled_for"]
            file.write_text(json.dumps(manifest))
        assert [unit["compiled_for"] for unit in read_json("status", copied)["units"]] == ["unknown"] * 3
        assert "done 3 100 s each remaining 0" in " ".join(run("status", copied).stdout.split())
        assert read_json("verify", copied)["n_done"] == 3

    def test_what_was_compiled_for_cannot_write_on_the_terminal(self, copied):
        for folder in copied.glob("units/*"):
            change_manifest(folder, compiled_for="red \x1b[31m")
        text = run("status", copied).stdout
        assert "\x1b" not in text
        assert "compiled for red" in text

    def test_nothing_done(self, tiny_study, tmp_path):
        directory = RunDirectory.create(tmp_path / "run", tiny_study)
        found = read_json("status", directory.path)
        assert seeds_in(found)["remaining"] == [0, 1, 2]
        assert found["seconds_left"] is None
        text = " ".join(run("status", directory.path).stdout.split())
        assert "0 of 3 units done; how long the rest takes is not known yet" in text
        assert not (directory.path / "units").exists()

    def test_while_none_is_done_those_that_are_begun_tell_how_long_it_takes(self, tiny_study, tmp_path):
        directory = RunDirectory.create(tmp_path / "run", tiny_study.model_copy(update={"seed": (0,)}))
        [unit] = directory.study.units()
        leave_at(directory, unit, 5)
        file = directory.folder(unit) / "checkpoint.safetensors"
        kept = {"n_steps": "5", "seconds": "30.0"}
        # 5 steps of 3456 operations and 3 evaluations of 3072 are done, and 57984 operations left.
        for seconds, left in (
            (None, None),
            ("30.0", 30 * 57984 / 26496),
            ("nan", None),
            ("-1", None),
            ("soon", None),
        ):
            metadata = kept | {"seconds": seconds} if seconds else {"n_steps": "5"}
            save_file(load_file(file), file, metadata)
            found = read_json("status", directory.path)
            assert found["seconds_left"] == (left and pytest.approx(left))
            assert found["units"][0]["n_steps"] == 5
        save_file(load_file(file), file, kept)
        text = " ".join(run("status", directory.path).stdout.split())
        assert "tiny, 0 of 1 units done; about 66 s left, and nobody trains them now" in text

    def test_a_checkpoint_says_how_long_its_steps_took(self, tiny_study, tmp_path):
        directory = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = directory.study.units()[0]
        leave_at(directory, unit, 5)
        found = read_status(directory).units[0]
        state, _ = Checkpoint(directory.folder(unit) / "checkpoint.safetensors").read(unit)
        assert 0 < float(state["seconds"]) <= found.seconds < float(state["seconds"]) + 10

    def test_nobody_at_work(self, copied):
        directory = RunDirectory(copied)
        shutil.rmtree(directory.folder(directory.study.units()[0]))
        text = " ".join(run("status", copied).stdout.split())
        assert "2 of 3 units done; about 0 s left, and nobody trains them now" in text

    def test_two_at_work_need_half_the_time(self, mixed):
        # The unit that remains is taken by another host.
        alone = read_json("status", mixed.path)["seconds_left"]
        remaining = mixed.folder(mixed.study.units()[5])
        remaining.mkdir()
        there = Owner(host="elsewhere", pid=12, started=datetime(2026, 11, 22, tzinfo=UTC))
        (remaining / "lock").write_text(there.model_dump_json())
        found = read_json("status", mixed.path)
        assert seeds_in(found)["running"] == [4, 5]
        assert found["units"][5]["owner"] == there.model_dump(mode="json")
        assert found["seconds_left"] == pytest.approx(alone / 2)
        text = " ".join(run("status", mixed.path).stdout.split())
        assert "about 4 min left for 2 processes" in text
        assert "running 1 process 12 on host elsewhere since " in text

    @pytest.mark.parametrize(("seconds_later", "state"), [(-10, "running"), (0, "failed"), (10, "failed")])
    def test_a_failed_unit_that_somebody_holds(self, copied, seconds_later, state):
        # It is tried again, unless it failed after it was taken.
        directory = RunDirectory(copied)
        unit = directory.study.units()[0]
        started = datetime.now(UTC)
        (directory.folder(unit) / "lock").write_text(
            Owner(host="elsewhere", pid=12, started=started.replace(microsecond=0)).model_dump_json()
        )
        began = started + timedelta(seconds=seconds_later)
        directory.write_failed(unit, "no luck", device=CPU, started=began)
        assert read_json("status", copied)["units"][0]["state"] == state

    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors", "manifest.json"])
    def test_a_unit_with_a_file_missing_is_not_done(self, copied, name):
        directory = RunDirectory(copied)
        (directory.folder(directory.study.units()[1]) / name).unlink()
        assert seeds_in(read_json("status", copied))["remaining"] == [1]

    def test_the_manifest_of_another_unit_does_not_count(self, copied):
        directory = RunDirectory(copied)
        one, other, _ = (directory.folder(unit) for unit in directory.study.units())
        shutil.copy(one / "manifest.json", other)
        assert seeds_in(read_json("status", copied))["remaining"] == [1]

    @pytest.mark.parametrize("damage", [b"", b"damaged", b"\0" * 100])
    def test_a_damaged_checkpoint_is_none(self, mixed, damage):
        left = mixed.folder(mixed.study.units()[3])
        (left / "checkpoint.safetensors").write_bytes(damage)
        assert seeds_in(read_json("status", mixed.path))["remaining"] == [3, 5]

    def test_a_checkpoint_with_a_giant_header_is_not_opened(self, mixed, monkeypatch):
        left = mixed.folder(mixed.study.units()[3]) / "checkpoint.safetensors"
        save_file({}, left, {"n_steps": "5", "padding": "x" * (MAX_HEADER_BYTES + 1)})
        opened = []

        def open_and_tell(path, **options):
            opened.append(Path(path))
            return safe_open(path, **options)

        monkeypatch.setattr("quanta.tasks.tensors.safe_open", open_and_tell)
        assert read_status(mixed).units[3].state == "remaining"
        assert opened == [mixed.folder(mixed.study.units()[4]) / "checkpoint.safetensors"]

    @pytest.mark.parametrize("metadata", [{}, {"n_steps": "many"}, {"n_steps": "-1"}, {"n_steps": "21"}])
    def test_a_checkpoint_of_something_else_is_none(self, mixed, metadata):
        left = mixed.folder(mixed.study.units()[3]) / "checkpoint.safetensors"
        save_file(load_file(left), left, metadata)
        assert seeds_in(read_json("status", mixed.path))["remaining"] == [3, 5]

    def test_a_reason_cannot_write_on_the_terminal(self, copied):
        directory = RunDirectory(copied)
        unit = directory.study.units()[0]
        reason = "red \x1b[31m [bold]not markup[/bold]\nsecond line"
        directory.write_failed(unit, reason, device=CPU, started=datetime.now(UTC))
        text = run("status", copied).stdout
        assert "\x1b" not in text
        assert "[bold]not markup[/bold] second line" in " ".join(text.split())

    def test_is_read_without_torch_or_xarray(self, finished):
        program = (
            "import sys\nfrom quanta.cli import main\n"
            f"main(['status', {str(finished)!r}], standalone_mode=False)\n"
            "print(sorted({'torch', 'xarray', 'pandas', 'scipy'} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stderr == "[]\n"
        assert "3 of 3 units done" in " ".join(done.stdout.split())

    def test_changes_nothing(self, mixed):
        before = {file: file.stat().st_mtime_ns for file in mixed.path.rglob("*")}
        read_status(mixed)
        assert {file: file.stat().st_mtime_ns for file in mixed.path.rglob("*")} == before


class TestNoRunDirectory:
    @pytest.mark.parametrize("command", ["status", "verify"])
    @pytest.mark.parametrize("kind", ["folder", "file", "damaged"])
    def test_is_refused_in_one_line(self, command, kind, tmp_path):
        path = tmp_path / "there"
        if kind == "file":
            path.write_text("{}")
        else:
            path.mkdir()
        if kind == "damaged":
            (path / "study.json").write_text("{")
        result = run(command, path, exit_code=1)
        assert result.stdout == ""
        [line] = result.stderr.splitlines()
        assert line.startswith(f"Error: {path}")
        assert ("not a study of this version" if kind == "damaged" else "not a run directory") in line

    @pytest.mark.parametrize("command", ["status", "verify"])
    def test_that_does_not_exist(self, command):
        assert "'missing' does not exist" in run(command, "missing", exit_code=2).stderr


def flip_a_bit(data):
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def halve(data):
    return data[: len(data) // 2]


CHANGED = "has changed since it was written: another SHA-256"


class TestVerify:
    def damaged(self, path):
        """What is damaged, and why; checks that both forms of the answer agree."""
        found = read_json("verify", path, exit_code=1)
        assert list(found) == ["schema", "path", "n_units", "n_done", "damaged"]
        result = run("verify", path, exit_code=1)
        lines = [f"{damage['file']}: {damage['reason']}" for damage in found["damaged"]]
        assert result.stdout.splitlines() == lines
        n = len(lines)
        said = "1 file is damaged; delete the folder it is in"
        if n > 1:
            said = f"{n} files are damaged; delete the folders they are in"
        assert result.stderr == f"Error: {path}: {said}, and `quanta train` trains what was in there again\n"
        return {damage["file"]: damage["reason"] for damage in found["damaged"]}

    def test_whole(self, finished):
        result = run("verify", finished)
        assert result.stdout == f"{finished}: whole; 3 of 3 units are done\n"
        assert result.stderr == ""
        assert read_json("verify", finished) == {
            "schema": 1,
            "path": str(finished),
            "n_units": 3,
            "n_done": 3,
            "damaged": [],
        }

    def test_units_that_are_not_done_are_no_damage(self, mixed):
        assert run("verify", mixed.path).stdout == f"{mixed.path}: whole; 2 of 6 units are done\n"

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (flip_a_bit, "its checksum is not that of its contents"),
            (halve, "Error while deserializing header: incomplete metadata, file not fully covered"),
            (lambda data: b"", "Error while deserializing header: header too small"),
        ],
    )
    def test_the_checkpoint_of_a_unit_that_is_not_done(self, mixed, damage, reason):
        file = next((mixed.path / "units").glob("*/checkpoint.safetensors"))
        file.write_bytes(damage(file.read_bytes()))
        name = str(file.relative_to(mixed.path))
        assert self.damaged(mixed.path) == {name: f"not a checkpoint of this unit ({reason})"}

    def test_the_checkpoint_of_another_unit(self, mixed):
        file = next((mixed.path / "units").glob("*/checkpoint.safetensors"))
        other = mixed.folder(mixed.study.units()[-1]) / file.name
        other.parent.mkdir(exist_ok=True)
        file.rename(other)
        name = str(other.relative_to(mixed.path))
        assert self.damaged(mixed.path) == {name: "not a checkpoint of this unit (it is of another unit)"}

    def test_units_that_left_the_axes_are_read_too(self, copied, tiny_study):
        # As a hand may have written it; what is trained only adds to them.
        shorter = tiny_study.model_copy(update={"seed": (1,)})
        (copied / "study.json").write_text(shorter.model_dump_json())
        found = read_json("verify", copied)
        assert (found["n_units"], found["n_done"], found["damaged"]) == (1, 3, [])
        file = next((copied / "units").glob("*seed=2*")) / "curves.nc"
        file.write_bytes(flip_a_bit(file.read_bytes()))
        assert self.damaged(copied) == {str(file.relative_to(copied)): CHANGED}

    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors"])
    @pytest.mark.parametrize("damage", [flip_a_bit, halve, lambda data: b""])
    def test_a_file_that_has_changed(self, copied, name, damage):
        file = next((copied / "units").glob("*seed=1*")) / name
        file.write_bytes(damage(file.read_bytes()))
        assert self.damaged(copied) == {str(file.relative_to(copied)): CHANGED}

    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors"])
    def test_a_file_that_is_missing(self, copied, name):
        file = next((copied / "units").glob("*seed=1*")) / name
        file.unlink()
        assert self.damaged(copied) == {str(file.relative_to(copied)): "is missing"}
        file.mkdir()
        assert self.damaged(copied) == {str(file.relative_to(copied)): "cannot be read"}

    def test_everything_that_is_damaged_is_named(self, copied):
        files = [*sorted((copied / "units").glob("*/*.nc")), next((copied / "units").glob("*/*.safetensors"))]
        for file in files:
            file.write_bytes(flip_a_bit(file.read_bytes()))
        assert self.damaged(copied) == {str(file.relative_to(copied)): CHANGED for file in files}

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (halve, "cannot be read ("),
            (lambda data: b"", "cannot be read ("),
            (lambda data: b"\xff" + data, "cannot be read ("),
            (lambda data: data.replace(b'"done"', b'"dond"'), "cannot be read (status: must be "),
            (
                lambda data: data.replace(b'"schema": 2', b'"schema": 3'),
                "cannot be read (schema: must be 1 or 2",
            ),
            (lambda data: data.replace(b'"seed": 1', b'"seed": 2'), "is that of another unit, alpha=0.4_"),
            (
                lambda data: data.replace(b'"curves.nc"', b'"curves.nb"'),
                "must hold checksums of curves.nc and ",
            ),
        ],
    )
    def test_a_damaged_manifest(self, copied, damage, reason):
        file = next((copied / "units").glob("*seed=1*")) / "manifest.json"
        file.write_bytes(damage(file.read_bytes()))
        [(name, found)] = self.damaged(copied).items()
        assert name == str(file.relative_to(copied))
        assert found.startswith(reason)

    def test_another_checksum(self, copied):
        folder = next((copied / "units").glob("*seed=1*"))
        checksums = json.loads((folder / "manifest.json").read_text())["checksums"]
        change_manifest(folder, checksums=checksums | {"curves.nc": "0" * 64})
        assert self.damaged(copied) == {f"units/{folder.name}/curves.nc": CHANGED}

    def test_files_of_another_unit(self, copied):
        one, other, _ = sorted((copied / "units").iterdir())
        for file in one.iterdir():
            shutil.copy(file, other)
        assert self.damaged(copied) == {
            f"units/{other.name}/manifest.json": f"is that of another unit, {one.name}"
        }

    def test_a_study_that_was_edited_afterwards(self, copied, tiny_study):
        text = (copied / "study.json").read_text()
        (copied / "study.json").write_text(text.replace('"batch_size": 16', '"batch_size": 17'))
        names = sorted(path.name for path in (copied / "units").iterdir())
        assert self.damaged(copied) == {
            f"units/{name}/manifest.json": "is not of this study (different training.batch_size)"
            for name in names
        }

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda file: file.write_bytes(b"text"), "not a readable netCDF file ("),
            (lambda file: save_curves(load_curves(file).assign_coords(seed=[7]), file), "seed: not that of"),
            (lambda file: save_curves(load_curves(file).isel(step=[0, -1]), file), "step: not that of"),
        ],
    )
    def test_curves_that_never_were_of_the_unit(self, copied, make, reason):
        self.check_never_were(copied, "curves.nc", make, reason)

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda file: file.write_bytes(b"text"), "not the weights of this unit ("),
            (lambda file: save_file({"x": torch.zeros(3)}, file), "not the weights of this unit ("),
        ],
    )
    def test_weights_that_never_were_of_the_unit(self, copied, make, reason):
        self.check_never_were(copied, "weights.safetensors", make, reason)

    def check_never_were(self, copied, name, make, reason):
        """A file that is as it was written, but was written wrong."""
        directory = RunDirectory(copied)
        unit = directory.study.units()[1]
        file = directory.folder(unit) / name
        make(file)
        now = datetime.now(UTC)
        manifest = Manifest.describe(unit, directory.folder(unit), device=CPU, started=now, seconds=1.0)
        directory._write_manifest(manifest)
        assert directory.is_done(unit)
        [(where, found)] = self.damaged(copied).items()
        assert where == str(file.relative_to(copied))
        assert found.startswith(reason)
        assert "\n" not in found

    def test_what_it_advises_works(self, copied, finished):
        file = next((copied / "units").glob("*seed=1*")) / "curves.nc"
        file.write_bytes(halve(file.read_bytes()))
        [name] = self.damaged(copied)
        shutil.rmtree((copied / name).parent)
        run_sweep(RunDirectory(copied))
        assert read_json("verify", copied)["n_done"] == 3
        assert file.read_bytes() == (finished / name).read_bytes()


class TestTwoAtOnce:
    def test_the_second_is_refused_until_the_first_is_killed(self, tiny_toml, tmp_path):
        out = tmp_path / "run"
        arguments = ["train", str(tiny_toml), "--out", str(out), "--device", "cpu"]
        slow = [*arguments, "--set", "training.steps=1000000"]
        first = subprocess.Popen(
            [sys.executable, "-m", "quanta", *slow], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            deadline = time.monotonic() + 60
            while len(list(out.glob("units/*/lock"))) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert read_json("status", out)["n_running"] == 3
            for options in ([], ["--overwrite"]):
                result = run(*slow, *options, exit_code=1)
                assert result.stdout == ""
                line = result.stderr.splitlines()[-1]
                assert (
                    f"is being trained by process {first.pid} on host {socket.gethostname()} since " in line
                )
                assert line.endswith("; wait for it, or stop it")
        finally:
            first.send_signal(signal.SIGKILL)
            first.communicate()
        assert read_json("status", out)["n_running"] == 0
        run(*arguments, "--overwrite")
        assert read_json("verify", out)["n_done"] == 3
        assert not list(out.rglob("lock"))
