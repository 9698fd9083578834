import math

import pytest

from quanta.tasks.processors import processor_quota

V1 = "cpu,cpuacct"


def test_of_this_machine():
    assert processor_quota() > 0


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/job\n", {"job/cpu.max": "200000 100000"}, 2),
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "150000 100000"}, 1.5),
        ("0::/job/step\n", {"job/step/cpu.max": "400000 100000", "cpu.max": "50000 100000"}, 0.5),
        ("0::/out/of/sight\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        (f"3:{V1}:/x\n0::/\n", {f"{V1}/x/cpu.cfs_quota_us": 250, f"{V1}/x/cpu.cfs_period_us": 100}, 2.5),
        (f"3:{V1}:/x\n", {"cpu/x/cpu.cfs_quota_us": 100, "cpu/x/cpu.cfs_period_us": 100}, 1),
        ("3:cpu:/x\n", {"cpu/cpu.cfs_quota_us": 700, "cpu/cpu.cfs_period_us": 100}, 7),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100}, math.inf),
        ("3:cpuset:/x\n", {"cpuset/x/cpu.max": "100 100"}, math.inf),
        ("0::/\n", {"cpu.max": "100 0"}, math.inf),
        ("0::/\n", {"cpu.max": ""}, math.inf),
        (None, {}, math.inf),
    ],
)
def test_the_least_quota_counts(tmp_path, membership, files, expected):
    for name, text in files.items():
        file = tmp_path / "cgroups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    assert processor_quota(str(tmp_path / "cgroups"), str(tmp_path / "membership")) == expected
