"""A run directory from somebody else: whatever is in it, nothing is executed and nothing outside changes.

What single files may hold is in the tests of their readers and in test_fuzz.py.
"""

import errno
import hashlib
import itertools
import json
import os
import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from quanta.cli import main
from quanta.curves.dataset import load_curves
from quanta.store.errors import StoreError
from quanta.store.run_directory import RunDirectory, load, load_population
from quanta.study.spec import StudySpec
from quanta.sweep.units import run_sweep


def run(*arguments, exit_code):
    """Run a command; it must end by itself, with the exit code and at most short lines."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == exit_code, result.stderr
    assert all(len(line) < 1000 for line in result.stderr.splitlines())
    return result


def contents(folder):
    """Every file below a folder, to the byte, and every link."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def outside(tmp_path):
    """A folder with somebody's work in it, which looks like that of a unit."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("curves.nc", "manifest.json", "weights.safetensors", "verdict.json", "drops.png", "thesis"):
        (folder / name).write_text("years of work")
    (folder / "study.json").write_text("{}")
    return folder


@pytest.fixture
def unit(tiny_study):
    return tiny_study.units()[0]


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def certify(folder, name):
    """Make the manifest of a unit fit a file, as whoever made the file would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["checksums"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


class TestSomebodyElses:
    """What this user may not read or write is neither damaged nor trained again."""

    @pytest.mark.parametrize(
        ("command", "name"),
        [
            *itertools.product(
                ("train", "verify", "analyze"), ("manifest.json", "curves.nc", "weights.safetensors")
            ),
            *itertools.product(("train", "verify"), ("checkpoint.safetensors",)),
        ],
    )
    def test_not_readable(self, copied, tiny_toml, unit, monkeypatch, command, name):
        file = RunDirectory(copied).folder(unit) / name
        if name == "checkpoint.safetensors":
            file.with_name("manifest.json").unlink()
            file.write_bytes(b"somebody else's")
        before = contents(copied)
        whole = Path.open

        def refuse(path, *arguments, **options):
            if path == file:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return whole(path, *arguments, **options)

        arguments = [tiny_toml, "--out", copied] if command == "train" else [copied]
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            message = run(command, *arguments, exit_code=1).stderr.splitlines()[-1]
        assert message == f"Error: [Errno 13] Permission denied: '{file}'"
        assert contents(copied) == before


class TestPickles:
    @pytest.mark.parametrize("save", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap))])
    @pytest.mark.parametrize(
        "name", ["study.json", "manifest.json", "curves.nc", "weights.safetensors", "checkpoint.safetensors"]
    )
    def test_are_data_to_every_command(self, copied, tiny_toml, unit, tmp_path, name, save):
        sprung = tmp_path / "sprung"
        folder = RunDirectory(copied).folder(unit)
        file = copied / name if name == "study.json" else folder / name
        save(Trap(sprung), file)
        if name in ("curves.nc", "weights.safetensors"):
            certify(folder, name)
        if name == "checkpoint.safetensors":
            (folder / "manifest.json").unlink()
        for command in ("analyze", "figures") if name in ("study.json", "curves.nc") else ():
            run(command, copied, exit_code=1)
        run("status", copied, exit_code=int(name == "study.json"))
        run("verify", copied, exit_code=1)
        if name == "weights.safetensors":
            with pytest.raises(StoreError, match="not the weights of this unit"):
                load_population(folder)
        run("train", tiny_toml, "--out", copied, exit_code=int(name == "study.json"))
        assert not sprung.exists()

    def test_would_be_run_by_who_unpickles_them(self, tmp_path):
        torch.save(Trap(tmp_path / "sprung"), tmp_path / "file")
        torch.load(tmp_path / "file", weights_only=False)
        assert (tmp_path / "sprung").exists()


class TestLinks:
    """A run directory is read where it is, and written nowhere else."""

    @pytest.mark.parametrize("name", ["units", "unit"])
    def test_in_place_of_a_folder_of_units(self, copied, tiny_toml, tiny_study, unit, outside, name):
        place = copied / "units" if name == "units" else RunDirectory(copied).folder(unit)
        shutil.rmtree(place)
        place.symlink_to(outside, target_is_directory=True)
        before = contents(outside)
        for command in ("analyze", "figures", "status", "verify"):
            message = run(command, copied, exit_code=1).stderr
            assert f"{place}: expected a folder, found a link" in message
        run("train", tiny_toml, "--out", copied, exit_code=1)
        with pytest.raises(StoreError, match="found a link; a run directory holds its own files"):
            RunDirectory(copied).write_failed(
                unit, "reason", device=torch.device("cpu"), started=datetime.now(UTC)
            )
        assert contents(outside) == before

    @pytest.mark.parametrize("name", ["units", "unit"])
    def test_to_another_disk_has_one_answer(self, copied, tiny_toml, tmp_path, unit, name):
        place = copied / "units" if name == "units" else RunDirectory(copied).folder(unit)
        place.rename(tmp_path / "disk")
        place.symlink_to(tmp_path / "disk", target_is_directory=True)
        for command in (("status",), ("verify",), ("analyze",), ("train", tiny_toml, "--out")):
            message = run(*command, copied, exit_code=1).stderr
            assert message.endswith(
                f"{place}: expected a folder, found a link; a run directory holds its own files, "
                "and may itself be a link\n"
            )

    def test_of_no_unit_are_left_aside(self, copied, tiny_toml, outside):
        (copied / "units" / "latest").symlink_to(outside, target_is_directory=True)
        for command in (("status",), ("verify",), ("analyze",), ("train", tiny_toml, "--out")):
            run(*command, copied, exit_code=0)

    @pytest.mark.parametrize("name", ["units", "unit", "analysis", "figures", "discovery"])
    def test_overwrite_deletes_the_link_alone(self, copied, tiny_toml, unit, outside, name):
        place = RunDirectory(copied).folder(unit) if name == "unit" else copied / name
        if place.exists():
            shutil.rmtree(place)
        place.symlink_to(outside, target_is_directory=True)
        before = contents(outside)
        run("train", tiny_toml, "--out", copied, "--overwrite", exit_code=0)
        assert contents(outside) == before
        assert not place.is_symlink()
        assert RunDirectory(copied).pending() == []

    @pytest.mark.parametrize(
        ("command", "name"), [("analyze", "analysis"), ("figures", "figures"), ("discover", "discovery")]
    )
    def test_in_place_of_a_folder_of_results(self, copied, outside, command, name):
        (copied / name).symlink_to(outside, target_is_directory=True)
        before = contents(outside)
        message = run(command, copied, exit_code=1).stderr
        assert f"{copied / name}: expected a folder, found a link" in message
        assert contents(outside) == before

    def test_beside_a_file_of_curves(self, copied, unit, outside):
        folder = RunDirectory(copied).folder(unit)
        (folder / "figures").symlink_to(outside, target_is_directory=True)
        before = contents(outside)
        assert "found a link" in run("figures", folder / "curves.nc", exit_code=1).stderr
        assert contents(outside) == before

    @pytest.mark.parametrize(
        "name", ["manifest.json", "curves.nc", "weights.safetensors", "checkpoint.safetensors"]
    )
    def test_in_place_of_a_file_of_a_unit(self, copied, finished, tiny_toml, unit, outside, name):
        target = outside / "thesis"
        file = RunDirectory(copied).folder(unit) / name
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        before = contents(outside)
        run("train", tiny_toml, "--out", copied, exit_code=0)
        assert contents(outside) == before
        assert RunDirectory(copied).pending() == []
        assert not (RunDirectory(copied).folder(unit) / "manifest.json").is_symlink()
        run("verify", copied, exit_code=0)

    @pytest.mark.parametrize("name", ["verdict.json", "drops.png"])
    def test_in_place_of_a_file_of_results(self, copied, outside, name):
        folder = copied / ("analysis" if name == "verdict.json" else "figures")
        folder.mkdir()
        (folder / name).symlink_to(outside / name)
        before = contents(outside)
        run("analyze" if name == "verdict.json" else "figures", copied, exit_code=0)
        assert contents(outside) == before
        assert not (folder / name).is_symlink()

    def test_in_place_of_the_study(self, copied, tiny_study, outside):
        text = (copied / "study.json").read_text()
        (outside / "study.json").write_text(text)
        (copied / "study.json").unlink()
        (copied / "study.json").symlink_to(outside / "study.json")
        longer = StudySpec.parse(json.loads(text) | {"seed": [0, 1, 2, 3]})
        assert RunDirectory.create(copied, longer).study == longer
        assert (outside / "study.json").read_text() == text

    def test_to_the_run_directory_itself_are_followed(self, copied, tiny_toml, tmp_path):
        (tmp_path / "link").symlink_to(copied, target_is_directory=True)
        run("train", tiny_toml, "--out", tmp_path / "link", "--overwrite", exit_code=0)
        assert RunDirectory(copied).pending() == []


class TestNoEnd:
    """Pipes and devices, which would keep a reader for ever or fill its memory."""

    @pytest.mark.parametrize("name", ["study.json", "manifest.json", "curves.nc", "weights.safetensors"])
    @pytest.mark.parametrize("kind", ["pipe", "device"])
    def test_is_never_read(self, copied, unit, name, kind):
        run_directory = RunDirectory(copied)
        file = copied / name if name == "study.json" else run_directory.folder(unit) / name
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        else:
            file.symlink_to("/dev/zero")
        if name == "study.json":
            with pytest.raises(StoreError, match="not a run directory"):
                load(copied)
        else:
            assert run_directory.pending() == [unit]
            assert load(copied).attrs["units_missing"] == 1
            with pytest.raises(StoreError, match="not a unit that is done"):
                load_population(run_directory.folder(unit))


class TestOverwrite:
    @pytest.mark.parametrize("text", ["{}", "", '{"name": "x"}', '{"experiment": "of another tool"}'])
    def test_never_deletes_what_another_tool_made(self, tiny_toml, tmp_path, text):
        folder = tmp_path / "work"
        (folder / "units").mkdir(parents=True)
        (folder / "units" / "thesis").write_text("years of work")
        (folder / "study.json").write_text(text)
        before = contents(folder)
        message = run("train", tiny_toml, "--out", folder, "--overwrite", exit_code=1).stderr
        assert f"{folder / 'study.json'}: not a study of this version" in message
        assert contents(folder) == before

    def test_says_what_it_cannot_delete(self, copied, tiny_study, monkeypatch):
        monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
        with pytest.raises(StoreError, match=r"units/.*/manifest\.json: cannot be deleted"):
            RunDirectory.create(copied, tiny_study, overwrite=True)


class TestSizes:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"task": {"n_subtasks": 10**9}}, "task.n_subtasks: must be less than or equal to 100000"),
            ({"task": {"n_subtasks": 4, "n_bits": 10**9}}, "task.n_bits: must be less than or equal to 4096"),
            (
                {"population": {"widths": {"from": 1, "to": 10**9, "count": 10**9}}},
                "to must be at most 100000",
            ),
            ({"n_train": [10**9], "task": {"n_bits": 4096}}, "at most 256 GiB of memory"),
            ({"seed": list(range(10_001))}, "at most 10000 units"),
        ],
        ids=range(5),
    )
    def test_an_absurd_study_is_refused_before_anything_is_made(self, copied, changes, message, tmp_path):
        study = json.loads((copied / "study.json").read_text()) | changes
        (copied / "study.json").write_text(json.dumps(study))
        for command in ("analyze", "status", "verify"):
            assert message in run(command, copied, exit_code=1).stderr
        (tmp_path / "study.toml").write_text(
            "\n".join(f"{key} = {as_toml(value)}" for key, value in study.items())
        )
        line = run("train", tmp_path / "study.toml", "--out", tmp_path / "new", exit_code=2).stderr
        assert message in line
        assert not (tmp_path / "new").exists()

    def test_a_manifest_of_a_giant_with_small_weights(self, copied, unit):
        folder = RunDirectory(copied).folder(unit)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["unit"]["population"]["widths"] = [100_000]
        manifest["unit"]["task"] |= {"n_subtasks": 50_000, "n_bits": 100, "k": 3}  # 20 GB of parameters
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(StoreError, match="another type or shape of embedding"):
            load_population(folder)

    def test_curves_of_all_units_that_do_not_fit(self, copied, monkeypatch):
        unit = RunDirectory(copied).study.units()[0]
        size = load_curves(RunDirectory(copied).folder(unit) / "curves.nc").nbytes
        monkeypatch.setattr("quanta.store.run_directory.memory_size", lambda: 2 * 3 * size)
        load(copied)
        monkeypatch.setattr("quanta.store.run_directory.memory_size", lambda: 2 * 3 * size - 2)
        message = "the curves of 3 units must take at most .*, not .* KiB$"
        with pytest.raises(StoreError, match=message):
            load(copied)

    def test_a_terabyte_declared_in_a_small_file_of_curves(self, copied, unit):
        file = RunDirectory(copied).folder(unit) / "curves.nc"
        with h5py.File(file, "r+") as opened:
            opened.pop("brier", None)
            opened.create_dataset("brier", (10**12,), "f4", chunks=(10**6,), compression="gzip")
        certify(file.parent, file.name)
        for arguments in (("analyze", copied), ("figures", copied), ("analyze", file), ("verify", copied)):
            result = run(*arguments, exit_code=1)
            assert "declared" in result.stderr + result.stdout


class TestNames:
    @pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "a\0b", "a\nb", "A", "", "x" * 65])
    def test_a_study_cannot_lead_elsewhere(self, tiny_study, name):
        values = json.loads(tiny_study.model_dump_json()) | {"name": name}
        with pytest.raises(ValueError, match="name: must match"):
            StudySpec.parse(values)

    @pytest.mark.parametrize("name", ["../../../outside/thesis", "/etc/passwd", "\0", "\x1b[31m"])
    def test_names_in_a_manifest_lead_nowhere(self, copied, unit, outside, name, tmp_path):
        folder = RunDirectory(copied).folder(unit)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["checksums"][name] = hashlib.sha256(b"years of work").hexdigest()
        manifest["reason"] = manifest["device"] = manifest["started"] = name
        (folder / "manifest.json").write_text(json.dumps(manifest))
        before = contents(outside)
        assert RunDirectory(copied).pending() == [unit]
        assert run_sweep(RunDirectory(copied)).n_done == 1
        assert contents(outside) == before
        assert sorted(path.name for path in (copied / "units").iterdir()) == sorted(
            each.id for each in RunDirectory(copied).study.units()
        )

    def test_control_characters_never_reach_the_terminal(self, copied, unit):
        folder = RunDirectory(copied).folder(unit)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest |= {"status": "failed", "reason": "\x1b]0;title\x07\x1b[2J\n" * 1000}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        result = run("status", copied, exit_code=0)
        assert "\x1b" not in result.stdout + result.stderr
        assert "\x07" not in result.stdout + result.stderr


class TestCurves:
    """Attributes of a file of curves, which commands print or parse."""

    @pytest.mark.parametrize(
        ("attributes", "exit_code"),
        [
            ({"study": "[" * 100_000}, 0),
            ({"study": "1" * 5000}, 0),
            ({"study": '{"name": "\\u001b[2J"}'}, 0),
            ({"study": '{"name": {"a": "' + "x" * 100_000 + '"}}'}, 0),
            ({"units_missing": np.arange(3)}, 1),
            ({"units_missing": "\x1b[2J"}, 1),
            ({"missing_units": "\x1b[2J"}, 1),
            ({"missing_units": 3}, 1),
            ({"schema": "\x1b[2J"}, 1),
        ],
        ids=range(9),
    )
    def test_attributes(self, copied, unit, attributes, exit_code):
        file = RunDirectory(copied).folder(unit) / "curves.nc"
        with h5py.File(file, "r+") as opened:
            opened.attrs.update(attributes)
        result = run("analyze", file, exit_code=exit_code)
        assert "\x1b" not in result.stdout + result.stderr


def as_toml(value):
    """Write what JSON holds as TOML."""
    if isinstance(value, dict):
        there = {key: part for key, part in value.items() if part is not None}  # TOML has no word for none
        return "{" + ", ".join(f"{key} = {as_toml(part)}" for key, part in there.items()) + "}"
    return json.dumps(value)
