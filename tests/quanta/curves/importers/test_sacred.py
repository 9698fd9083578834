"""Run folders are written here with the schema of the paper's code, as sacred and jsonpickle write them."""

import json
import math
import os

import numpy as np
import pytest

from quanta.curves.importers import sacred, sacred_run
from quanta.curves.importers.sacred import curves_from_sacred
from quanta.curves.schema import CurvesError
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

K = 3
CONFIG = {
    "D": -1,
    "activation": "ReLU",
    "alpha": 1.4,
    "batch_size": 10000,
    "depth": 2,
    "device": {"py/reduce": [{"py/type": "torch.device"}, {"py/tuple": ["cuda", 0]}]},
    "dtype": {"py/function": "torch.float32"},
    "k": 3,
    "log_freq": 500,
    "lr": 0.001,
    "n": 50,
    "n_tasks": K,
    "offset": 0,
    "seed": 0,
    "steps": 2000,
    "test_points": 30000,
    "test_points_per_task": 1000,
    "verbose": False,
    "weight_decay": 0.0,
    "width": 10,
}
STEPS = [0, 500, 1000, 1500]


def info(config, steps=STEPS):
    """What is logged: losses in nats that tell their network, step and subtask."""
    losses = {str(k): [loss_of(config, step, k) for step in steps] for k in range(config["n_tasks"])}
    return {
        "D": config["steps"] * config["batch_size"] if config["D"] == -1 else config["D"],
        "P": (config["n_tasks"] + config["n"] + 3) * config["width"] + 2,
        "Ss": [{"py/tuple": [0, 1, 2 + i]} for i in range(config["n_tasks"])],
        "accuracies": [0.5] * len(steps),
        "accuracies_subtasks": {str(k): [0.5 + 0.1 * k] * len(steps) for k in range(config["n_tasks"])},
        "log_steps": list(steps),
        "losses": [0.6] * len(steps),
        "losses_subtasks": losses,
    }


def loss_of(config, step, k):
    return 0.6 / (1 + step / 1000) / (1 + k) + config["width"] / 1000 + config["seed"] / 100


@pytest.fixture
def write(tmp_path):
    def write(name, *, status="COMPLETED", at=STEPS, change=None, **settings):
        folder = tmp_path / "runs" / str(name)
        folder.mkdir(parents=True)
        config = CONFIG | settings
        logged = info(config, at)
        if change is not None:
            change(logged)
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        (folder / "info.json").write_text(json.dumps(logged, indent=2))
        if status is not None:
            run = {"experiment": {"name": "sparse-parity-v4"}, "status": status, "result": None}
            (folder / "run.json").write_text(json.dumps(run))
        return folder

    return write


def read(folder):
    return curves_from_sacred([folder.parent])


def test_one_run(write):
    curves, left_out = curves_from_sacred([write(1)])
    assert left_out == {}
    assert dict(curves.sizes) == {"alpha": 1, "n_train": 1, "seed": 1, "width": 1, "step": 4, "subtask": 3}
    assert curves["alpha"].item() == 0.4  # their alpha is 1 + α
    assert math.isinf(curves["n_train"].item())
    assert curves["n_parameters"].values.tolist() == [(K + 50 + 3) * 10 + 2]
    assert curves["step"].values.tolist() == STEPS
    expected = [[loss_of(CONFIG, step, k) / math.log(2) for k in range(K)] for step in STEPS]
    np.testing.assert_allclose(curves["loss"].values[0, 0, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(curves["accuracy"].values[0, 0, 0, 0, 0], [0.5, 0.6, 0.7], rtol=1e-6)
    np.testing.assert_allclose(curves["frequency"].values[0], zipf_frequencies(K, 0.4))
    assert (curves["chance"].values == 1).all()
    study = json.loads(curves.attrs["study"])
    assert study["task"] == {"n_subtasks": K, "n_bits": 50, "k": 3, "offset": 0}
    assert study["population"] == {"n_hidden_layers": 1, "activation": "ReLU"}
    assert study["training"]["learning_rate"] == 0.001
    assert "left_out" not in curves.attrs


def test_many_runs_are_one_dataset(write):
    number = 0
    for alpha in (1.1, 1.8):
        for D in (20001, -1):
            for seed in (0, 1):
                for width in (40, 10):
                    number += 1
                    folder = write(number, alpha=alpha, D=D, seed=seed, width=width)
    curves, left_out = read(folder)
    assert left_out == {}
    assert curves["alpha"].values.tolist() == [0.1, 0.8]
    assert curves["n_train"].values.tolist() == [20001, math.inf]
    assert curves["seed"].values.tolist() == [0, 1]
    assert curves["width"].values.tolist() == [10, 40]
    for width, seed in ((10, 1), (40, 0)):
        found = curves["loss"].sel(alpha=0.8, n_train=20001, seed=seed, width=width, step=500, subtask=2)
        expected = loss_of({"width": width, "seed": seed}, 500, 1) / math.log(2)
        assert found.item() == pytest.approx(expected, rel=1e-6)
    for place, alpha in enumerate((0.1, 0.8)):
        np.testing.assert_allclose(curves["frequency"].values[place], zipf_frequencies(K, alpha))


def test_an_offset_and_equal_frequencies(write):
    curves, _ = curves_from_sacred([write(1, offset=10)])
    np.testing.assert_allclose(curves["frequency"].values[0], zipf_frequencies(K, 0.4, 10))
    curves, _ = curves_from_sacred([write(2, alpha=0)])
    np.testing.assert_array_equal(curves["frequency"].values[0], uniform_frequencies(K))


def test_tuples_of_jsonpickle(write):
    def pickled(logged):
        logged["log_steps"] = {"py/tuple": logged["log_steps"]}
        logged["losses_subtasks"]["0"] = {"py/tuple": logged["losses_subtasks"]["0"]}

    curves, _ = curves_from_sacred([write(1, change=pickled)])
    plain, _ = curves_from_sacred([write(2)])
    assert curves.identical(plain)


def test_nothing_is_run(write, tmp_path):
    """What jsonpickle would make an object of stays a dictionary."""
    trap = {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(tmp_path / "made")]}]}
    _, left_out = read(write(1, device=trap, change=lambda logged: logged.update(extra=trap)))
    assert left_out == {}
    folder = write(2)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"seed": trap}))
    _, left_out = read(folder)
    assert "seed: expected a whole number from 0 up" in left_out[str(folder)]
    assert not (tmp_path / "made").exists()


class TestLeftOut:
    """Each beside a run that is as it should be."""

    def left_out(self, write, folder):
        write("good")
        curves, left_out = read(folder)
        assert curves.sizes["width"] == 1
        assert list(left_out) == [str(folder)]
        assert curves.attrs["left_out"].startswith(f"runs {folder.name} (")
        return left_out[str(folder)]

    @pytest.mark.parametrize("name", ["config.json", "info.json", "run.json"])
    def test_truncated(self, write, name):
        folder = write(7, width=20)
        whole = (folder / name).read_text()
        (folder / name).write_text(whole[: len(whole) // 2])
        assert self.left_out(write, folder).startswith(f"{name} is not whole: ")

    @pytest.mark.parametrize("name", ["config.json", "info.json"])
    def test_not_there(self, write, name):
        folder = write(7, width=20)
        (folder / name).unlink()
        assert self.left_out(write, folder) == f"there is no {name}"

    @pytest.mark.parametrize("status", ["RUNNING", "FAILED", "INTERRUPTED", {"py/object": "x.Y"}])
    def test_that_never_finished(self, write, status):
        folder = write(7, width=20, status=status, at=STEPS[:2])
        assert self.left_out(write, folder).startswith("unfinished: run.json says ")

    def test_that_never_finished_and_nothing_says_so(self, write):
        folder = write(7, width=20, status=None, at=STEPS[:2])
        assert self.left_out(write, folder) == "unfinished: last logged at step 500 of 2000"

    def test_that_logged_nothing(self, write):
        folder = write(7, width=20, status=None, at=[])
        assert self.left_out(write, folder) == "unfinished: nothing was logged"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda i: i["losses_subtasks"].pop("1"), "losses_subtasks: subtask 1 of 0..2 is missing"),
            (
                lambda i: i["losses_subtasks"].update({"3": i["losses_subtasks"].pop("1")}),
                "losses_subtasks: subtask 1 of 0..2 is missing",
            ),
            (
                lambda i: i["accuracies_subtasks"].pop("2"),
                "accuracies_subtasks: subtask 2 of 0..2 is missing",
            ),
            (lambda i: i["losses_subtasks"]["2"].pop(), "losses_subtasks: subtask 2 has 3 values at 4 steps"),
            (
                lambda i: i["losses_subtasks"]["2"].__setitem__(1, math.nan),
                "losses_subtasks: subtask 2 has nan at step 500",
            ),
            (
                lambda i: i["losses_subtasks"]["0"].__setitem__(1, "0.5"),
                "losses_subtasks of subtask 0: expected numbers",
            ),
            (lambda i: i["losses_subtasks"].update({"0": [[1], 2]}), "of subtask 0: expected numbers"),
            (lambda i: i.update(losses_subtasks=[]), "losses_subtasks: expected a list for each subtask"),
            (lambda i: i.update(log_steps={"py/object": "list"}), "log_steps: expected a list"),
            (lambda i: i.update(log_steps=[0, 500, 500, 1500]), "expected whole numbers that increase"),
            (lambda i: i.update(P=True), "info.json: P: expected a whole number from 1 up, found true"),
            (
                lambda i: i["accuracies_subtasks"].update({"0": [1, 1, 1, 2]}),
                "accuracies_subtasks: expected 0..1, found 2",
            ),
        ],
    )
    def test_damaged(self, write, change, reason):
        assert reason in self.left_out(write, write(7, width=20, change=change))

    def test_a_number_of_thousands_of_digits(self, write):
        folder = write(7, width=20)
        (folder / "info.json").write_text('{"P": ' + "1" * 5000 + "}")
        assert self.left_out(write, folder).startswith("info.json: Exceeds the limit")

    @pytest.mark.parametrize(
        ("setting", "reason"),
        [
            ({"alpha": "1.4"}, 'alpha: expected a number from 0 up, found "1.4"'),
            ({"alpha": math.nan}, "alpha: expected a number from 0 up, found NaN"),
            ({"alpha": 4000}, "alpha 4000 and offset 0 give no frequencies"),
            ({"offset": -1}, "alpha 1.4 and offset -1 give no frequencies"),
            ({"D": 0}, "D: expected -1 or a number of examples, found 0"),
            ({"n_tasks": 3.5}, "n_tasks: expected a whole number from 1 up, found 3.5"),
            ({"width": None}, "width: expected a whole number from 1 up, found none"),
        ],
    )
    def test_settings_that_are_none(self, write, setting, reason):
        folder = write(7, width=20)
        (folder / "config.json").write_text(json.dumps(CONFIG | {"width": 20} | setting))
        assert self.left_out(write, folder) == f"config.json: {reason}"

    def test_nested_without_end(self, write):
        folder = write(7, width=20)
        (folder / "info.json").write_text('{"a":' * 100_000)
        assert self.left_out(write, folder).startswith("info.json is nested too deeply")

    def test_a_pipe(self, write):
        folder = write(7, width=20)
        (folder / "info.json").unlink()
        os.mkfifo(folder / "info.json")
        assert self.left_out(write, folder) == "info.json: expected a plain file"

    def test_too_long(self, write, monkeypatch):
        folder = write(7, width=20, change=lambda logged: logged.update(more="x" * 10_000))
        monkeypatch.setattr(sacred_run, "MAX_INFO_BYTES", 5000)
        assert "must have at most 5000 bytes" in self.left_out(write, folder)


class TestDiffering:
    @pytest.mark.parametrize(
        ("setting", "reason"),
        [
            ({"lr": 0.003}, "differs from most: lr 0.003 and not 0.001"),
            ({"n_tasks": 4}, "differs from most: n_tasks 4 and not 3"),
            ({"steps": 1900}, "differs from most: steps 1900 and not 2000"),
        ],
    )
    def test_settings(self, write, setting, reason):
        write(1)
        write(2, seed=1)
        folder = write(3, seed=2, **setting)
        curves, left_out = read(folder)
        assert curves["seed"].values.tolist() == [0, 1]
        assert left_out == {str(folder): reason}

    def test_steps(self, write):
        write(1)
        write(2, seed=1)
        folder = write(3, seed=2, at=[0, 1000], log_freq=1000)
        curves, left_out = read(folder)
        assert curves["seed"].values.tolist() == [0, 1]
        expected = "differs from most: logged at 2 steps, 0, 1000 to 1000 and not at 4 steps, 0, 500 to 1500"
        assert left_out == {str(folder): expected}

    def test_that_stopped_early_is_an_early_stop(self, write):
        """As the paper's later code does; its run.json says completed."""
        write(1)
        curves, left_out = read(write(2, seed=1, at=STEPS[:2]))
        assert left_out == {}
        measured = np.isfinite(curves["loss"].values[0, 0, :, 0, :, 0])
        np.testing.assert_array_equal(measured, [[True] * 4, [True, True, False, False]])

    def test_the_same_network_twice(self, write):
        first = write(2)
        folder = write(10)
        _, left_out = read(folder)
        assert left_out == {str(folder): f"the same network as {first}"}

    def test_sizes(self, write):
        write(1)
        write(2, seed=1)
        folder = write(3, seed=2, change=lambda logged: logged.update(P=9))
        assert read(folder)[1] == {str(folder): "differs from most of its width: P 9 and not 562"}

    def test_a_hole_in_the_grid(self, write):
        for number, (seed, width) in enumerate([(0, 10), (0, 20), (0, 30), (1, 10), (1, 30)]):
            folder = write(number, seed=seed, width=width)
        curves, left_out = read(folder)
        assert curves["width"].values.tolist() == [10, 30]
        assert left_out == {
            str(folder.parent / "1"): "width 20 is not complete: there is none at seed 1, width 20"
        }


class TestFolders:
    def test_sacreds_own_are_no_runs(self, write):
        folder = write(1)
        (folder.parent / "_sources").mkdir()
        assert read(folder)[1] == {}

    def test_given_twice_is_once(self, write):
        folder = write(1)
        assert curves_from_sacred([folder, folder.parent])[1] == {}

    def test_none(self, tmp_path, write):
        with pytest.raises(FileNotFoundError, match=r"no runs at .*nowhere: there is no such folder"):
            curves_from_sacred([tmp_path / "nowhere"])
        (tmp_path / "empty").mkdir()
        with pytest.raises(CurvesError, match=r"found none \(.*empty: there is no config.json\)"):
            curves_from_sacred([tmp_path / "empty"])
        with pytest.raises(CurvesError, match="expected at least one folder, found none"):
            curves_from_sacred([])

    def test_more_than_fits(self, write, monkeypatch):
        folder = write(1)
        monkeypatch.setattr(sacred, "MAX_CURVES_BYTES", 10)
        with pytest.raises(CurvesError, match="expected at most 10 bytes of numbers, found more at"):
            read(folder)

    def test_many_are_named_in_the_file_up_to_a_number(self, write):
        write("good")
        for number in range(12):
            folder = write(number, seed=1 + number, status="FAILED")
        curves, left_out = read(folder)
        assert len(left_out) == 12
        assert curves.attrs["left_out"].endswith("and 2 more")


def test_saved_and_read_again(write, tmp_path):
    from quanta.curves.dataset import load_curves, save_curves

    write(1)
    curves, _ = read(write(2, seed=1, status="FAILED"))
    save_curves(curves, tmp_path / "paper.nc")
    assert load_curves(tmp_path / "paper.nc").identical(curves)
