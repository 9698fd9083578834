import json
import re

import pytest
import torch

from quanta.store.run_directory import RunDirectory, load
from quanta.study.spec import StudySpec
from quanta.sweep import units as sweep_module
from quanta.sweep.units import SweepResult, find_pending, run_sweep
from quanta.training.compilation import processor
from quanta.training.trainer import DivergedError, train_unit

CPU_OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory"


@pytest.fixture
def trained(monkeypatch):
    """The seeds of the units that were trained, in order."""
    seeds = []

    def record(unit, *arguments):
        seeds.append(unit.seed)
        return train_unit(unit, *arguments)

    monkeypatch.setattr(sweep_module, "train_unit", record)
    return seeds


def with_seeds(study, *seeds):
    return study.model_copy(update={"seed": seeds})


def unit_files(path):
    """What the units of a run directory hold, to the byte; not their manifests, which tell the time."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in (path / "units").rglob("*")
        if file.is_file() and file.name != "manifest.json"
    }


class Interrupt:
    """Stands for Ctrl-C after a number of steps."""

    def __init__(self, after):
        self.left = after

    def __call__(self, n_steps):
        self.left -= n_steps
        if self.left <= 0:
            raise KeyboardInterrupt


class TestRunSweep:
    def test_trains_every_unit_once(self, tiny_study, tmp_path, finished, trained):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        assert run_sweep(run) == SweepResult(n_done=3, n_kept=0, failed={})
        assert trained == [0, 1, 2]
        assert len(unit_files(run.path)) == 6
        assert unit_files(run.path) == unit_files(finished)

    def test_repeats_nothing(self, copied, trained):
        assert run_sweep(RunDirectory(copied)) == SweepResult(n_done=0, n_kept=3, failed={})
        assert trained == []

    def test_more_seeds_keep_those_that_are_done(self, copied, tiny_study, trained):
        before = unit_files(copied)
        run = RunDirectory.create(copied, with_seeds(tiny_study, 0, 1, 2, 3))
        assert run_sweep(run) == SweepResult(n_done=1, n_kept=3, failed={})
        assert trained == [3]
        assert before.items() < unit_files(copied).items()
        assert load(copied)["seed"].values.tolist() == [0, 1, 2, 3]

    def test_another_seed_is_added_to_those_that_are_there(self, tiny_study, tmp_path, trained):
        for seed in (1, 0):
            study = with_seeds(tiny_study, seed)
            run = RunDirectory.create(tmp_path / "run", study)
            assert run_sweep(run, units=study.units()).n_done == 1
        assert trained == [1, 0]
        assert load(tmp_path / "run")["seed"].values.tolist() == [0, 1]

    @pytest.mark.parametrize(("after", "n_done"), [(1, 0), (20, 0), (21, 1), (47, 2), (60, 2)])
    def test_an_interrupted_one_continues_to_the_same_end(
        self, tiny_study, tmp_path, finished, trained, after, n_done
    ):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(run, on_progress=Interrupt(after))
        assert len(run.pending()) == 3 - n_done
        assert not list(run.path.rglob(".*"))
        trained.clear()
        again = RunDirectory.create(tmp_path / "run", tiny_study)
        assert run_sweep(again) == SweepResult(n_done=3 - n_done, n_kept=n_done, failed={})
        assert trained == [0, 1, 2][n_done:]
        assert unit_files(run.path) == unit_files(finished)

    def test_interrupted_between_the_files_of_a_unit(self, tiny_study, tmp_path, finished, monkeypatch):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with monkeypatch.context() as patch:
            patch.setattr("quanta.store.weights.save_file", lambda *arguments: Interrupt(0)(1))
            with pytest.raises(KeyboardInterrupt):
                run_sweep(run)
        assert len(unit_files(run.path)) == 1
        assert len(run.pending()) == 3
        run_sweep(run)
        assert unit_files(run.path) == unit_files(finished)

    @pytest.mark.parametrize(("after", "n_done"), [(1, 0), (20, 0), (33, 1), (60, 2)])
    def test_a_stopped_one_continues_within_its_unit(
        self, tiny_study, tmp_path, finished, trained, after, n_done
    ):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        calls = iter(range(1, 1000))
        stopped = run_sweep(run, should_stop=lambda: next(calls) >= after)
        assert stopped == SweepResult(n_done=n_done, n_kept=0, stopped=True)
        assert [file.parent.name for file in run.path.rglob("checkpoint.*")] == [
            run.study.units()[n_done].id,
        ]
        n_steps = []
        assert run_sweep(run, on_progress=n_steps.append) == SweepResult(n_done=3 - n_done, n_kept=n_done)
        assert n_steps[0] == after - 20 * n_done  # taken before
        assert sum(n_steps) == 20 * (3 - n_done)
        assert unit_files(run.path) == unit_files(finished)

    def test_a_damaged_checkpoint_is_said_and_its_unit_starts_again(self, tiny_study, tmp_path, finished):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        calls = iter(range(1, 1000))
        run_sweep(run, should_stop=lambda: next(calls) >= 7)
        [checkpoint] = run.path.rglob("checkpoint.*")
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
        result = run_sweep(run)
        assert (result.n_done, result.stopped) == (3, False)
        [note] = result.notes
        assert "not a checkpoint of this unit" in note
        assert note.endswith("; the unit starts again")
        assert unit_files(run.path) == unit_files(finished)

    def test_progress_counts_the_steps_of_what_is_pending(self, copied, tiny_study):
        n_steps = []
        run = RunDirectory.create(copied, with_seeds(tiny_study, 2, 3, 4))
        run_sweep(run, on_progress=n_steps.append)
        assert n_steps == [1] * 40

    def test_a_disk_that_is_full_stops_it(self, tiny_study, tmp_path, monkeypatch):
        def fail(*arguments):
            raise OSError("no space left on device")

        monkeypatch.setattr("quanta.store.weights.save_file", fail)
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(OSError, match="no space"):
            run_sweep(run)
        assert len(run.pending()) == 3


class TestFailedUnits:
    @pytest.fixture
    def failing(self, monkeypatch):
        """Let the unit of seed 1 fail."""

        def let_fail(error):
            def train(unit, device, on_progress, *others):
                if unit.seed == 1:
                    on_progress(1)
                    raise error
                return train_unit(unit, device, on_progress, *others)

            monkeypatch.setattr(sweep_module, "train_unit", train)

        return let_fail

    def test_a_diverging_one_is_recorded(self, tiny_study, tmp_path):
        text = json.loads(tiny_study.model_dump_json())
        text["training"]["learning_rate"] = 1e30
        run = RunDirectory.create(tmp_path / "run", StudySpec.parse(text))
        result = run_sweep(run)
        assert (result.n_done, result.n_kept) == (0, 0)
        assert list(result.failed) == [unit.id for unit in run.study.units()]
        for unit in run.study.units():
            reason = run.manifest(unit).reason
            assert reason == result.failed[unit.id]
            # The other width may have died instead, with no hidden unit that is ever active.
            assert re.fullmatch("the loss is not finite at step 1 for widths (2|4|2, 4)", reason)

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
            (RuntimeError(f"[enforce fail] {CPU_OUT_OF_MEMORY}"), f"[enforce fail] {CPU_OUT_OF_MEMORY}"),
            (MemoryError(), "MemoryError"),
            (DivergedError("the loss is not finite"), "the loss is not finite"),
        ],
    )
    def test_the_others_go_on(self, tiny_study, tmp_path, finished, failing, error, reason):
        failing(error)
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        n_steps = []
        assert run_sweep(run, on_progress=n_steps.append) == SweepResult(2, 0, {unit.id: reason})
        assert sum(n_steps) == 60
        manifest = run.manifest(unit)
        assert (manifest.status, manifest.reason, manifest.checksums) == ("failed", reason, {})
        assert unit_files(run.path).items() < unit_files(finished).items()
        curves = load(run.path)
        assert curves["seed"].values.tolist() == [0, 2]
        assert curves.attrs["units_missing"] == 1

    def test_are_tried_again_only_when_asked_for(self, tiny_study, tmp_path, finished, failing, monkeypatch):
        failing(DivergedError("no\nluck"))
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        failed = {unit.id: "no luck"}
        assert run_sweep(run) == SweepResult(n_done=2, n_kept=0, failed=failed)
        monkeypatch.undo()
        before = unit_files(run.path)
        assert find_pending(run) == ([], failed)
        assert run_sweep(run) == SweepResult(n_done=0, n_kept=2, failed=failed)
        assert unit_files(run.path) == before
        assert find_pending(run, retry_failed=True) == ([unit], {})
        assert run_sweep(run, retry_failed=True) == SweepResult(n_done=1, n_kept=2)
        assert run.manifest(unit).reason is None
        assert unit_files(run.path) == unit_files(finished)

    def test_the_manifest_of_another_unit_says_nothing(self, tiny_study, tmp_path, failing):
        failing(DivergedError("no luck"))
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        run_sweep(run)
        one, failed, _ = tiny_study.units()
        manifest = run.folder(failed) / "manifest.json"
        manifest.replace(run.folder(one) / manifest.name)
        assert find_pending(run) == ([one, failed], {})

    @pytest.mark.parametrize("error", [TypeError, RuntimeError])
    def test_a_mistake_in_the_program_is_no_failed_unit(self, tiny_study, tmp_path, failing, error):
        failing(error("a mistake"))
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(error, match="a mistake"):
            run_sweep(run)
        assert run.manifest(tiny_study.units()[1]) is None

    def test_how_torch_says_that_memory_is_short(self):
        with pytest.raises(RuntimeError) as caught:
            torch.empty(2**60, dtype=torch.uint8)
        assert CPU_OUT_OF_MEMORY in str(caught.value)
        assert sweep_module._is_its_own(caught.value)


class TestNotes:
    @pytest.fixture
    def uncompiled(self, monkeypatch):
        monkeypatch.setattr(sweep_module, "why_not_compiled", lambda precision: "no C compiler")
        return "training without compiled code, which is slower: no C compiler"

    def test_missing_compiled_code_is_said_once(self, tiny_study, tmp_path, uncompiled):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        assert run_sweep(run).notes == (uncompiled,)
        assert run_sweep(run).notes == ()  # nothing is trained

    def test_are_told_as_they_come(self, tiny_study, tmp_path, uncompiled):
        told = []
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        result = run_sweep(run, on_progress=told.append, on_note=told.append)
        assert result.notes == ()
        assert told == [uncompiled, *[1] * 60]

    def test_deep_networks_never_have_it(self, tiny_study, tmp_path, uncompiled):
        deep = tiny_study.population.model_copy(update={"n_hidden_layers": 2})
        run = RunDirectory.create(tmp_path / "run", tiny_study.model_copy(update={"population": deep}))
        assert run_sweep(run).notes == ()

    @pytest.mark.usefixtures("compiler")
    @pytest.mark.skipif("amx_bf16" in processor(), reason="this processor has tiles")
    def test_bf16_without_tiles_gains_nothing(self, tiny_study, tmp_path):
        rounded = tiny_study.training.model_copy(update={"precision": "bf16"})
        run = RunDirectory.create(tmp_path / "run", tiny_study.model_copy(update={"training": rounded}))
        [note] = run_sweep(run).notes
        assert (
            "slower: bf16 is compiled only for processors with bfloat16 tiles, and float32 is faster" in note
        )
