import math

import numpy as np
import pytest
from pydantic import ValidationError

from quanta.tasks.config import ConfigError
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies
from quanta.tasks.spec import TaskSpec


class TestMemory:
    @pytest.mark.parametrize(("n_bits", "packed"), [(1, 8), (64, 8), (65, 16), (4096, 512)])
    def test_of_a_sample(self, n_bits, packed):
        spec = TaskSpec(n_subtasks=1, n_bits=n_bits, k=1)
        assert spec.packed_bytes == packed
        assert spec.sample_bytes == 8 + 13 * packed + 10

    def test_more_samples_than_it_holds_are_refused(self, monkeypatch):
        spec = TaskSpec(n_bits=100)
        monkeypatch.setattr("quanta.tasks.spec.memory_size", lambda: 2**20)
        most = 2**20 // (8 + 13 * 16 + 30)
        spec.check_samples(most)
        with pytest.raises(
            ConfigError, match=rf"^samples of 100 bits must be at most {most}, .* 1 MiB .*, not "
        ):
            spec.check_samples(most + 1)


class TestTaskSpec:
    def test_defaults_are_those_of_the_paper(self):
        spec = TaskSpec()
        assert (spec.n_subtasks, spec.n_bits, spec.k, spec.alpha, spec.offset) == (500, 100, 3, 0.4, 0)

    def test_frequencies(self):
        zipf = TaskSpec(n_subtasks=5, alpha=0.3, offset=2)
        np.testing.assert_array_equal(zipf.frequencies, zipf_frequencies(5, 0.3, 2))
        np.testing.assert_array_equal(
            TaskSpec(n_subtasks=5, alpha="uniform").frequencies, uniform_frequencies(5)
        )

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"n_subtasks": 0}, "n_subtasks: must be greater than or equal to 1, not 0"),
            ({"n_subtasks": 100_001}, "n_subtasks: must be less than or equal to 100000, not 100001"),
            ({"n_subtasks": 2.5}, "n_subtasks: must be an integer, not 2.5"),
            ({"n_bits": 4097}, "n_bits: must be less than or equal to 4096, not 4097"),
            ({"alpha": "steep"}, "alpha: must be a number or 'uniform', not 'steep'"),
            ({"alpha": 11}, "alpha: must be less than or equal to 10 or 'uniform', not 11"),
            ({"alpha": -1.5}, "alpha: must be greater than or equal to -1 or 'uniform', not -1.5"),
            ({"alpha": math.nan}, "alpha: must be a finite number or 'uniform', not nan"),
            ({"offset": -1}, "offset: must be greater than -1, not -1"),
            ({"k": 0}, "k: must be greater than or equal to 1 or a list, not 0"),
            ({"k": "3"}, "k: must be an integer or a list, not '3'"),
            ({"k": 9, "n_bits": 5}, "k must satisfy 1 <= k <= n_bits (5), not 9"),
            (
                {"k": [1, 9, 2], "n_subtasks": 3, "n_bits": 5},
                "k must satisfy 1 <= k <= n_bits (5), not 9",
            ),
            ({"k": [1, 2], "n_subtasks": 3}, "k must be one number or 3 (one per subtask), not 2"),
            (
                {"k": 3, "n_bits": 10, "n_subtasks": 121},
                "n_subtasks must be at most 120, the number of subsets of 3 of 10 bits, not 121",
            ),
            (
                {"k": [1, 1, 1, 2], "n_bits": 2, "n_subtasks": 4},
                "n_subtasks must be at most 2, the number of subsets of 1 of 2 bits, not 3",
            ),
            ({"n_subtask": 3}, "n_subtask: unknown key, did you mean n_subtasks?"),
        ],
    )
    def test_says_what_cannot_exist_in_one_line(self, values, message):
        with pytest.raises(ConfigError) as caught:
            TaskSpec.parse(values)
        assert str(caught.value) == message

    def test_the_constructor_refuses_it_too(self):
        with pytest.raises(ValidationError, match=r"k must satisfy 1 <= k <= n_bits \(5\), not 9"):
            TaskSpec(k=9, n_bits=5, n_subtasks=1)
