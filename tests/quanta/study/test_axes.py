import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.curves.schema import AXES
from quanta.study.axes import ALPHA, CONDITIONS, CURVES_AXES, N_TRAIN, SEED, STUDY_AXES
from quanta.study.spec import StudySpec, UnitSpec
from quanta.tasks.config import ConfigError

DEMO = {
    "name": "demo",
    "alpha": 0.4,
    "seed": [0, 1, 2],
    "task": {"n_subtasks": 64, "n_bits": 32, "k": 3},
    "population": {"widths": {"from": 4, "to": 128, "count": 11}},
    "training": {"steps": 6000, "batch_size": 4096, "learning_rate": 4e-3},
}

TWO_D = {
    "name": "two-d",
    "alpha": [0.2, 1.0],
    "n_train": [1000, "online"],
    "seed": [0, 7],
    "task": {"n_subtasks": 64, "n_bits": 32},
    "population": {"widths": [4, 8]},
    "training": {"steps": 100},
}

STUDIES = [DEMO, DEMO | {"name": "control-uniform", "alpha": "uniform"}, TWO_D]

# As they were at first; whoever has trained such units finds them by these names.
IDS = {
    "demo": [
        "alpha=0.4_n_train=online_seed=0_6c50ffdbea44",
        "alpha=0.4_n_train=online_seed=1_b031ce032227",
        "alpha=0.4_n_train=online_seed=2_a4f4c6002000",
    ],
    "control-uniform": [
        "alpha=uniform_n_train=online_seed=0_7fd3a78a6c72",
        "alpha=uniform_n_train=online_seed=1_76e98a4e8622",
        "alpha=uniform_n_train=online_seed=2_420f0ad8b51e",
    ],
    "two-d": [
        "alpha=0.2_n_train=1000_seed=0_6698c63a521e",
        "alpha=0.2_n_train=1000_seed=7_9fd5f144bfba",
        "alpha=0.2_n_train=online_seed=0_e8857137a753",
        "alpha=0.2_n_train=online_seed=7_03b258fef14f",
        "alpha=1.0_n_train=1000_seed=0_fe82d6c24905",
        "alpha=1.0_n_train=1000_seed=7_14f78df1e84d",
        "alpha=1.0_n_train=online_seed=0_d0679df45fc9",
        "alpha=1.0_n_train=online_seed=7_391695518eb7",
    ],
}


@pytest.mark.parametrize("study", STUDIES, ids=IDS)
def test_ids_on_disk_stay_valid(study):
    assert [unit.id for unit in StudySpec.parse(study).units()] == IDS[study["name"]]


def test_the_table_lists_what_units_differ_in():
    sections = {"task", "population", "training", "evaluation"}
    names = [axis.name for axis in CURVES_AXES]
    assert names == [name for name in UnitSpec.model_fields if name not in sections]
    assert set(StudySpec.model_fields) == sections | set(names) | {"name", "description"}
    assert list(AXES[: len(names)]) == names
    assert {axis.path: axis.role for axis in STUDY_AXES} == {
        "alpha": "condition",
        "task.n_subtasks": "condition",
        "task.n_bits": "condition",
        "training.batch_size": "condition",
        "training.learning_rate": "condition",
        "n_train": "resource",
        "seed": "replicate",
    }


def test_what_a_section_holds_several_of_is_an_axis():
    study, unit = StudySpec.parse(DEMO), StudySpec.parse(DEMO).units()[0]
    for section in ("task", "population", "training", "evaluation"):
        many, one = dict(getattr(study, section)), dict(getattr(unit, section))
        assert list(many) == list(one)
        differ = [name for name in many if many[name] != one[name]]
        assert differ == [axis.name for axis in STUDY_AXES if axis.section == section]
        assert [many[name] for name in differ] == [(one[name],) for name in differ]


def test_coordinates():
    assert (ALPHA.coordinate("uniform"), ALPHA.coordinate(0.3)) == (-1, 0.3)
    assert (N_TRAIN.coordinate("online"), N_TRAIN.coordinate(5)) == (math.inf, 5)
    assert SEED.coordinate(2**63 - 1) == 2**63 - 1  # which no float holds


def test_where_a_unit_stands():
    unit = StudySpec.parse(TWO_D | {"alpha": "uniform"}).units()[-1]
    assert unit.coordinates == {"alpha": -1, "n_train": math.inf, "seed": 7}
    assert unit.condition == {
        "alpha": "uniform",
        "n_subtasks": 64,
        "n_bits": 32,
        "batch_size": 20_000,
        "learning_rate": 1e-3,
    }


SWEPT = {
    "task.n_subtasks": [16, 32],
    "task.n_bits": [32, 16],
    "training.batch_size": [64, 128],
    "training.learning_rate": [0.1, 0.01, 1],
}


def with_values(study, values):
    """Set fields by their paths."""
    study = json.loads(json.dumps(study))
    for path, value in values.items():
        *section, name = path.split(".")
        (study[section[0]] if section else study)[name] = value
    return study


def test_every_condition_may_be_a_list():
    study = StudySpec.parse(with_values(TWO_D, SWEPT))
    units = study.units()
    assert len(units) == len({unit.id for unit in units}) == 8 * 24
    places = [tuple(axis.of(unit) for axis in STUDY_AXES) for unit in units]
    assert places == list(itertools.product(*(axis.of(study) for axis in STUDY_AXES)))
    assert StudySpec.parse(study.model_dump_json()) == study


@given(
    st.dictionaries(st.sampled_from(sorted(SWEPT)), st.integers(0, 1), min_size=1),
    st.sampled_from([0.2, 1.0]),
    st.sampled_from([0, 7]),
)
def test_a_unit_of_a_list_is_that_of_a_study_with_one_value(places, alpha, seed):
    """Its id too, so that a study which is widened keeps the units that are done."""
    one = {path: SWEPT[path][place] for path, place in places.items()}
    chosen = {"alpha": alpha, "seed": seed, "n_train": "online"}
    [alone] = StudySpec.parse(with_values(TWO_D, one | chosen)).units()
    several = StudySpec.parse(with_values(TWO_D, {path: SWEPT[path] for path in places})).units()
    assert [unit.id for unit in several if unit == alone] == [alone.id]


@pytest.mark.parametrize(
    ("path", "values", "says"),
    [
        (
            "task.n_subtasks",
            [32, 32],
            r"task.n_subtasks: must be at least one value, each once, not \[32, 32\]",
        ),
        ("task.n_bits", [], r"task.n_bits: must be at least one value, each once, not \[\]"),
        ("task.n_bits", [32, 2], r"task: k must satisfy 1 <= k <= n_bits \(2\), not 3"),
        ("task.k", [1] * 64 + [2], "task: k must be one number or 64"),
        ("training.batch_size", [64, 0], "training.batch_size: must be greater than or equal to 1, not 0"),
        ("training.learning_rate", [0.1, -1], "training.learning_rate: must be greater than 0, not -1"),
        ("training.learning_rate", ["fast"], "training.learning_rate: must be a number, not 'fast'"),
        ("training.steps", [10, 20], "training.steps: must be an integer"),
    ],
)
def test_lists_that_are_refused(path, values, says):
    with pytest.raises(ConfigError, match=says):
        StudySpec.parse(with_values(TWO_D, {path: values}))


def test_conditions_come_first():
    assert STUDY_AXES[: len(CONDITIONS)] == CONDITIONS
