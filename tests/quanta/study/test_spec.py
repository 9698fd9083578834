import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quanta.study.sections import EvaluationSpec, TrainingSpec
from quanta.study.spec import StudySpec, load_study, shipped_studies
from quanta.tasks.config import ConfigError
from quanta.tasks.spec import TaskSpec
from quanta.training.population import count_parameters

SMALLEST = {"name": "small", "population": {"widths": [4, 8]}, "training": {"steps": 100}}

TOML = """\
name = "small"
alpha = [0.2, "uniform"]
[population]
widths = { from = 4, to = 16, count = 3 }
[training]
steps = 100
learning_rate = 1e-2
"""


def study(**values):
    return StudySpec.parse(SMALLEST | values)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TOML)
    return path


class TestParse:
    def test_defaults_are_those_of_the_paper(self):
        small = study()
        assert (small.alpha, small.n_train, small.seed) == ((0.4,), ("online",), (0,))
        assert (small.task.n_subtasks, small.task.n_bits, small.task.k) == ((500,), (100,), 3)
        [unit] = small.units()
        assert (unit.task.n_subtasks, unit.task.n_bits, unit.task.k) == (500, 100, 3)
        assert unit.training == TrainingSpec(
            steps=100,
            batch_size=20_000,
            learning_rate=1e-3,
            weight_decay=0.0,
            precision="float32",
            freeze_first_layer=False,
        )
        assert small.evaluation == EvaluationSpec(samples_per_subtask=256, n_evaluations=100)
        assert small.population.n_hidden_layers == 1

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            # unknown keys
            ({"trainning": {}}, "trainning: unknown key, did you mean training?"),
            ({"learning_rate": 1}, "learning_rate: unknown key, did you mean training.learning_rate?"),
            ({"width": [4]}, "width: unknown key, did you mean population.widths?"),
            (
                {"training": {"steps": 1, "batchsize": 1}},
                "training.batchsize: unknown key, did you mean training.batch_size?",
            ),
            (
                {"training": {"steps": 1, "lr": 1}},
                "training.lr: unknown key, known are training.steps, training.batch_size, "
                "training.sampling, training.patience, training.learning_rate, training.weight_decay, "
                "training.precision, "
                "training.freeze_first_layer",
            ),
            ({"task": {"alpha": 0.4}}, "task.alpha: unknown key, did you mean alpha?"),
            # wrong types
            ({"training": {}}, "training.steps: is required"),
            ({"training": 5}, "training: must be an object, not 5"),
            ({"training": {"steps": "3"}}, "training.steps: must be an integer, not '3'"),
            ({"training": {"steps": 1.5}}, "training.steps: must be an integer, not 1.5"),
            ({"training": {"steps": True}}, "training.steps: must be an integer, not True"),
            (
                {"training": {"steps": 1, "precision": "half"}},
                "training.precision: must be 'float32', 'float64', 'bf16' or 'tf32', not 'half'",
            ),
            ({"alpha": "zipf"}, "alpha: must be a number or 'uniform', not 'zipf'"),
            ({"alpha": [0.4, True]}, "alpha: must be a number or 'uniform', not True"),
            ({"n_train": "offline"}, "n_train: must be an integer or 'online', not 'offline'"),
            ({"seed": [[1]]}, "seed: must be an integer, not [1]"),
            ({"seed": {"a": 1}}, "seed: must be an integer, not {'a': 1}"),
            ({"population": {"widths": [[8]]}}, "population.widths: must be an integer, not [8]"),
            ({"name": 3}, "name: must be a string, not 3"),
            # out of range
            ({"name": "A b"}, "name: must match ^[a-z0-9][a-z0-9_-]{0,63}$, not 'A b'"),
            ({"training": {"steps": 0}}, "training.steps: must be greater than or equal to 1, not 0"),
            (
                {"training": {"steps": 1, "learning_rate": 0}},
                "training.learning_rate: must be greater than 0, not 0",
            ),
            (
                {"training": {"steps": 1, "learning_rate": math.inf}},
                "training.learning_rate: must be a finite number, not inf",
            ),
            (
                {"training": {"steps": 1, "weight_decay": -0.1}},
                "training.weight_decay: must be greater than or equal to 0, not -0.1",
            ),
            (
                {"evaluation": {"n_evaluations": 1}},
                "evaluation.n_evaluations: must be greater than or equal to 2, not 1",
            ),
            ({"seed": -1}, "seed: must be greater than or equal to 0, not -1"),
            ({"seed": 2**63}, f"seed: must be less than {2**63}, not {2**63}"),
            ({"n_train": 0}, "n_train: must be greater than or equal to 1 or 'online', not 0"),
            ({"alpha": 11}, "alpha: must be less than or equal to 10 or 'uniform', not 11"),
            ({"task": {"k": 9, "n_bits": 5}}, "task: k must satisfy 1 <= k <= n_bits (5), not 9"),
            # axes hold each value once
            ({"seed": []}, "seed: must be at least one value, each once, not []"),
            ({"seed": [1, 1]}, "seed: must be at least one value, each once, not [1, 1]"),
            ({"alpha": [1, 1.0]}, "alpha: must be at least one value, each once, not [1.0, 1.0]"),
            (
                {"alpha": [-1, "uniform"]},
                "alpha: must be at least one value, each once, not [-1.0, 'uniform']",
            ),
        ],
    )
    def test_says_what_is_wrong_in_one_line(self, values, message):
        with pytest.raises(ConfigError) as caught:
            study(**values)
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("widths", "expected"),
        [
            (5, (5,)),
            ([4, 8, 9], (4, 8, 9)),
            ({"from": 4, "to": 16, "count": 3}, (4, 8, 16)),
            ({"from": 1, "to": 1000, "count": 4}, (1, 10, 100, 1000)),
            ({"from": 7, "to": 8, "count": 2}, (7, 8)),
        ],
    )
    def test_widths(self, widths, expected):
        assert study(population={"widths": widths}).population.widths == expected

    @pytest.mark.parametrize(
        ("widths", "message"),
        [
            ([], "must be at least one width, in increasing order, not []"),
            ([4, 4], "must be at least one width, in increasing order, not [4, 4]"),
            ([8, 4], "must be at least one width, in increasing order, not [8, 4]"),
            (0, "must be greater than or equal to 1, not 0"),
            ([4, 100_001], "must be less than or equal to 100000, not 100001"),
            ("wide", "must be an integer, not 'wide'"),
            ([1.5], "must be an integer, not 1.5"),
            (
                {"from": 4, "to": 8},
                "must be a list or {from, to, count} in whole numbers, not {'from': 4, 'to': 8}",
            ),
            (
                {"from": 4, "to": 8, "count": 2.0},
                "must be a list or {from, to, count} in whole numbers, "
                "not {'from': 4, 'to': 8, 'count': 2.0}",
            ),
            (
                {"from": 8, "to": 4, "count": 2},
                "must satisfy 1 <= from < to and 2 <= count <= to - from + 1, "
                "not {'from': 8, 'to': 4, 'count': 2}",
            ),
            (
                {"from": 4, "to": 8, "count": 6},
                "must satisfy 1 <= from < to and 2 <= count <= to - from + 1, "
                "not {'from': 4, 'to': 8, 'count': 6}",
            ),
            ({"from": 1, "to": 9, "count": 9}, "count must be at most 7 for distinct widths, not 9"),
            ({"from": 1, "to": 100_001, "count": 2}, "to must be at most 100000, not 100001"),
            ({"from": 1, "to": 10**9, "count": 10**9}, "to must be at most 100000, not 1000000000"),
        ],
    )
    def test_widths_that_are_refused(self, widths, message):
        with pytest.raises(ConfigError) as caught:
            study(population={"widths": widths})
        assert str(caught.value) == f"population.widths: {message}"

    @given(st.integers(1, 1000), st.integers(1, 1000), st.integers(2, 40))
    def test_spaced_widths_are_a_geometric_ladder(self, low, more, count):
        try:
            widths = study(
                population={"widths": {"from": low, "to": low + more, "count": count}}
            ).population.widths
        except ConfigError:
            # Refused only where rounding must merge two: the first ratio is too small for whole numbers.
            assert low * ((low + more) / low) ** (1 / (count - 1)) - low < 1
            return
        assert (widths[0], widths[-1], len(widths)) == (low, low + more, count)
        exact = low * ((low + more) / low) ** (np.arange(count) / (count - 1))
        assert np.abs(np.array(widths) - exact).max() <= 0.5 + 1e-9

    def test_is_frozen(self):
        with pytest.raises(ValidationError, match="frozen"):
            study().name = "other"


class TestUnits:
    def test_every_combination_once(self):
        units = study(alpha=[0.2, "uniform"], n_train=[100, "online"], seed=[0, 1, 2]).units()
        assert len({unit.id for unit in units}) == 12
        assert {(unit.alpha, unit.n_train, unit.seed) for unit in units} == {
            (alpha, n_train, seed)
            for alpha in (0.2, "uniform")
            for n_train in (100, "online")
            for seed in range(3)
        }

    def test_task_of_a_unit(self):
        [unit] = study(alpha=0.7, task={"n_subtasks": 3, "n_bits": 9, "k": [1, 2, 3], "offset": 1}).units()
        assert unit.task_spec == TaskSpec(n_subtasks=3, n_bits=9, k=(1, 2, 3), offset=1.0, alpha=0.7)


class TestIds:
    BASE = SMALLEST | {"task": {"n_subtasks": 10, "n_bits": 20}, "evaluation": {}}

    def ids(self, **values):
        return [unit.id for unit in StudySpec.parse(self.BASE | values).units()]

    def test_equal_specs_have_equal_ids(self):
        # Whatever they were written as, and whatever else the study holds.
        [plain] = self.ids()
        assert self.ids(name="other", description="other", alpha=[0.4], n_train=["online"]) == [plain]
        assert self.ids(population={"widths": {"from": 4, "to": 8, "count": 2}, "n_hidden_layers": 1}) == [
            plain
        ]
        assert self.ids(training={"steps": 100, "learning_rate": 0.001, "weight_decay": 0}) == [plain]
        assert plain in self.ids(seed=[3, 0], alpha=[0.3, 0.4])
        assert self.ids(alpha=1) == self.ids(alpha=1.0)

    @pytest.mark.parametrize(
        ("section", "changes"),
        [
            ("task", {"n_subtasks": 11, "n_bits": 21, "k": 2, "offset": 0.5}),
            ("population", {"widths": [4, 9], "n_hidden_layers": 2}),
            (
                "training",
                {
                    "steps": 99,
                    "batch_size": 2,
                    "learning_rate": 0.002,
                    "weight_decay": 0.1,
                    "precision": "float64",
                    "freeze_first_layer": True,
                    "sampling": "epochs",
                    "patience": 5,
                },
            ),
            ("evaluation", {"samples_per_subtask": 2, "n_evaluations": 3, "spacing": "linear"}),
            (None, {"alpha": 0.41, "n_train": 100, "seed": 1}),
        ],
    )
    def test_any_field_changes_the_id(self, section, changes):
        if section is not None:  # a field that is added later must be added here
            assert set(changes) == set(type(getattr(study(), section)).model_fields)
        ids = self.ids()
        for key, value in changes.items():
            ids += self.ids(
                **({key: value} if section is None else {section: self.BASE[section] | {key: value}})
            )
        assert len(set(ids)) == 1 + len(changes)

    def test_stay_what_they_are(self):
        # Units on disk are found by them: were they others, finished units would be trained again. A field
        # that is added must change nothing here.
        assert self.ids(training={"steps": 100, "learning_rate": 0.002}) == [
            "alpha=0.4_n_train=online_seed=0_6add323db36b"
        ]

    @given(
        st.floats(-1, 10) | st.just("uniform"),
        st.integers(1, 10**9) | st.just("online"),
        st.integers(0, 2**63 - 1),
    )
    def test_name_one_folder_whatever_the_axes_hold(self, alpha, n_train, seed):
        [unit_id] = self.ids(alpha=alpha, n_train=n_train, seed=seed)
        assert re.fullmatch(r"alpha=[a-z0-9.+-]+_n_train=[a-z0-9]+_seed=[0-9]+_[0-9a-f]{12}", unit_id)
        assert len(unit_id) < 100  # a file name may have 255 bytes

    def test_are_file_names_people_can_read(self):
        [unit_id] = self.ids(alpha="uniform", n_train=1000, seed=7)
        assert unit_id.startswith("alpha=uniform_n_train=1000_seed=7_")
        assert "/" not in unit_id


class TestEvaluationSteps:
    @given(st.integers(1, 10**9), st.integers(2, 300), st.sampled_from(["log", "linear"]))
    def test_increase_from_zero_to_the_last(self, steps, n_evaluations, spacing):
        evaluation = {"n_evaluations": n_evaluations, "spacing": spacing}
        [unit] = study(training={"steps": steps}, evaluation=evaluation).units()
        measured = unit.evaluation_steps
        assert measured.dtype == np.int64
        assert (measured[0], measured[-1]) == (0, steps)
        assert (np.diff(measured) > 0).all()
        assert len(measured) <= n_evaluations

    def test_known_answer(self):
        [unit] = study(training={"steps": 1000}, evaluation={"n_evaluations": 5}).units()
        assert unit.evaluation_steps.tolist() == [0, 1, 10, 100, 1000]

    def test_every_hundredth_step_as_in_the_paper(self):
        evaluation = {"n_evaluations": 2001, "spacing": "linear"}
        [unit] = study(training={"steps": 200_000}, evaluation=evaluation).units()
        assert unit.evaluation_steps.tolist() == list(range(0, 200_001, 100))

    @given(st.integers(1, 10**9), st.integers(2, 300))
    def test_even_steps_lie_within_one_of_each_other(self, steps, n_evaluations):
        evaluation = {"n_evaluations": n_evaluations, "spacing": "linear"}
        [unit] = study(training={"steps": steps}, evaluation=evaluation).units()
        assert np.ptp(np.diff(unit.evaluation_steps)) <= 1

    @pytest.mark.parametrize("spacing", ["log", "linear"])
    def test_two_are_the_first_and_the_last(self, spacing):
        [unit] = study(evaluation={"n_evaluations": 2, "spacing": spacing}).units()
        assert unit.evaluation_steps.tolist() == [0, 100]


class TestShippedStudies:
    def test_every_one_loads(self):
        studies = {name: load_study(name) for name in shipped_studies()}
        assert {"demo", "control-frozen", "control-uniform"} <= studies.keys()
        for name, loaded in studies.items():
            assert loaded.name == name
            assert loaded.description == shipped_studies()[name] != ""
            assert all(unit.evaluation_steps.size > 1 for unit in loaded.units())

    @pytest.mark.parametrize(
        ("name", "alpha"), [("demo", 0.4), ("control-frozen", 0.4), ("control-uniform", "uniform")]
    )
    def test_demo_and_its_controls(self, name, alpha):
        loaded = load_study(name)
        assert [(unit.alpha, unit.n_train, unit.seed) for unit in loaded.units()] == [
            (alpha, "online", seed) for seed in range(8)
        ]
        widths = loaded.population.widths
        assert (widths[0], widths[-1], len(widths)) == (11, 128, 8)
        assert (loaded.task.n_subtasks, loaded.task.n_bits, loaded.task.k) == ((64,), (32,), 3)
        assert count_parameters(widths[-1], 64, 32) == 99 * 128 + 2

    @pytest.mark.parametrize(
        ("name", "override"),
        [
            ("control-frozen", "training.freeze_first_layer=true"),
            ("control-uniform", "alpha=uniform"),
        ],
    )
    def test_a_control_differs_in_one_thing(self, name, override):
        control = load_study(name)
        assert load_study("demo").units() != control.units()
        assert load_study("demo", [override]).units() == control.units()


class TestLoad:
    def test_from_a_file(self, file):
        small = load_study(file)
        assert small == load_study(str(file))
        assert small.alpha == (0.2, "uniform")
        assert small.population.widths == (4, 8, 16)
        assert small.training.learning_rate == (0.01,)

    @pytest.mark.parametrize(
        ("override", "read"),
        [
            ("training.steps=7", lambda s: s.training.steps == 7),
            (" training.steps = 7", lambda s: s.training.steps == 7),
            ("training.learning_rate=1e-4", lambda s: s.training.learning_rate == (1e-4,)),
            ("training.precision=float64", lambda s: s.training.precision == "float64"),
            ('training.precision="float64"', lambda s: s.training.precision == "float64"),
            ("alpha=uniform", lambda s: s.alpha == ("uniform",)),
            ('alpha=[0.1, "uniform"]', lambda s: s.alpha == (0.1, "uniform")),
            ("task.n_subtasks=9", lambda s: s.task.n_subtasks == (9,)),  # a section that the file lacks
            ("population.widths=[3, 5]", lambda s: s.population.widths == (3, 5)),
            ("population.widths.count=2", lambda s: s.population.widths == (4, 16)),
            ("description=a = b", lambda s: s.description == "a = b"),
        ],
    )
    def test_overrides(self, file, override, read):
        assert not read(load_study(file))
        assert read(load_study(file, [override]))

    def test_the_last_override_counts(self, file):
        assert load_study(file, ["training.steps=7", "training.steps=8"]).training.steps == 8

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("training.steps", "override 'training.steps': expected KEY=VALUE, such as training.steps=1000"),
            ("=3", "override '=3': expected KEY=VALUE, such as training.steps=1000"),
            ("training..steps=3", "override 'training..steps=3': expected KEY=VALUE"),
            ("name.first=x", "override 'name.first=x': name is a value, not a section"),
            ("training.steps=many", "training.steps: must be an integer, not 'many'"),
            ("training.stepps=3", "training.stepps: unknown key, did you mean training.steps?"),
            ("training.steps=", "training.steps: must be an integer, not ''"),
        ],
    )
    def test_overrides_that_are_refused(self, file, override, message):
        with pytest.raises(ConfigError) as caught:
            load_study(file, [override])
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_errors_name_the_file(self, file):
        file.write_text(TOML.replace("steps", "step"))
        with pytest.raises(ConfigError) as caught:
            load_study(file)
        assert str(caught.value) == (
            f"study {file}: training.steps: is required; "
            "training.step: unknown key, did you mean training.steps?"
        )

    @pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"])
    def test_not_toml(self, file, content):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="not TOML") as caught:
            load_study(file)
        assert str(caught.value).startswith(f"study {file}: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a = " + b"[" * 100_000, "not TOML (it is nested too deeply)"),
            (b"a." * 100_000 + b"a = 1", "not TOML (a key must have at most 16 parts, not 100001)"),
            (b"seed = " + b"1" * 5000, "not TOML (Exceeds the limit"),
            (b"seed = 0x" + b"1" * 5000, "Exceeds the limit"),
            (b"seed = nan", "seed: must be an integer, not nan"),
            ('name = "é"'.encode("latin-1"), "not TOML (expected text in UTF-8"),
            ('name = "é"'.encode("utf-16"), "not TOML (expected text in UTF-8"),
            (b"#" * (2**21 + 1), "not TOML (must have at most 2097152 bytes, not 2097153)"),
            (b'name = "../../x"', "name: must match"),
            (rb'name = "x\u0000"', "name: must match"),
            (
                b"[population]\nwidths = {from = 1, to = 1" + b"0" * 400 + b", count = 3}",
                "population.widths: ",
            ),
        ],
        ids=range(11),
    )
    def test_hostile_files(self, file, content, message):
        file.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load_study(file)
        line = str(caught.value)
        assert line.startswith(f"study {file}: ")
        assert message in line
        assert line.isprintable()
        assert len(line) < 2000

    def test_a_byte_order_mark_is_no_part_of_a_study(self, file):
        plain = load_study(file)
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
        assert load_study(file) == plain

    @pytest.mark.parametrize("value", ["1" * 5000, "0x" + "1" * 5000, "[" * 100_000, "nan"])
    def test_hostile_overrides(self, file, value):
        with pytest.raises(ConfigError) as caught:
            load_study(file, [f"training.steps={value}"])
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2000

    @pytest.mark.parametrize("source", ["none", "none.toml", "demo.tom"])
    def test_no_such_study(self, source):
        with pytest.raises(FileNotFoundError) as caught:
            load_study(source)
        assert f"no study {source!r}: expected a .toml file or one of " in str(caught.value)
        assert "demo" in str(caught.value)
