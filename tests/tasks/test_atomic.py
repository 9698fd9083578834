import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from quanta.tasks.atomic import atomic_write, remove_leftovers


def test_writes_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with path.open() as reader:
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        assert reader.read() == "old"  # who had begun to read reads on in the old one


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_leaves_all_as_it_was(tmp_path, error, existing):
    path = tmp_path / "file.txt"
    if existing:
        path.write_text("old")

    def write_half():
        with atomic_write(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert [file.read_text() for file in tmp_path.iterdir()] == (["old"] if existing else [])


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(path):
        pass
    assert path.read_text() == "old"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_is_as_readable_as_any_new_file(tmp_path, umask, mode):
    path = tmp_path / "file.safetensors"
    before = os.umask(umask)
    try:
        with atomic_write(path) as temporary:
            save_file({"x": torch.zeros(1)}, temporary)
            temporary.chmod(0o600)  # as this safetensors has it already, and others may not
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_makes_missing_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic_write(str(path)) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_temporary_is_a_neighbour_with_the_same_suffix(tmp_path):
    # Only within one file system is a rename atomic; writers choose a format by the suffix.
    path = tmp_path / "file.nc"
    with atomic_write(path) as one, atomic_write(path) as other:
        assert one.parent == other.parent == tmp_path
        assert one.suffix == ".nc"
        assert len({one, other, path}) == 3
        one.write_text("1")
        other.write_text("2")


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    written = tmp_path / "curves.nc"
    with atomic_write(written) as temporary:
        temporary.write_text("whole")
    kept = [written, tmp_path / ".hidden", tmp_path / ".config.toml"]
    for path in kept[1:]:
        path.write_text("not ours")
    for name in (temporary.name, ".lock.0123abcd"):
        (tmp_path / name).write_text("half")
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path / "none")
