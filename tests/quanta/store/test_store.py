import hashlib
import json
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import safe_open

from quanta.curves.dataset import load_curves, save_curves
from quanta.curves.schema import CurvesError
from quanta.store.errors import StoreError
from quanta.store.lock import LockedError, hold_files
from quanta.store.manifest import Manifest
from quanta.store.run_directory import RunDirectory, load, load_population
from quanta.store.verification import verify
from quanta.study.spec import StudySpec
from quanta.sweep.units import run_sweep
from quanta.tasks.seeds import derive_seed
from quanta.training.trainer import train_unit

CPU = torch.device("cpu")


def changed(study, **values):
    """A study with other values; a dictionary changes some of a section."""
    old = json.loads(study.model_dump_json())
    new = {key: old[key] | value if isinstance(value, dict) else value for key, value in values.items()}
    return StudySpec.parse(old | new)


def contents(folder):
    """Every file below a folder, to the byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_untouched(folder, action, match):
    """Whether an action is refused and leaves a folder as it was."""
    before = contents(folder)
    with pytest.raises(StoreError, match=match) as caught:
        action()
    return contents(folder) == before and "\n" not in str(caught.value)


class TestCreate:
    @pytest.mark.parametrize("prepare", [lambda path: None, Path.mkdir])
    def test_in_a_new_or_an_empty_folder(self, prepare, tiny_study, tmp_path):
        prepare(tmp_path / "run")
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        assert run.study == tiny_study
        assert list(contents(run.path)) == ["study.json"]
        assert RunDirectory(tmp_path / "run").study == tiny_study
        assert run.pending() == tiny_study.units()

    def test_where_somebody_died_while_making_it(self, tiny_study, tmp_path):
        (tmp_path / ".study.0123abcd.json").write_text('{"name": "ti')
        assert RunDirectory.create(tmp_path, tiny_study).study == tiny_study

    def test_by_many_at_once(self, tiny_study, tmp_path):
        # As the jobs of an array do.
        def create(path):
            together.wait()
            return RunDirectory.create(path, tiny_study).study

        together = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            for number in range(40):
                studies = list(pool.map(create, [tmp_path / f"run-{number}"] * 8))
                assert studies == [tiny_study] * 8

    def test_by_another_study_at_the_same_time(self, tiny_study, tmp_path, monkeypatch):
        other = changed(tiny_study, training={"steps": 21})

        def write_too(path, text):
            path.parent.mkdir(exist_ok=True)
            path.write_text(other.model_dump_json())

        monkeypatch.setattr("quanta.store.creation.write_json", write_too)
        with pytest.raises(StoreError, match=r"holds another study \(different training\.steps\)"):
            RunDirectory.create(tmp_path / "run", tiny_study)

    def test_the_same_again(self, copied, tiny_study):
        before = contents(copied)
        assert RunDirectory.create(copied, tiny_study).pending() == []
        assert contents(copied) == before

    def test_more_seeds_and_alphas_are_added(self, copied, tiny_study):
        other = changed(tiny_study, seed=[2, 0, 5], alpha=[1.0, 0.4], description="More of it.")
        run = RunDirectory.create(copied, other)
        joined = changed(other, seed=[0, 1, 2, 5], alpha=[0.4, 1.0])
        assert run.study == RunDirectory(copied).study == joined
        new = [(unit.alpha, unit.seed) for unit in run.pending()]
        assert new == [(0.4, 5), (1.0, 0), (1.0, 1), (1.0, 2), (1.0, 5)]

    @pytest.mark.parametrize(
        ("there", "more", "both"),
        [
            (4, [4, 5], (4, 5)),
            (4, [5, 3], (4, 5, 3)),
            ([4, 5], 6, (4, 5, 6)),
            ([4, 5], 5, (4, 5)),
        ],
    )
    def test_values_are_added_to_what_either_has_several_of(self, tiny_study, tmp_path, there, more, both):
        first = changed(tiny_study, seed=[0], task={"n_subtasks": there})
        run = RunDirectory.create(tmp_path / "run", first)
        run_sweep(run)
        run = RunDirectory.create(tmp_path / "run", changed(tiny_study, seed=[0], task={"n_subtasks": more}))
        assert run.study.task.n_subtasks == both
        n_done = len(first.units())
        assert [unit.task.n_subtasks for unit in run.pending()] == list(both[n_done:])
        assert verify(run).damaged == ()

    def test_fewer_seeds_take_none_away(self, copied, tiny_study):
        run = RunDirectory.create(copied, changed(tiny_study, seed=[1]))
        assert run.study == tiny_study

    def test_by_many_at_once_each_with_a_seed_of_its_own(self, tiny_study, tmp_path):
        def create(path, seed):
            together.wait()
            return RunDirectory.create(path, changed(tiny_study, seed=[seed])).study.seed

        together = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            for number in range(10):
                seeds = list(pool.map(create, [tmp_path / f"run-{number}"] * 8, range(8)))
                assert all(seed in there for seed, there in enumerate(seeds))
                assert sorted(RunDirectory(tmp_path / f"run-{number}").study.seed) == list(range(8))
                assert list(contents(tmp_path / f"run-{number}")) == ["study.json"]

    def test_where_somebody_died_while_adding_to_it(self, copied, tiny_study):
        (copied / ".study.lock").touch()
        assert RunDirectory.create(copied, changed(tiny_study, seed=[7])).study.seed == (0, 1, 2, 7)
        assert not (copied / ".study.lock").exists()

    def test_while_somebody_is_adding_to_it(self, copied, tiny_study, monkeypatch):
        monkeypatch.setattr("quanta.store.creation._PATIENCE_SECONDS", 0.1)
        match = rf"copied: the run directory is being made by process {os.getpid()} on host .*; try again"
        with hold_files([copied / ".study.lock"]), pytest.raises(LockedError, match=match):
            RunDirectory.create(copied, tiny_study)

    @pytest.mark.parametrize(
        ("one", "other", "message"),
        [
            ({"alpha": "uniform"}, {"alpha": -1}, "alpha: must be at least one value, each once, not "),
            (
                {"seed": list(range(6002))},
                {"seed": list(range(6002, 12004))},
                "seed must be at most 10000 units, not 12004",
            ),
        ],
        ids=["one place twice", "too many"],
    )
    def test_what_cannot_be_one_study_is_refused(self, tiny_study, tmp_path, one, other, message):
        run = RunDirectory.create(tmp_path / "run", changed(tiny_study, **one))
        assert is_untouched(
            run.path,
            lambda: RunDirectory.create(run.path, changed(tiny_study, **other)),
            rf"run: cannot hold this study as well \({message}.*\); choose another --out",
        )

    @pytest.mark.parametrize(
        ("values", "keys"),
        [
            ({"name": "other"}, "name"),
            ({"training": {"steps": 21}}, r"training\.steps"),
            ({"population": {"widths": [2, 8]}}, r"population\.widths"),
            ({"task": {"k": [1, 1, 2, 2]}}, r"task\.k"),
            ({"task": {"n_subtasks": 5}}, r"task\.n_subtasks"),  # edited, and no list: not one K more
            ({"training": {"learning_rate": 0.1}}, r"training\.learning_rate"),
            ({"training": {"steps": 21}, "task": {"n_bits": 7}}, r"task\.n_bits, training\.steps"),
        ],
    )
    def test_another_study_is_refused_with_the_keys_that_differ(self, copied, tiny_study, values, keys):
        other = changed(tiny_study, **values)
        match = rf"copied: holds another study \(different {keys}\); choose another --out, or --overwrite"
        assert is_untouched(copied, lambda: RunDirectory.create(copied, other), match)

    def test_overwrite_deletes_what_the_study_made(self, copied, tiny_study):
        for name in ("analysis", "figures"):
            (copied / name).mkdir()
            (copied / name / "file").touch()
        (copied / "notes.txt").write_text("mine")
        other = changed(tiny_study, training={"steps": 21})
        run = RunDirectory.create(copied, other, overwrite=True)
        assert run.study == other
        assert sorted(contents(copied)) == ["notes.txt", "study.json"]
        assert run.pending() == other.units()

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_with_something_else_is_refused(self, tiny_study, tmp_path, overwrite):
        (tmp_path / "units").mkdir()
        (tmp_path / "units" / "thesis.txt").write_text("years of work")
        assert is_untouched(
            tmp_path,
            lambda: RunDirectory.create(tmp_path, tiny_study, overwrite=overwrite),
            "neither empty nor a run directory; choose another --out",
        )

    def test_a_file_is_refused(self, tiny_study, tmp_path):
        (tmp_path / "file").write_text("text")
        assert is_untouched(
            tmp_path,
            lambda: RunDirectory.create(tmp_path / "file", tiny_study),
            "neither empty nor a run directory",
        )

    @pytest.mark.parametrize("content", [b"", b"{", b'{"name": "x"}', b"\xff\xfe", b"[]"])
    def test_a_damaged_study_is_refused(self, copied, tiny_study, content):
        (copied / "study.json").write_bytes(content)
        match = r"study\.json: not a study of this version"
        assert is_untouched(copied, lambda: RunDirectory.create(copied, tiny_study), match)
        assert is_untouched(copied, lambda: load(copied), match)


class TestWrite:
    def test_manifest(self, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        started = datetime.now(UTC)
        run.write_done(unit, train_unit(unit), device=CPU, started=started)
        text = (run.folder(unit) / "manifest.json").read_text()
        manifest = Manifest.parse(text)
        assert json.loads(text)["schema"] == 2
        assert run.manifest(unit) == manifest
        assert (manifest.status, manifest.reason, manifest.unit) == ("done", None, unit)
        assert manifest.seeds == {
            stream: derive_seed(1, stream) for stream in ("task", "data", "init", "evaluation", "examples")
        }
        assert manifest.versions["torch"] == torch.__version__
        assert manifest.device.endswith(", 1 thread")
        assert datetime.fromisoformat(manifest.started) == started.replace(microsecond=0)
        assert 0 < manifest.seconds < 60
        assert sorted(manifest.checksums) == ["curves.nc", "weights.safetensors"]
        assert run.is_done(unit)
        assert not run.is_done(tiny_study.units()[0])

    @pytest.mark.usefixtures("compiler")
    def test_manifest_says_what_was_compiled_for(self, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[0]
        trained = train_unit(unit)
        run.write_done(unit, trained, device=CPU, started=datetime.now(UTC))
        assert run.manifest(unit).compiled_for == trained.population.compiled_for
        assert run.manifest(unit).compiled_for not in ("none", "unknown")

    @pytest.mark.usefixtures("no_kernel")
    def test_manifest_says_that_nothing_was_compiled(self, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[0]
        run.write_done(unit, train_unit(unit), device=CPU, started=datetime.now(UTC))
        assert run.manifest(unit).compiled_for == "none"

    def test_manifest_is_written_last(self, tiny_study, tmp_path, monkeypatch):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[0]
        trained = train_unit(unit)

        def fail(*arguments):
            raise OSError("no space left on device")

        monkeypatch.setattr("quanta.store.weights.save_file", fail)
        with pytest.raises(OSError, match="no space"):
            run.write_done(unit, trained, device=CPU, started=datetime.now(UTC))
        assert [path.name for path in run.folder(unit).iterdir()] == ["curves.nc"]
        assert run.manifest(unit) is None
        assert not run.is_done(unit)

    def test_a_failed_unit_is_not_done(self, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[0]
        run.write_failed(unit, "it did not work", device=CPU, started=datetime.now(UTC))
        manifest = run.manifest(unit)
        assert (manifest.status, manifest.reason) == ("failed", "it did not work")
        assert unit in run.pending()

    def test_curves_are_those_of_the_unit(self, tiny_study, finished):
        run = RunDirectory(finished)
        for unit in tiny_study.units():
            there = load_curves(run.folder(unit) / "curves.nc")
            xr.testing.assert_identical(there, train_unit(unit).curves)


def replace(old, new):
    def damage(data):
        assert data.count(old) >= 1
        return data.replace(old, new, 1)

    return damage


def flip_a_bit(data):
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def change_checksum(data):
    manifest = json.loads(data)
    manifest["checksums"]["curves.nc"] = "0" * 64
    return json.dumps(manifest).encode()


def forget_checksums(data):
    return json.dumps(json.loads(data) | {"checksums": {}}).encode()


class TestDamage:
    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            pytest.param("curves.nc", flip_a_bit, id="curves.nc-flipped"),
            pytest.param("weights.safetensors", flip_a_bit, id="weights.safetensors-flipped"),
            *[
                pytest.param(name, lambda data, part=part: data[: len(data) // 2 * part], id=f"{name}-{part}")
                for name in ("curves.nc", "weights.safetensors", "manifest.json")
                for part in (0, 1)
            ],
            pytest.param("manifest.json", change_checksum, id="another checksum"),
            pytest.param("manifest.json", forget_checksums, id="no checksum"),
            pytest.param("manifest.json", replace(b'"curves.nc"', b'"curves.nb"'), id="another file"),
            pytest.param("manifest.json", replace(b'"done"', b'"dond"'), id="no such status"),
            pytest.param("manifest.json", replace(b'"schema": 2', b'"schema": 3'), id="another version"),
            pytest.param("manifest.json", replace(b'"seed": 0', b'"seed": 1'), id="another seed"),
            pytest.param("manifest.json", replace(b"{", b"\xff"), id="no text"),
            pytest.param("manifest.json", lambda data: b"null", id="null"),
        ],
    )
    def test_the_unit_is_trained_again(self, copied, finished, name, damage):
        run = RunDirectory(copied)
        unit = run.study.units()[0]
        file = run.folder(unit) / name
        file.write_bytes(damage(file.read_bytes()))
        self.check_trained_again(run, unit, finished)

    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors", "manifest.json"])
    def test_a_file_that_is_gone(self, copied, finished, name):
        run = RunDirectory(copied)
        unit = run.study.units()[0]
        (run.folder(unit) / name).unlink()
        self.check_trained_again(run, unit, finished)

    @pytest.mark.parametrize(
        "names", [["manifest.json"], ["manifest.json", "curves.nc", "weights.safetensors"]]
    )
    def test_files_of_another_unit(self, copied, finished, names):
        run = RunDirectory(copied)
        unit, other, _ = run.study.units()
        for name in names:
            shutil.copy(run.folder(other) / name, run.folder(unit) / name)
        self.check_trained_again(run, unit, finished)

    def test_a_folder_in_place_of_a_file(self, copied):
        run = RunDirectory(copied)
        unit = run.study.units()[0]
        (run.folder(unit) / "curves.nc").unlink()
        (run.folder(unit) / "curves.nc").mkdir()
        assert run.pending() == [unit]

    def check_trained_again(self, run, unit, finished):
        assert run.pending() == [unit]
        curves = run.load()
        assert curves["seed"].values.tolist() == [1, 2]
        assert curves.attrs["units_missing"] == 1
        result = run_sweep(run)
        assert (result.n_done, result.n_kept, result.failed) == (1, 2, {})
        assert run.pending() == []
        for name in ("curves.nc", "weights.safetensors"):
            there = RunDirectory(finished).folder(unit) / name
            assert (run.folder(unit) / name).read_bytes() == there.read_bytes()


class TestLoad:
    def test_a_run_directory(self, finished, tiny_study):
        curves = load(finished)
        assert dict(curves.sizes) == {
            "alpha": 1,
            "n_train": 1,
            "seed": 3,
            "width": 2,
            "step": 5,
            "subtask": 4,
        }
        assert curves.attrs["units_missing"] == 0
        assert StudySpec.parse(curves.attrs["study"]) == tiny_study
        for unit in tiny_study.units():
            expected = train_unit(unit).curves["loss"]
            np.testing.assert_array_equal(curves["loss"].sel(seed=[unit.seed]), expected)

    def test_axes_are_sorted_whatever_their_order_in_the_study(self, tiny_study, tmp_path):
        study = changed(tiny_study, seed=[3, 1], alpha=["uniform", 0.2], n_train=["online", 10])
        run = RunDirectory.create(tmp_path / "run", study)
        run_sweep(run)
        curves = load(run.path)
        assert curves["seed"].values.tolist() == [1, 3]
        assert curves["alpha"].values.tolist() == [-1, 0.2]
        assert curves["n_train"].values.tolist() == [10, np.inf]
        for unit in study.units():
            alpha = -1 if unit.alpha == "uniform" else unit.alpha
            n_train = np.inf if unit.n_train == "online" else unit.n_train
            there = load_curves(run.folder(unit) / "curves.nc")["loss"].squeeze()
            np.testing.assert_array_equal(
                curves["loss"].sel(alpha=alpha, n_train=n_train, seed=unit.seed), there
            )

    def test_chance_is_one_bit_in_units_old_and_new(self, copied, finished):
        run = RunDirectory(copied)
        unit = run.study.units()[0]
        file = run.folder(unit) / "curves.nc"
        curves = load_curves(file)
        assert curves["chance"].values.tolist() == [1, 1, 1, 1]
        save_curves(curves.drop_vars("chance"), file)  # as before there was such a variable
        manifest = json.loads((run.folder(unit) / "manifest.json").read_text())
        manifest["checksums"]["curves.nc"] = sha256(file)
        (run.folder(unit) / "manifest.json").write_text(json.dumps(manifest))
        xr.testing.assert_identical(load(copied), load(finished))

    def test_a_file(self, finished, tmp_path):
        save_curves(load(finished), tmp_path / "curves.nc")
        xr.testing.assert_identical(load(tmp_path / "curves.nc"), load(finished))

    def test_nothing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"missing"):
            load(tmp_path / "missing")

    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(StoreError, match=r"not a run directory \(it has no study\.json\)"):
            load(tmp_path)

    def test_a_file_of_something_else(self, tmp_path):
        (tmp_path / "text.nc").write_text("text")
        with pytest.raises(CurvesError, match=r"text\.nc: not a readable netCDF file"):
            load(tmp_path / "text.nc")


class TestLoadPopulation:
    @pytest.mark.parametrize("precision", ["float32", "float64"])
    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    def test_is_the_one_that_was_trained(self, tiny_study, tmp_path, n_hidden_layers, precision):
        study = changed(
            tiny_study, population={"n_hidden_layers": n_hidden_layers}, training={"precision": precision}
        )
        run = RunDirectory.create(tmp_path / "run", study)
        unit = study.units()[0]
        trained = train_unit(unit)
        run.write_done(unit, trained, device=CPU, started=datetime.now(UTC))
        there = load_population(run.folder(unit))
        state = trained.population.state_dict()
        assert there.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in there.state_dict().items())
        subtask = torch.arange(4).repeat_interleave(64)
        bits = (torch.arange(64)[:, None] >> torch.arange(6) & 1).to(torch.uint8).repeat(4, 1)
        assert torch.equal(there.predict(subtask, bits), trained.population.predict(subtask, bits))

    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors", "manifest.json"])
    @pytest.mark.parametrize("damage", [flip_a_bit, lambda data: data[:50]], ids=["flipped", "cut"])
    def test_damage_is_noticed(self, copied, name, damage):
        folder = next((copied / "units").iterdir())
        file = folder / name
        if name == "manifest.json":
            damage = replace(b'"widths"', b'"widthz"')
        file.write_bytes(damage(file.read_bytes()))
        assert is_untouched(copied, lambda: load_population(folder), "not a unit that is done")

    def test_weights_say_what_they_are(self, finished, tiny_study):
        unit = tiny_study.units()[1]
        folder = RunDirectory(finished).folder(unit)
        with safe_open(folder / "weights.safetensors", framework="numpy") as file:
            told = json.loads(file.metadata()["tensors"])
            w = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert w.keys() <= told.keys()
        rng = np.random.default_rng(0)
        bits, subtask = rng.integers(2, size=(9, 6)), rng.integers(4, size=9)
        hidden = np.maximum(w["embedding"][subtask] + bits @ w["weight"] + w["bias"], 0)
        margin, start = [], 0
        for member, width in enumerate(unit.population.widths):
            own = slice(start, start + width)
            logits = hidden[:, own] @ w["readout_weight"][:, own].T + w["readout_bias"][:, member]
            margin.append(logits[:, 1] - logits[:, 0])
            start += width
        population = load_population(folder)
        expected = population.predict(torch.from_numpy(subtask), torch.from_numpy(bits.astype(np.uint8)))
        np.testing.assert_allclose(np.stack(margin, 1), expected.numpy(), rtol=1e-4, atol=1e-5)

    def test_weights_of_another_shape(self, copied, tiny_study):
        # What a hand could make: a manifest whose checksums are right, of a unit that has other widths.
        unit = tiny_study.units()[0]
        wider = changed(tiny_study, population={"widths": [2, 8]}).units()[0]
        folder = RunDirectory(copied).folder(unit)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["unit"] = json.loads(wider.model_dump_json())
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert is_untouched(copied, lambda: load_population(folder), "not a unit that is done")

    def test_a_unit_that_failed_has_none_though_its_old_files_are_there(self, copied):
        run = RunDirectory(copied)
        unit = run.study.units()[0]
        run.write_failed(unit, "diverged", device=CPU, started=datetime.now(UTC))
        with pytest.raises(StoreError, match="not a unit that is done"):
            load_population(run.folder(unit))

    def test_no_folder(self, tmp_path):
        with pytest.raises(StoreError, match="not a unit that is done"):
            load_population(tmp_path / "missing")


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestNothingIsExecuted:
    """A run directory from someone else is data, whatever is in it."""

    @pytest.fixture
    def sprung(self, tmp_path):
        return tmp_path / "sprung"

    @pytest.mark.parametrize("pickler", [pickle.dumps, None], ids=["pickle", "torch.save"])
    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors", "manifest.json", "study.json"])
    def test_pickles_in_place_of_files(self, copied, sprung, name, pickler):
        run = RunDirectory(copied)
        unit = run.study.units()[0]
        file = (copied if name == "study.json" else run.folder(unit)) / name
        if pickler is None:
            torch.save(Trap(sprung), file)
        else:
            file.write_bytes(pickler(Trap(sprung)))
        if name in ("curves.nc", "weights.safetensors"):
            # Its author sees to it that the checksums are right.
            manifest = json.loads((run.folder(unit) / "manifest.json").read_text())
            manifest["checksums"][name] = sha256(file)
            (run.folder(unit) / "manifest.json").write_text(json.dumps(manifest))
        expected = {"curves.nc": CurvesError, "study.json": StoreError}
        if name in expected:
            with pytest.raises(expected[name]):
                load(copied)
        else:
            load(copied)
        if name in ("weights.safetensors", "manifest.json"):
            with pytest.raises(StoreError):
                load_population(run.folder(unit))
        assert not sprung.exists()

    def test_the_trap_works(self, sprung):
        pickle.loads(pickle.dumps(Trap(sprung)))
        assert sprung.exists()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
