import json
import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from quanta.tasks import tensors as module
from quanta.tasks.tensors import TensorFileError, open_tensors


@pytest.fixture
def path(tmp_path):
    save_file({"a": torch.arange(3), "b": torch.ones(2, 1)}, tmp_path / "x.safetensors", {"key": "value"})
    return tmp_path / "x.safetensors"


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open_tensors(path) as file:
        return {name: file.read(name) for name in file.tensors}


def refuse(path, message=None):
    with pytest.raises(TensorFileError, match=message) as caught:
        read(path)
    assert str(caught.value).isprintable()


def test_header_first(path):
    with open_tensors(path) as file:
        assert file.metadata == {"key": "value"}
        assert file.tensors == {"a": ("I64", (3,)), "b": ("F32", (2, 1))}
        assert torch.equal(file.read("a"), torch.arange(3))
        with pytest.raises(KeyError):
            file.read("c")


def test_what_was_read_is_no_longer_the_file(path):
    values = read(path)["a"]
    os.truncate(path, 0)  # a page of a file that is gone kills the process that touches it
    assert values.tolist() == [0, 1, 2]


def tensor(dtype="U8", shape=(1,), end=1):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": [0, end]}}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"{" * 100, b""),
        (b'{"a":' + b"[" * 100_000, b""),
        (b"\xff", b""),
        (tensor(shape=(-1,)), b"x"),
        (tensor(shape=(2,)), b"x"),
        (tensor(end=2), b"x"),
        (tensor(), b"xy"),
        (tensor("I64", (2**61, 8), 0), b""),
        (tensor("I64", (2**63, 0), 0), b""),
        (tensor("NO", (1,)), b"x"),
        ({"__metadata__": {"a": 1}}, b""),
    ],
    ids=range(11),
)
def test_damage(path, header, data):
    write(path, header, data)
    refuse(path)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "BOOL", "F4", "U64"])
def test_types_that_nothing_here_has(path, dtype):
    size = {"BF16": 2, "U64": 8}.get(dtype, 1)
    write(path, tensor(dtype, (2,) if dtype == "F4" else (1,), size), b"x" * size)
    refuse(path, f"a: expected int64, uint8, float32, float64, found {dtype}")


def test_a_long_header(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", 1000)
    write(path, {"__metadata__": {str(i): "x" for i in range(1000)}})
    refuse(path, r"header: expected at most 1000 bytes, found 1\d{4}")


def test_a_header_of_many_keys(path):
    write(path, {"__metadata__": {str(i): "x" for i in range(300_000)}})
    with open_tensors(path) as file:
        assert len(file.metadata) == 300_000


def test_a_header_longer_than_the_file(path):
    for length in (10**12, 2**64 - 1, 100):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        refuse(path, "header")


def test_pickles(path):
    torch.save({"a": torch.ones(1)}, path)
    refuse(path, "header too large")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_no_file(tmp_path, make):
    make(tmp_path / "x")
    refuse(tmp_path / "x", "expected a plain file")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")
