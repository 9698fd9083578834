import resource

import pytest

from quanta.tasks.memory import format_bytes, memory_size


def test_is_at_most_that_of_the_machine():
    with open("/proc/meminfo") as file:
        kib = int(file.readline().split()[1])
    assert 0 < memory_size() <= 1024 * kib


def test_a_limit_of_the_shell_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**30, resource.RLIM_INFINITY))
    assert memory_size() == 2**30


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/job/step\n", {"job/step/memory.max": "max", "job/memory.max": "5000"}, 5000),
        ("0::/job\n", {"job/memory.max": "7000", "memory.max": "6000"}, 6000),
        ("3:cpu:/x\n4:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": "8000"}, 8000),
        ("5:memory,hugetlb:/job\n", {"memory,hugetlb/job/memory.limit_in_bytes": "8500"}, 8500),
        ("5:memory,hugetlb:/job\n", {"memory/job/memory.limit_in_bytes": "8600"}, 8600),
        ("4:memory:/out/of/sight\n", {"memory/memory.limit_in_bytes": "9000"}, 9000),
        ("3:cpu:/job\n", {"cpu/job/memory.max": "10"}, None),
        (None, {}, None),
    ],
    ids=[
        "version 2",
        "version 2, above",
        "version 1",
        "shared",
        "link",
        "in a container",
        "of another kind",
        "none",
    ],
)
def test_a_limit_of_a_control_group_counts(tmp_path, membership, limits, expected):
    for name, text in limits.items():
        file = tmp_path / "cgroups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    unlimited = memory_size(str(tmp_path / "none"), str(tmp_path / "none"))
    found = memory_size(str(tmp_path / "cgroups"), str(tmp_path / "membership"))
    assert found == (unlimited if expected is None else expected)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (3 * 2**29, "1.5 GiB"),
        (2**38, "256 GiB"),
        (10**18, "9.095e+05 TiB"),
    ],
)
def test_format_bytes(n_bytes, text):
    assert format_bytes(n_bytes) == text
