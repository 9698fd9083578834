import pytest
import torch
from safetensors.torch import load_file

from quanta.tasks.sparse_parity import MultitaskSparseParity


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
        assert parse_json(run("generate", path, "--json").stdout)["samples"] is None

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
            (("--samples", "many"), "'many' is not a valid integer range"),
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
