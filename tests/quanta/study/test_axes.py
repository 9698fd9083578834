import math

import pytest

from quanta.curves.schema import AXES
from quanta.study.axes import ALPHA, N_TRAIN, SEED, STUDY_AXES
from quanta.study.spec import StudySpec, UnitSpec

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
    names = [axis.name for axis in STUDY_AXES]
    assert names == [name for name in UnitSpec.model_fields if name not in sections]
    assert set(StudySpec.model_fields) == sections | set(names) | {"name", "description"}
    assert list(AXES[: len(names)]) == names
    assert {axis.name: axis.role for axis in STUDY_AXES} == {
        "alpha": "condition",
        "n_train": "resource",
        "seed": "replicate",
    }


def test_coordinates():
    assert (ALPHA.coordinate("uniform"), ALPHA.coordinate(0.3)) == (-1, 0.3)
    assert (N_TRAIN.coordinate("online"), N_TRAIN.coordinate(5)) == (math.inf, 5)
    assert SEED.coordinate(2**63 - 1) == 2**63 - 1  # which no float holds


def test_where_a_unit_stands():
    unit = StudySpec.parse(TWO_D | {"alpha": "uniform"}).units()[-1]
    assert unit.coordinates == {"alpha": -1, "n_train": math.inf, "seed": 7}
    assert unit.condition == {"alpha": "uniform", "n_subtasks": 64}
