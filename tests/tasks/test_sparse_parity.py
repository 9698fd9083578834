import itertools
import json
import math
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import stats

from quanta.tasks.layout import TENSORS
from quanta.tasks.sparse_parity import MultitaskSparseParity, TaskError
from quanta.tasks.spec import TaskSpec

LEVEL = 1e-6
"""Chance that a statistical test fails on a fair draw; draws are fixed, so it is paid once, here."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_task(seed=0, **spec):
    return MultitaskSparseParity(TaskSpec(**spec), seed)


@st.composite
def specs(draw):
    n_bits = draw(st.integers(1, 80))
    sizes = draw(st.lists(st.integers(1, min(n_bits, 9)), min_size=1, max_size=6))
    if any(sizes.count(size) > math.comb(n_bits, size) for size in sizes):
        sizes = sizes[:1]
    alpha = draw(st.one_of(st.just("uniform"), st.floats(-0.9, 3)))
    return TaskSpec(n_subtasks=len(sizes), n_bits=n_bits, k=tuple(sizes), alpha=alpha)


class TestSubsets:
    @given(specs(), st.integers(0, 2**40))
    def test_are_distinct_increasing_and_of_the_size_asked_for(self, spec, seed):
        subsets = MultitaskSparseParity(spec, seed).subsets
        assert subsets.shape == (spec.n_subtasks, max(spec.subset_sizes))
        chosen = [tuple(row[row >= 0].tolist()) for row in subsets]
        assert len(set(chosen)) == spec.n_subtasks
        for subset, row, size in zip(chosen, subsets, spec.subset_sizes, strict=True):
            assert subset == tuple(sorted(set(subset)))
            assert len(subset) == size
            assert max(subset) < spec.n_bits
            assert (row[size:] == -1).all()

    def test_all_subsets_there_are(self):
        task = make_task(n_subtasks=math.comb(7, 3), n_bits=7, k=3)
        assert {tuple(row) for row in task.subsets.tolist()} == set(itertools.combinations(range(7), 3))

    @pytest.mark.parametrize("n_subtasks", [2, 6])  # few of the ten are drawn one by one; many are chosen
    def test_are_uniformly_drawn(self, n_subtasks):
        n_tasks = 3000
        spec = TaskSpec(n_subtasks=n_subtasks, n_bits=5, k=2)
        drawn = [MultitaskSparseParity(spec, seed).subsets for seed in range(n_tasks)]
        pairs = list(itertools.combinations(range(5), 2))
        place = np.array([[pairs.index(tuple(row)) for row in subsets.tolist()] for subsets in drawn])
        # The first subtask and the last: each pair of different subsets is as likely as any other.
        counts = np.zeros((10, 10))
        np.add.at(counts, (place[:, 0], place[:, -1]), 1)
        assert (counts.diagonal() == 0).all()
        assert stats.chisquare(counts[~np.eye(10, dtype=bool)]).pvalue > LEVEL

    def test_depend_on_the_seed_alone(self):
        shape = {"n_subtasks": 20, "n_bits": 30, "k": 3}
        zipf, uniform = make_task(5, **shape, alpha=0.4), make_task(5, **shape, alpha="uniform")
        np.testing.assert_array_equal(zipf.subsets, uniform.subsets)
        assert not np.array_equal(zipf.subsets, make_task(6, **shape).subsets)


class TestSamples:
    @given(specs(), st.integers(0, 2**40))
    def test_label_is_the_parity_of_the_subset(self, spec, seed):
        task = MultitaskSparseParity(spec, seed)
        batch = task.sample(12, generator(seed))
        assert batch.bits.shape == (12, spec.n_bits)
        assert set(batch.bits.unique().tolist()) <= {0, 1}
        for k, bits, label in zip(batch.subtask.tolist(), batch.bits.tolist(), batch.label, strict=True):
            subset = [bit for bit in task.subsets[k].tolist() if bit >= 0]
            assert int(label) == sum(bits[bit] for bit in subset) % 2

    @given(specs(), st.integers(0, 2**40))
    def test_parity_flips_with_a_bit_of_its_subset_and_with_no_other(self, spec, seed):
        task = MultitaskSparseParity(spec, seed)
        batch = task.sample_stratified(1, generator(seed))
        for bit in range(spec.n_bits):
            flipped = batch.bits.clone()
            flipped[:, bit] ^= 1
            changed = task.label(batch.subtask, flipped) != batch.label
            assert changed.tolist() == [bit in subset for subset in task.subsets]

    def test_parity_of_more_bits_than_a_byte_counts(self):
        task = make_task(n_subtasks=4, n_bits=600, k=(255, 256, 257, 600))
        ones = torch.ones(4, 600, dtype=torch.uint8)
        assert task.label(torch.arange(4), ones).tolist() == [1, 0, 1, 0]

    def test_subtasks_follow_their_frequencies(self):
        task = make_task(n_subtasks=30, n_bits=20, k=3, alpha=0.8)
        counts = task.draw_subtasks(200_000, generator()).bincount(minlength=30)
        assert stats.chisquare(counts.numpy(), 200_000 * task.frequencies).pvalue > LEVEL

    @pytest.mark.parametrize("n_bits", [8, 71])  # 71: a second word, and not a whole number of bytes
    def test_bits_are_fair_and_independent(self, n_bits):
        n_samples = 40_000
        task = make_task(n_subtasks=3, n_bits=n_bits, k=2)
        batch = task.sample(n_samples, generator())
        sign = 2.0 * batch.bits.double() - 1
        first = (batch.subtask == 0).double()[:, None]
        columns = torch.cat([sign, (first - first.mean()) / first.std()], dim=1)
        # Sums of independent ±1 are normal with variance n; every pair, and every bit with the one in
        # the sample before, is one of these, as is a bit alone.
        among = (columns.T @ columns / n_samples**0.5).triu(1)
        before = sign[1:].T @ sign[:-1] / n_samples**0.5
        alone = sign.sum(0) / n_samples**0.5
        n_tests = n_bits * (n_bits + 1) / 2 + n_bits**2 + n_bits
        bound = stats.norm.isf(LEVEL / 2 / n_tests)
        assert max(float(x.abs().max()) for x in (among, before, alone)) < bound

    def test_stratified(self):
        batch = make_task(n_subtasks=4, n_bits=9, k=2).sample_stratified(3, generator())
        assert batch.subtask.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        assert batch.bits.shape == (12, 9)

    def test_a_generator_decides_the_sample(self):
        task = make_task(n_subtasks=4, n_bits=40, k=2)
        one, same, other = (task.sample(50, generator(seed)) for seed in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not torch.equal(one.bits, other.bits)
        torch.manual_seed(1)
        assert torch.equal(task.sample(50).bits, one.bits)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dense_input_is_the_code_and_then_the_bits(self, dtype):
        task = make_task(n_subtasks=5, n_bits=11, k=2)
        batch = task.sample(40, generator())
        dense = task.dense_input(batch, dtype)
        assert dense.shape == (40, 16)
        assert dense.dtype == dtype
        assert torch.equal(dense[:, 5:], batch.bits.to(dtype))
        assert torch.equal(dense[:, :5], torch.eye(5, dtype=dtype)[batch.subtask])

    def test_meta_device_checks_shapes_without_computing(self):
        task = MultitaskSparseParity(TaskSpec(n_subtasks=5, n_bits=70, k=2), 0, "meta")
        for batch in (task.sample(7), task.sample_stratified(2)):
            assert {tensor.device.type for tensor in batch} == {"meta"}
            assert task.dense_input(batch).shape == (len(batch.subtask), 75)


@pytest.fixture(scope="module")
def task():
    return make_task(3, n_subtasks=6, n_bits=11, k=(3, 3, 2, 3, 1, 3), alpha=0.7)


@pytest.fixture
def path(tmp_path, task):
    path = tmp_path / "task.safetensors"
    task.save(path, task.sample(20, generator()))
    return path


class TestFile:
    @given(spec=specs(), seed=st.integers(0, 2**63 - 1), n_samples=st.none() | st.integers(0, 9))
    def test_save_then_load_is_the_identity(self, tmp_path_factory, spec, seed, n_samples):
        path = tmp_path_factory.mktemp("task") / "task.safetensors"
        task = MultitaskSparseParity(spec, seed)
        sample = None if n_samples is None else task.sample(n_samples, generator())
        task.save(path, sample)
        loaded, loaded_sample = MultitaskSparseParity.load(path)
        assert (loaded.spec, loaded.seed) == (task.spec, task.seed)
        np.testing.assert_array_equal(loaded.subsets, task.subsets)
        np.testing.assert_array_equal(loaded.frequencies, task.frequencies)
        if sample is None:
            assert loaded_sample is None
        else:
            assert loaded_sample is not None
            for old, new in zip(sample, loaded_sample, strict=True):
                assert old.dtype == new.dtype
                assert torch.equal(old, new)
        again, expected = loaded.sample(5, generator(1)), task.sample(5, generator(1))
        assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))

    def test_is_what_it_is_documented_to_be(self, path, task):
        tensors = load_file(path)
        assert {name: (x.dtype, tuple(x.shape)) for name, x in tensors.items()} == {
            "subsets": (torch.int64, (6, 3)),
            "frequencies": (torch.float64, (6,)),
            "subtask": (torch.int64, (20,)),
            "bits": (torch.uint8, (20, 2)),
            "label": (torch.uint8, (20,)),
        }
        bits = task.sample(20, generator()).bits
        lowest_first = [sum(int(bit) << place for place, bit in enumerate(row[:8])) for row in bits]
        assert tensors["bits"][:, 0].tolist() == lowest_first
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        told = json.loads(metadata.pop("tensors"))
        assert metadata == {"format": "quanta-task-1", "spec": task.spec.model_dump_json(), "seed": "3"}
        assert told == TENSORS
        for name, (dtype, shape) in {name: (x.dtype, x.shape) for name, x in tensors.items()}.items():
            assert told[name].startswith(f"{str(dtype).removeprefix('torch.')}, shape (")
            assert told[name].partition(")")[0].count(",") == 1 + max(1, len(shape) - 1)

    def test_without_a_sample_it_tells_of_the_task_alone(self, tmp_path, task):
        task.save(tmp_path / "task", sample_seed=4)
        with safe_open(tmp_path / "task", framework="pt") as file:
            metadata = file.metadata()
        assert list(json.loads(metadata["tensors"])) == ["subsets", "frequencies"]
        assert "sample_seed" not in metadata

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no task at .*none\.safetensors"):
            MultitaskSparseParity.load(tmp_path / "none.safetensors")

    @pytest.mark.parametrize(
        "content",
        [b"", b"\x00", b"PK\x03\x04 a zip", b"{}", b"\x89HDF\r\n\x1a\n" + bytes(500), pickle.dumps([1])],
        ids=["empty", "one byte", "zip", "json", "hdf5", "pickle"],
    )
    def test_foreign_files(self, tmp_path, content):
        path = tmp_path / "foreign"
        path.write_bytes(content)
        refuse(path, "not a task file")

    def test_a_pickle_is_not_run(self, tmp_path):
        path, trace = tmp_path / "foreign", tmp_path / "trace"

        class Payload:
            def __reduce__(self):
                return (trace.touch, ())

        path.write_bytes(pickle.dumps(Payload()))
        refuse(path, "not a task file")
        assert not trace.exists()
        pickle.loads(path.read_bytes())
        assert trace.exists()

    def test_every_prefix_is_refused(self, path):
        whole = path.read_bytes()
        (header,) = struct.unpack("<Q", whole[:8])
        ends = {0, 1, 7, 8, 9, 8 + header // 2, 8 + header - 1, 8 + header, 8 + header + 1}
        for end in ends | set(range(8 + header, len(whole), 29)) | {len(whole) - 1}:
            path.write_bytes(whole[:end])
            refuse(path, "not a task file")

    def test_a_flipped_bit_is_refused_or_leaves_a_task(self, path):
        whole = path.read_bytes()
        messages = []
        for place in range(0, 8 * len(whole), 11):  # 11 is prime to 8: every bit of a byte gets its turn
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(bytes(changed))
            try:
                loaded, sample = MultitaskSparseParity.load(path)
            except TaskError as error:
                messages.append(str(error))
            else:
                subsets = [tuple(row[row >= 0]) for row in loaded.subsets]
                assert len(set(subsets)) == 6
                assert [len(set(subset)) for subset in subsets] == list(loaded.spec.subset_sizes)
                if sample is not None:
                    assert torch.equal(loaded.label(sample.subtask, sample.bits), sample.label)
        assert len(messages) > 0.8 * len(range(0, 8 * len(whole), 11))
        assert all(message.startswith(f"{path}: ") for message in messages)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("format", "quanta-task-2", "format: expected 'quanta-task-1', found 'quanta-task-2'"),
            ("format", None, "format: expected 'quanta-task-1', found None"),
            ("spec", None, "no 'spec'"),
            ("spec", "{", "Invalid JSON"),
            ("spec", '{"k": 101}', "k must satisfy"),
            ("spec", "{}", "subsets: expected int64 of shape (500, 3)"),
            ("seed", None, "no 'seed'"),
            ("seed", "three", "three"),
            ("seed", "-1", "seed: expected at least 0, found -1"),
            ("seed", "9" * 5000, "Exceeds the limit"),
            ("spec", '{"n_subtasks": 1000000000}', "n_subtasks: must be less than or equal to 100000"),
            ("spec", '{"n_subtasks": 100000, "n_bits": 4096, "k": 4000}', "subsets: expected int64 of shape"),
            ("spec", "[" * 100_000, "is nested too deeply"),
            ("spec", '{"k": 3, "k": 3}', "k: is given twice"),
            ("spec", '{"\\u001b[31m": 3}', "unknown key"),
            ("spec", '{"x": "' + "x" * 10**7 + '"}', "must have at most 2097152 characters"),
        ],
    )
    def test_wrong_metadata(self, path, task, key, value, message):
        tensors = load_file(path)
        metadata = {"format": "quanta-task-1", "spec": task.spec.model_dump_json(), "seed": "3", key: value}
        save_file(tensors, path, {name: text for name, text in metadata.items() if text is not None})
        refuse(path, message)

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("subsets", None, "no 'subsets'"),
            ("subsets", lambda x: x[:5].clone(), "subsets: expected int64 of shape (6, 3)"),
            ("subsets", lambda x: x.to(torch.bfloat16), "subsets: expected int64"),
            ("subsets", lambda x: x.flip(1), "subsets: expected increasing bits in 0..10, padded with -1"),
            ("subsets", lambda x: x + 1, "subsets: expected increasing bits"),
            ("subsets", lambda x: x[[0, 0, 2, 3, 4, 5]], "subsets: expected distinct"),
            ("frequencies", None, "no 'frequencies'"),
            ("frequencies", lambda x: x.flip(0), "frequencies: they are not those of the spec"),
            ("frequencies", lambda x: x * (1 + 1e-6), "frequencies: they are not those of the spec"),
            ("frequencies", lambda x: x * math.nan, "frequencies: they are not those of the spec"),
            ("frequencies", lambda x: x * math.inf, "frequencies: they are not those of the spec"),
            ("frequencies", lambda x: x.repeat(2, 1), "frequencies: expected float64 of shape (6,)"),
            ("frequencies", lambda x: x.to(torch.bfloat16), "frequencies: expected float64"),
            ("subtask", None, "no 'subtask'"),
            ("subtask", lambda x: x[1:].clone(), "sample: subtask, bits and label do not fit"),
            ("subtask", lambda x: x[0].clone(), "sample: subtask, bits and label do not fit"),
            ("subtask", lambda x: x + 6, "sample: expected subtasks in 0..5"),
            ("subtask", lambda x: x - 6, "sample: expected subtasks in 0..5"),
            ("bits", lambda x: x[:, :1].clone(), "sample: subtask, bits and label do not fit"),
            ("label", None, "no 'label'"),
            ("label", lambda x: 1 - x, "sample: labels are not the parities of the bits"),
            ("label", lambda x: x.long(), "sample: expected int64 subtasks and uint8 bits and labels"),
        ],
    )
    def test_wrong_tensors(self, path, name, change, message):
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensor = tensors.pop(name)
        if change is not None:
            tensors[name] = change(tensor).contiguous()
        save_file(tensors, path, metadata)
        refuse(path, message)

    def test_tensors_that_no_task_has(self, path):
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        save_file(tensors | {"more": torch.ones(1)}, path, metadata)
        refuse(path, "expected 2 or 5 tensors, found 6")

    def test_more_than_there_is_memory_for(self, path, monkeypatch):
        MultitaskSparseParity.load(path)
        monkeypatch.setattr("quanta.tasks.sparse_parity.memory_size", lambda: 1000)
        refuse(path, "expected at most this machine's 1000 bytes of memory, found ")

    def test_a_sample_that_unpacks_to_terabytes_is_not_read(self, path):
        # The file has holes: on disk it takes a few kilobytes, whatever it says.
        task = make_task(n_subtasks=4, n_bits=4096, k=1)
        length = 10**10
        task.save(path)
        data = path.read_bytes()
        end = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:end])
        place = max(header[name]["data_offsets"][1] for name in ("subsets", "frequencies"))
        for name, dtype, shape, size in (
            ("subtask", "I64", [length], 8 * length),
            ("bits", "U8", [length, 512], 512 * length),
            ("label", "U8", [length], length),
        ):
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
            place += size
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[end:])
        os.truncate(path, 8 + len(text) + place)
        refuse(path, "memory")  # which there is not enough of, be it to map the file or to unpack it

    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            MultitaskSparseParity.load(tmp_path / "pipe")

    def test_what_was_loaded_is_no_longer_the_file(self, path):
        loaded, sample = MultitaskSparseParity.load(path)
        os.truncate(path, 0)
        assert torch.equal(loaded.label(sample.subtask, sample.bits), sample.label)


def refuse(path, message):
    """Loading fails with one line that names the file."""
    with pytest.raises(TaskError) as caught:
        MultitaskSparseParity.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text
