import importlib
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]

# Like the other benchmarks it is not installed: it is run from the root of the repository, and so is this.
sys.path.insert(0, str(ROOT))
calibration = importlib.import_module("benchmarks.calibration")
sys.path.remove(str(ROOT))

DRAWS = 200


def run_here(function, n):
    return [function(draw) for draw in range(n)]


class TestTables:
    def test_command(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        result = CliRunner().invoke(calibration.main, ["forecasts", "--draws", "10"])
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[2] == "| scatter of log loss | coverage | fits |"
        assert len(result.stdout.splitlines()) == 7

    def test_outcomes_are_shares_that_add_up(self, monkeypatch):
        monkeypatch.setattr(calibration, "SEEDS", (3,))
        monkeypatch.setattr(calibration, "WORLDS", ["sigmoid", "uniform"])
        _, *rows = calibration.tabulate_outcomes(3, run_here)
        assert rows[0] == ["sigmoid", "3", "100.0%", "0.0%", "0.0%", "none"]
        assert rows[1][:5] == ["uniform", "3", "0.0%", "100.0%", "0.0%"]
        assert "order 100.0%" in rows[1][5]

    def test_censoring_counts_what_is_learned_and_what_is_not(self):
        _, *rows = calibration.tabulate_censoring(20, run_here)
        fitted, naive = float(rows[-1][1]), float(rows[-1][3])
        assert abs(fitted - 1) < 4 * float(rows[-1][2])
        assert naive < 0.9


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        yield lambda function, n: list(executor.map(function, range(n), chunksize=8))


def judged(world, draw):
    """Judge a draw with 3 to 10 seeds."""
    return calibration.judge_world(world, 3 + draw % 8, draw)


class JudgeWorld:
    """A function of the draw that can be sent to another process."""

    def __init__(self, world):
        self.world = world

    def __call__(self, draw):
        return judged(self.world, draw)


@pytest.mark.slow
class TestVerdicts:
    """What the verdict promises, on 200 draws of each world with 3 to 10 seeds."""

    def outcomes(self, pool, world):
        found = pool(JudgeWorld(world), DRAWS)
        failed = Counter(name for _, names, _ in found for name in names)
        return Counter(outcome for outcome, _, _ in found), failed, [values for _, _, values in found]

    @pytest.mark.parametrize("world", ["ideal", "sigmoid"])
    def test_supported_where_the_hypothesis_holds(self, pool, world):
        outcomes, _, _ = self.outcomes(pool, world)
        assert outcomes["supported"] >= 0.95 * DRAWS

    def test_serial_learning_is_told_by_its_time_law(self, pool):
        outcomes, failed, statistics = self.outcomes(pool, "domino")
        assert outcomes["supported"] <= 0.02 * DRAWS
        assert failed["learning time"] >= 0.9 * DRAWS
        assert failed["order"] == failed["count"] == 0
        beta = np.array([values["learning time"] for values in statistics])
        assert beta.mean() == pytest.approx(1 / 1.4, abs=0.02)

    @pytest.mark.parametrize(
        ("world", "check"),
        [("spectral", "steps"), ("smooth", "steps"), ("shuffled", "order"), ("uniform", "order")],
    )
    def test_never_supported_without_quanta_or_order(self, pool, world, check):
        outcomes, failed, _ = self.outcomes(pool, world)
        assert outcomes["supported"] <= 0.02 * DRAWS
        assert failed[check] >= 0.95 * DRAWS
