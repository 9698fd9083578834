import resource

import pytest

from quanta.tasks.memory import format_bytes, memory_size, shared_memory


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


def test_what_is_shared_has_a_name(tmp_path, monkeypatch):
    """The control group that allows the least; what the shell allows each process is not shared."""
    for name, text in (("a/memory.max", "7000"), ("a/b/memory.max", "6000"), ("a/c/memory.max", "max")):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1000, resource.RLIM_INFINITY))
    found = {}
    for group in ("a/b", "a/c", "a"):
        (tmp_path / "membership").write_text(f"0::/{group}\n")
        found[group] = shared_memory(str(tmp_path), str(tmp_path / "membership"))
    assert [n_bytes for n_bytes, _ in found.values()] == [6000, 7000, 7000]
    assert found["a/c"] == found["a"]
    assert found["a/b"][1] != found["a"][1]


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
