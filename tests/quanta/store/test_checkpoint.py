import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from quanta.store import checkpoint as module
from quanta.store.checkpoint import Checkpoint, CheckpointError
from quanta.store.manifest import SCHEMA
from quanta.study.spec import StudySpec
from quanta.training.kernel import KERNEL_VERSION
from quanta.training.trainer import StoppedError, Trainer, train_unit

STUDY = {
    "name": "small",
    "task": {"n_subtasks": 5, "n_bits": 64, "k": 2},
    "population": {"widths": [3, 8]},
    "training": {"steps": 40, "batch_size": 16, "learning_rate": 1e-2},
    "evaluation": {"samples_per_subtask": 8, "n_evaluations": 9},
}


def make_unit(**changed):
    values = STUDY | {key: STUDY.get(key, {}) | value for key, value in changed.items() if key in STUDY}
    values |= {key: value for key, value in changed.items() if key not in STUDY}
    [unit] = StudySpec.parse(values).units()
    return unit


def stop_after(n_steps):
    calls = iter(range(1, 10**9))
    return lambda: next(calls) >= n_steps


def interrupted(unit, path, n_steps):
    """Train some steps, leaving a checkpoint."""
    with pytest.raises(StoppedError, match=f"after step {n_steps}"):
        train_unit(unit, keeper=Checkpoint(path), should_stop=stop_after(n_steps))
    assert path.exists()


def rewrite(path, state, unit=None, **head):
    """Write a checkpoint with the right checksum of a state that may be wrong."""
    metadata = {"format": module.FORMAT, "unit": (unit or UNITS["online"]).model_dump_json()}
    head = {"kernel": str(KERNEL_VERSION)} | head
    metadata |= {name: value for name, value in head.items() if value is not None}
    save_file(state, path, metadata | {"sha256": module._digest(state)})


def same(one, other):
    assert one.curves.identical(other.curves)
    for a, b in zip(one.population.parameters(), other.population.parameters(), strict=True):
        assert torch.equal(a, b)


UNITS = {
    "online": make_unit(),
    "finite": make_unit(n_train=50),
    "epochs": make_unit(n_train=50, training={"sampling": "epochs"}),  # of 16, 16, 16 and 2
    "an epoch a step": make_unit(n_train=10, training={"sampling": "epochs"}),
    "float64": make_unit(training={"precision": "float64", "weight_decay": 0.1}),
    "deep": make_unit(population={"widths": [3, 8], "n_hidden_layers": 2}),
    "frozen": make_unit(training={"freeze_first_layer": True}),
}


class TestContinuing:
    @pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
    @pytest.mark.parametrize("n_steps", [1, 2, 16, 17, 39, 40])
    def test_is_bit_for_bit_never_having_stopped(self, unit, n_steps, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(unit, path, n_steps)
        same(train_unit(unit, keeper=Checkpoint(path)), train_unit(unit))

    def test_again_and_again(self, tmp_path):
        unit, path = UNITS["online"], tmp_path / "checkpoint.safetensors"
        for n_steps in (3, 4, 19, 33):
            done = int(load_file(path)["n_steps"]) if path.exists() else 0
            with pytest.raises(StoppedError):
                train_unit(unit, keeper=Checkpoint(path), should_stop=stop_after(n_steps - done))
            assert int(load_file(path)["n_steps"]) == n_steps
        same(train_unit(unit, keeper=Checkpoint(path)), train_unit(unit))

    def test_without_its_checkpoint_it_would_differ(self, tmp_path):
        # The comparison above can fail: another state of the generator gives other curves.
        unit, path = UNITS["online"], tmp_path / "checkpoint.safetensors"
        interrupted(unit, path, 17)
        trainer = Trainer(unit)
        Checkpoint(path).restore(trainer)
        trainer._data.manual_seed(1)
        other = tmp_path / "other.safetensors"
        Checkpoint(other).save(trainer)
        assert not train_unit(unit, keeper=Checkpoint(other)).curves.identical(train_unit(unit).curves)

    @pytest.mark.parametrize("n_train", ["online", 50])
    def test_stops_as_early(self, n_train, tmp_path):
        values = {"n_train": n_train, "evaluation": {"n_evaluations": 30}}
        unit = make_unit(**values, training={"sampling": "epochs", "patience": 2, "learning_rate": 0.5})
        whole, path = train_unit(unit), tmp_path / "checkpoint.safetensors"
        n_measured = int(whole.curves["loss"].notnull().all(("width", "subtask")).sum())
        assert 3 <= n_measured < unit.evaluation_steps.size - 1
        last = int(unit.evaluation_steps[n_measured - 1])
        for n_steps in range(1, last + 1):  # also between the last step and its evaluation
            interrupted(unit, path, n_steps)
            same(train_unit(unit, keeper=Checkpoint(path)), whole)
            path.unlink()

    def test_steps_already_taken_are_reported(self, tmp_path):
        unit, path = UNITS["online"], tmp_path / "checkpoint.safetensors"
        interrupted(unit, path, 17)
        n_steps = []
        train_unit(unit, on_progress=n_steps.append, keeper=Checkpoint(path))
        assert n_steps == [17] + [1] * 23

    def test_seconds_add_up(self, tmp_path):
        unit, path = UNITS["online"], tmp_path / "checkpoint.safetensors"
        interrupted(unit, path, 17)
        trainer = Trainer(unit)
        Checkpoint(path).restore(trainer)
        trainer.seconds += 1000
        Checkpoint(path).save(trainer)
        assert 1000 < train_unit(unit, keeper=Checkpoint(path)).seconds < 1100


class TestWhenToSave:
    def test_not_before_it_is_due(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        train_unit(UNITS["online"], keeper=Checkpoint(path))
        assert not path.exists()

    def test_when_it_is_due(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "MIN_SECONDS", 0.0)
        monkeypatch.setattr(module, "MAX_SHARE", 1e9)
        path = tmp_path / "checkpoint.safetensors"
        train_unit(UNITS["online"], keeper=Checkpoint(path))
        assert int(load_file(path)["n_steps"]) == 40

    def test_a_slow_disk_is_written_to_less_often(self, tmp_path, monkeypatch):
        clock = iter([0.0, 10.0, 13.0])  # made; a save begins; it ends
        monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
        checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
        checkpoint.save(Trainer(UNITS["online"]))
        assert checkpoint._due == 13.0 + 3.0 / module.MAX_SHARE


class TestKernelVersion:
    """What another version of the compiled code began it cannot finish to the same bits."""

    @pytest.mark.parametrize(("kernel", "said"), [(None, "1"), ("1", "1"), (str(KERNEL_VERSION + 1), None)])
    def test_another_is_refused_with_one_line(self, kernel, said, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["online"], path, 17)
        rewrite(path, load_file(path), n_steps="17", kernel=kernel)
        message = f"begun with version {said or kernel} of the compiled .* than version {KERNEL_VERSION}"
        with pytest.raises(CheckpointError, match=message) as caught:
            Checkpoint(path).restore(Trainer(UNITS["online"]))
        assert len(str(caught.value).splitlines()) == 1

    def test_the_same_goes_on(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["online"], path, 17)
        rewrite(path, load_file(path), n_steps="17")
        same(train_unit(UNITS["online"], keeper=Checkpoint(path)), train_unit(UNITS["online"]))

    def test_units_without_compiled_code_are_of_none(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["deep"], path, 17)
        rewrite(path, load_file(path), UNITS["deep"], n_steps="17", kernel=None)
        assert Checkpoint(path).restore(Trainer(UNITS["deep"]))


class TestTrainingSet:
    """What was begun on examples that were drawn otherwise cannot go on with these."""

    @pytest.mark.parametrize("schema", [None, "1", str(SCHEMA + 1)])
    def test_another_is_refused_with_one_line(self, schema, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["finite"], path, 17)
        rewrite(path, load_file(path), UNITS["finite"], n_steps="17", schema=schema)
        message = rf"begun on a training set of schema {schema or 1}, .* of schema {SCHEMA}$"
        with pytest.raises(CheckpointError, match=message) as caught:
            Checkpoint(path).restore(Trainer(UNITS["finite"]))
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize("schema", [None, "1"])
    def test_online_has_none(self, schema, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["online"], path, 17)
        rewrite(path, load_file(path), n_steps="17", schema=schema)
        assert Checkpoint(path).restore(Trainer(UNITS["online"]))

    def test_fields_that_were_added_since_are_at_their_defaults(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["online"], path, 17)
        unit = json.loads(UNITS["online"].model_dump_json())
        del unit["training"]["sampling"], unit["training"]["patience"]
        metadata = {"format": module.FORMAT, "unit": json.dumps(unit), "kernel": str(KERNEL_VERSION)}
        state = load_file(path)
        save_file(state, path, metadata | {"n_steps": "17", "sha256": module._digest(state)})
        same(train_unit(UNITS["online"], keeper=Checkpoint(path)), train_unit(UNITS["online"]))


class TestDamage:
    @pytest.fixture
    def left(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["online"], path, 17)
        return path

    def refuse(self, path, message, unit=UNITS["online"]):
        with pytest.raises(CheckpointError, match=message) as caught:
            Checkpoint(path).restore(Trainer(unit))
        assert len(str(caught.value).splitlines()) == 1

    def test_none_there_is_no_damage(self, tmp_path):
        assert Checkpoint(tmp_path / "none").restore(Trainer(UNITS["online"])) is False

    def test_of_another_unit(self, left):
        self.refuse(left, "of another unit", UNITS["finite"])

    def test_truncated(self, left):
        left.write_bytes(left.read_bytes()[:-100])
        self.refuse(left, "not a checkpoint")

    def test_every_flipped_byte_is_noticed(self, left):
        whole = left.read_bytes()
        rng = np.random.default_rng(0)
        for place in rng.integers(len(whole), size=60):
            changed = bytearray(whole)
            changed[place] ^= 1 << int(rng.integers(8))
            left.write_bytes(bytes(changed))
            self.refuse(left, "not a checkpoint")

    def test_a_pickle_is_not_loaded(self, left):
        torch.save({"n_steps": torch.tensor(1)}, left)
        self.refuse(left, "not a checkpoint")

    @pytest.mark.parametrize("missing", ["generator", "n_steps", "population.bias", "evaluations.loss"])
    def test_something_missing(self, left, missing):
        state = load_file(left)
        del state[missing]
        rewrite(left, state)
        self.refuse(left, "not a checkpoint")

    def test_too_many_steps(self, left):
        rewrite(left, load_file(left) | {"n_steps": torch.tensor(10**6)})
        self.refuse(left, "evaluations are not those")

    @pytest.mark.parametrize(
        ("samples_seen", "message"),
        [
            (torch.tensor([-1, 273, 0, 0, 0]), "not the 272 up to step 17"),
            (torch.tensor([271, 0, 0, 0, 0]), "not the 272 up to step 17"),
            (torch.tensor(272), "type and shape"),
            (torch.tensor([272.0, 0, 0, 0, 0]), "type and shape"),
        ],
    )
    def test_samples_that_no_batches_had(self, left, samples_seen, message):
        rewrite(left, load_file(left) | {"samples_seen": samples_seen})
        self.refuse(left, message)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda seen: 1 - seen, "not those of the samples"),
            (lambda seen: 0 * seen, "not those of the samples"),
            (lambda seen: 2 * seen, r"marks of examples are torch.uint8 of shape \(50,\)"),
            (lambda seen: seen[1:], r"marks of examples are torch.uint8 of shape \(49,\)"),
            (lambda seen: seen.long(), r"marks of examples are torch.int64 of shape \(50,\)"),
        ],
    )
    def test_examples_that_no_batches_had(self, change, message, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["finite"], path, 2)
        state = load_file(path)
        rewrite(path, state | {"seen": change(state["seen"]).contiguous()}, UNITS["finite"], schema="2")
        self.refuse(path, message, UNITS["finite"])

    def test_samples_of_whole_batches_where_one_was_smaller(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        interrupted(UNITS["epochs"], path, 4)
        state = load_file(path)
        assert int(state["samples_seen"].sum()) == 50
        wrong = state["samples_seen"] + torch.tensor([14, 0, 0, 0, 0])
        rewrite(path, state | {"samples_seen": wrong}, UNITS["epochs"], schema="2")
        self.refuse(path, "not the 50 up to step 4", UNITS["epochs"])

    def test_a_save_that_fails_leaves_the_one_before(self, left, monkeypatch):
        before = left.read_bytes()

        def fail(tensors, path, metadata):
            path.write_bytes(b"half")
            raise OSError("no space left on device")

        monkeypatch.setattr(module, "save_file", fail)
        with pytest.raises(OSError, match="no space"):
            Checkpoint(left).save(Trainer(UNITS["online"]))
        assert left.read_bytes() == before
        assert [file.name for file in left.parent.iterdir()] == [left.name]
