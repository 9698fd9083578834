import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from quanta.study.spec import StudySpec
from quanta.tasks.layout import METADATA, TENSORS
from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.training.trainer import Trainer

ROOT = Path(__file__).parents[2]


class TestGenerate:
    def test_the_file_is_what_was_asked_for(self, run, tmp_path):
        path = tmp_path / "new" / "task.safetensors"
        arguments = ("-K", 5, "-n", 9, "-k", 2, "--alpha", 0.7, "--offset", 1.5, "--seed", 3)
        result = run("generate", path, *arguments, "--samples", 11)
        task, sample = MultitaskSparseParity.load(path)
        assert task.seed == 3
        assert task.spec.model_dump() == {"n_subtasks": 5, "n_bits": 9, "k": 2, "alpha": 0.7, "offset": 1.5}
        assert sample.bits.shape == (11, 9)
        assert result.stderr == ""
        p = task.frequencies
        assert result.stdout == (
            f"{path}: 5 subtasks on 9 bits, frequencies Zipf with exponent 1.7, "
            f"from {p[0]:.3g} to {p[-1]:.3g}; 11 samples\n"
        )

    def test_json(self, run, parse_json, tmp_path):
        path = tmp_path / "task.safetensors"
        result = run("generate", path, "--seed", 4, "--samples", 3, "--json")
        task, _ = MultitaskSparseParity.load(path)
        assert result.stderr == ""
        assert parse_json(result.stdout) == {
            "schema": 1,
            "path": str(path),
            "seed": 4,
            "samples": 3,
            "sample_seed": 0,
            "n_subtasks": 500,
            "n_bits": 100,
            "k": 3,
            "alpha": 0.4,
            "offset": 0.0,
            "frequencies": task.frequencies.tolist(),
        }

    def test_without_samples(self, run, parse_json, tmp_path):
        path = tmp_path / "task.safetensors"
        assert run("generate", path).stdout.endswith("; no samples\n")
        assert MultitaskSparseParity.load(path)[1] is None
        told = parse_json(run("generate", path, "--json").stdout)
        assert (told["samples"], told["sample_seed"]) == (None, None)

    def test_uniform_and_mixed_k(self, run, parse_json, tmp_path):
        path = tmp_path / "task.safetensors"
        result = run("generate", path, "-K", 3, "-n", 5, "-k", "1,2,4", "--alpha", "uniform")
        assert "3 subtasks on 5 bits, frequencies uniform, from 0.333 to 0.333" in result.stdout
        task, _ = MultitaskSparseParity.load(path)
        assert (task.subsets >= 0).sum(axis=1).tolist() == [1, 2, 4]
        found = parse_json(
            run("generate", path, "-K", 3, "-n", 5, "-k", "1,2,4", "--alpha", "uniform", "--json").stdout
        )
        assert (found["k"], found["alpha"], found["frequencies"]) == ([1, 2, 4], "uniform", [1 / 3] * 3)

    def test_more_samples_than_fit_in_memory(self, fail, tmp_path, monkeypatch):
        monkeypatch.setattr("quanta.tasks.spec.memory_size", lambda: 2**20)
        path = tmp_path / "task.safetensors"
        assert "samples of 100 bits must be at most " in fail(
            "generate", path, "--samples", 10**6, exit_code=2
        )
        assert not path.exists()

    def test_a_lack_of_memory_is_an_error_in_one_line(self, fail, tmp_path, monkeypatch):
        def no_memory(*arguments):
            raise MemoryError("Unable to allocate 9 GiB")

        monkeypatch.setattr(MultitaskSparseParity, "save", no_memory)
        line = fail("generate", tmp_path / "task", exit_code=1)
        assert line == "Error: out of memory (Unable to allocate 9 GiB)"

    def test_the_same_seed_makes_the_same_file(self, run, tmp_path):
        found = []
        for seed in (1, 1, 2):
            run("generate", tmp_path / "task", "--samples", 50, "--seed", seed)
            found.append(load_file(tmp_path / "task"))
        one, same, other = found
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert [name for name in one if torch.equal(one[name], other[name])] == ["frequencies"]

    def test_the_same_bytes(self, run, tmp_path):
        written = set()
        for _ in range(8):
            run("generate", tmp_path / "task", "--samples", 5)
            written.add((tmp_path / "task").read_bytes())
        assert len(written) == 1

    def test_a_sample_seed_makes_another_sample_of_the_same_task(self, run, tmp_path):
        found = []
        for arguments in ((), ("--sample-seed", 0), ("--sample-seed", 1)):
            run("generate", tmp_path / "task", "--samples", 50, "--seed", 3, *arguments)
            found.append(load_file(tmp_path / "task"))
        usual, first, second = found
        assert all(torch.equal(usual[name], first[name]) for name in TENSORS)
        assert [name for name in TENSORS if torch.equal(first[name], second[name])] == [
            "subsets",
            "frequencies",
        ]

    def test_a_sample_seed_without_samples(self, fail, tmp_path):
        line = fail("generate", tmp_path / "task", "--sample-seed", 1, exit_code=2)
        assert "--sample-seed is for --samples" in line
        assert not (tmp_path / "task").exists()

    @pytest.mark.parametrize("seed", [5, 0])
    @pytest.mark.parametrize("n_train", [1000, "online"])
    def test_no_unit_is_trained_or_measured_on_the_samples(self, run, tmp_path, seed, n_train):
        run("generate", tmp_path / "task", "-K", 64, "-n", 64, "--seed", seed, "--samples", 1000)
        handed_out = {row.tobytes() for row in load_file(tmp_path / "task")["bits"].numpy()}
        study = StudySpec.parse(
            {
                "name": "x",
                "seed": seed,
                "n_train": n_train,
                "task": {"n_subtasks": 64, "n_bits": 64},
                "population": {"widths": [2]},
                "training": {"steps": 3, "batch_size": 1000},
                "evaluation": {"samples_per_subtask": 16},
            }
        )
        trainer = Trainer(study.units()[0])
        assert np.array_equal(trainer.task.subsets, load_file(tmp_path / "task")["subsets"].numpy())
        used = [trainer.task.unpack(*trainer.batches.take()).bits for _ in range(3)]
        used += [trainer.task.unpack(torch.zeros(1024, dtype=torch.int64), trainer._test_set).bits]
        assert handed_out.isdisjoint(
            row.tobytes() for bits in used for row in np.packbits(bits.numpy(), axis=1, bitorder="little")
        )

    def test_by_the_words_of_the_file_it_is_read_with_numpy_and_json_alone(self, run, tmp_path):
        arguments = ("-K", 7, "-n", 21, "-k", "1,2,3,4,3,2,5", "--samples", 500, "--sample-seed", 2)
        run("generate", tmp_path / "task", *arguments)
        data = (tmp_path / "task").read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])  # the format of safetensors, whoever writes it
        metadata = header.pop("__metadata__")
        types = {"I64": np.int64, "F64": np.float64, "U8": np.uint8}
        tensors = {
            name: np.frombuffer(data[8 + size :][slice(*held["data_offsets"])], types[held["dtype"]]).reshape(
                held["shape"]
            )
            for name, held in header.items()
        }
        assert json.loads(metadata["tensors"]).keys() == tensors.keys()
        n = json.loads(metadata["spec"])["n_bits"]
        bits = tensors["bits"]
        one_by_one = np.stack([(bits[:, j // 8] >> j % 8) & 1 for j in range(n)], axis=1)
        unpacked = np.unpackbits(bits, axis=1, count=n, bitorder="little")
        np.testing.assert_array_equal(one_by_one, unpacked)
        assert not np.unpackbits(bits, axis=1, bitorder="little")[:, n:].any()
        subsets, subtask = tensors["subsets"], tensors["subtask"]
        assert (subtask.min(), subtask.max()) == (0, 6)
        label = [unpacked[i, subsets[s][subsets[s] >= 0]].sum() % 2 for i, s in enumerate(subtask)]
        np.testing.assert_array_equal(label, tensors["label"])
        assert 150 < np.sum(label) < 350
        assert tensors["frequencies"].sum() == pytest.approx(1)
        assert (metadata["seed"], metadata["sample_seed"]) == ("0", "2")
        assert metadata.keys() == METADATA.keys()

    def test_help_and_readme_have_the_same_words(self, run):
        help_text = re.sub(r"\s+", "", run("generate", "--help").stdout)
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        for name, meaning in (TENSORS | METADATA).items():
            assert re.sub(r"\s+", "", name + meaning) in help_text
        for name, meaning in TENSORS.items():
            assert f"| `{name}` | {meaning} |" in readme

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--k", "3,x"), "'3,x' is neither a whole number nor several with commas."),
            (("--k", ""), "'' is neither a whole number"),
            (("--k", "3,2"), "k must be one number or 500 (one per subtask), not 2"),
            (("--k", "0"), "k: must be"),
            (("-n", "2"), "k must satisfy 1 <= k <= n_bits (2), not 3"),
            (("-K", "0"), "0 is not in the range 1<=x<=100000"),
            (("-n", "5000"), "5000 is not in the range 1<=x<=4096"),
            (("-K", "11", "-n", "5"), "n_subtasks must be at most 10"),
            (("--alpha", "steep"), "'steep' is neither a number nor 'uniform'."),
            (("--alpha", "nan"), "alpha: must be a finite number or 'uniform', not nan"),
            (("--alpha", "-2"), "alpha: must be"),
            (("--offset", "-1"), "-1.0 is not in the range x>-1"),
            (("--offset", "inf"), "inf is not in the range x>-1"),
            (("--offset", "nan"), "nan is not in the range x>-1"),
            (("--seed", "-1"), "-1 is not in the range x>=0"),
            (("--samples", "0"), "0 is not in the range 1<=x<=100000000"),
            (("--samples", "many"), "'many' is not a valid integer"),
        ],
    )
    def test_bad_values(self, fail, tmp_path, arguments, says):
        assert says in fail("generate", tmp_path / "task", *arguments, exit_code=2)
        assert not (tmp_path / "task").exists()

    def test_a_folder_as_path(self, fail, tmp_path):
        assert "is a directory" in fail("generate", tmp_path, exit_code=2)

    def test_a_path_that_cannot_be_written(self, fail, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in fail("generate", tmp_path / "file" / "task", exit_code=1)
