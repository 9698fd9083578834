import importlib
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.verdict.claims import Claim

ROOT = Path(__file__).parents[1]

# It is not installed: benchmarks are run from the root of the repository, and so is this.
sys.path.insert(0, str(ROOT))
calibration = importlib.import_module("benchmarks.calibration")
data_laws = importlib.import_module("benchmarks.data_laws")
foresight = importlib.import_module("benchmarks.foresight")
laws = importlib.import_module("benchmarks.laws")
worlds = importlib.import_module("benchmarks.worlds")
sys.path.remove(str(ROOT))

SMALL = worlds.Ranges(
    n_subtasks=(24, 30),
    alpha=(0.4, 0.6),
    n_seeds=(5, 6),
    n_widths=(6, 8),
    n_evaluations=(40, 50),
    scatter=(0.1, 0.2),
    drop=(2, 4),
    limits=("room",),
    least_learned=12,
)


def run_here(function, jobs):
    return [function(job) for job in jobs]


@pytest.fixture
def two_worlds(monkeypatch):
    """One world that is true and one without quanta, at sizes at which this is plain."""
    found = {
        "room": worlds.World("true", laws.obey, "yes", "yes", SMALL),
        "level in N": worlds.World("smooth in N", laws.level_with_room, "no", "any", SMALL),
    }
    monkeypatch.setattr(worlds, "WORLDS", found)
    monkeypatch.setattr(calibration, "WORLDS", found)
    monkeypatch.setattr(foresight, "WORLDS", found)


class TestTables:
    def test_command(self, two_worlds, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        result = CliRunner().invoke(calibration.main, ["answers", "--draws", "1", "--half", "tuning"])
        assert result.exit_code == 0, result.output
        _, _, header, _, room, level, *promises, _ = result.stdout.splitlines()
        assert header.startswith("| world | count is | supported | rejected | inconclusive | growth is |")
        assert room.startswith("| room | yes | 100.0% | 0.0% | 0.0% | yes |")
        assert level.startswith("| level in N | no | 0.0% | 100.0% | 0.0% | any |")
        assert len(promises) == len(calibration.PROMISES)

    def test_mistakes_are_counted(self, two_worlds):
        """A judge that says the opposite is wrong everywhere."""
        said = {"count": "rejected", "growth": "rejected"}, {"count": "supported", "growth": "supported"}
        header, *_, no, yes = calibration.tabulate_answers(1, "tuning", lambda function, jobs: said)
        assert no[header.index("supported")] == "100.0% of 1"
        assert yes[header.index("rejected")] == "100.0% of 1"
        assert [len(no), len(yes)] == [len(header)] * 2

    def test_power_asks_only_what_is_promised(self, two_worlds, monkeypatch):
        monkeypatch.setattr(calibration, "POWERFUL", {"count": {}, "growth": {}})
        header, *rows = calibration.tabulate_power(1, "tuning", run_here)
        assert [row[0] for row in rows] == ["room", "all"]
        assert dict(zip(header, rows[0], strict=True))["count supported"] == "100.0%"

    def test_coverage(self, two_worlds, monkeypatch):
        monkeypatch.setattr(calibration, "MANY_SEEDS", 60)
        monkeypatch.setattr(calibration, "FEW_SEEDS", (10,))
        monkeypatch.setattr(calibration, "TRUE", ("room",))
        _, *rows = calibration.tabulate_coverage(1, "tuning", run_here)
        assert [int(row[-1]) for row in rows] == [6] * 4
        for row in rows:
            assert float(row[3]) == pytest.approx(float(row[4]), abs=0.15)


@pytest.fixture(scope="module")
def changed():
    curves = worlds.simulate("other chance", 4).curves
    found = {}
    for label, one in calibration.change(curves):
        found.setdefault(label, []).append(one)
    return curves, found


class TestChange:
    def test_there_is_one_of_each(self, changed):
        _, found = changed
        assert set(found) == set(calibration.CHANGES)

    def test_the_end_stays_unless_it_is_cut(self, changed):
        curves, found = changed
        last = curves["step"].values[-1]
        for label, ones in found.items():
            for one in ones:
                end = one["step"].values[-1]
                assert end < last if label == "cut" else end == last * (977 if label == "other steps" else 1)

    def test_nats_are_bits_in_another_unit(self, changed):
        curves, found = changed
        (nats,) = found["nats"]
        np.testing.assert_allclose(nats["mean_loss"], curves["mean_loss"] * np.log(2), rtol=1e-5)
        np.testing.assert_allclose(nats["chance"], curves["chance"] * np.log(2))

    def test_an_answer_that_turns_is_a_flip(self):
        assert calibration._is_flip("cut", "supported", "rejected")
        assert not calibration._is_flip("cut", "supported", "inconclusive")
        assert calibration._is_flip("other steps", "supported", "inconclusive")


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        yield lambda function, jobs: list(executor.map(function, jobs, chunksize=4))


class TestDataLaws:
    def test_the_more_examples_the_more_is_learned_and_never_less(self):
        simulation = worlds.simulate(
            "examples", 0, replace(worlds.WORLDS["examples"].ranges, n_widths=(1, 1))
        )
        curves, sizes = simulation.curves, simulation.sizes
        learned = (curves["loss"].isel(step=-1) < 0.1 * sizes.chance).squeeze("alpha").values
        counts = learned.sum(axis=-1)  # by n_train, seed and width
        assert (np.diff(counts, axis=0) >= 0).all()
        assert (counts[-1] > counts[0]).all()
        # What is needed of each subtask scatters about its median, in every seed anew.
        ranks = np.arange(1, sizes.n_subtasks + 1)
        enough = np.interp(sizes.n_learned + 0.5, ranks, sizes.rarity)
        p = stats.norm.cdf(np.log(enough / sizes.rarity) / sizes.scatter)
        error = np.sqrt((p * (1 - p)).sum() / sizes.n_seeds)
        assert abs(counts[-1].mean() - p.sum()) < 4 * error

    def test_needs_follow_the_law(self):
        rng = np.random.default_rng(0)
        sizes = worlds.draw_sizes(
            rng, worlds.Ranges(n_subtasks=(100, 100), scatter=(0.1, 0.1), n_seeds=(9, 9))
        )
        need, n_train = data_laws.need_examples(sizes, rng, sizes.rarity**1.3)
        slope = np.polyfit(np.log(sizes.frequency), np.log(need).mean(axis=(0, 1)), 1)[0]
        spread = np.log(sizes.frequency).std() * np.sqrt(need.size)
        assert abs(slope + 1.3) < 4 * 0.1 / spread
        assert (np.diff(n_train) > 0).all()


class TestForesight:
    def test_a_claim_at_one_edge_is_decided_as_the_noncentral_t_says(self):
        values = np.random.default_rng(1).normal(1.0, 0.1, foresight.FORESEEING_SEEDS)
        found = mean_over_seeds(values)
        edge = 0.9
        claim = Claim("N", "x", found.estimate, found.lower, found.upper, (edge, np.inf), None, "")
        n, critical = foresight.STUDY_SEEDS, stats.t.ppf(0.95, foresight.STUDY_SEEDS - 1)
        away = (values.mean() - edge) * np.sqrt(n) / values.std(ddof=1)
        decided = stats.nct.sf(critical, n - 1, away) + stats.nct.cdf(-critical, n - 1, away)
        error = np.sqrt(decided * (1 - decided) / foresight.N_IMAGINED)
        assert abs(1 - foresight.foreseen_unclear(claim) - decided) < 4 * error

    def test_what_is_foreseen_stands_beside_what_is_seen(self, two_worlds, monkeypatch):
        monkeypatch.setattr(foresight, "FORESEEING_SEEDS", 10)
        header, *rows = calibration.tabulate_unclear(1, "tuning", run_here)
        of_claim = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
        # Here both what holds and what fails is plain in five seeds.
        assert of_claim["S: drops"]["foreseen"] == of_claim["S: drops"]["seen"] == "0.0%"
        assert of_claim["S: drops"]["draws"] == "2"


@pytest.mark.slow
class TestPromises:
    """What the verdict promises, on draws on which no threshold was chosen."""

    def test_answers(self, pool):
        header, *rows = calibration.tabulate_answers(12, "showing", pool)
        no, yes = rows[-2:]
        growth = header.index("growth is")
        for question in (0, growth - 1):
            assert share(no[2 + question]) <= 0.02
            assert share(yes[3 + question]) <= 0.05

    def test_power(self, pool):
        header, *_, total = calibration.tabulate_power(6, "showing", pool)
        said = dict(zip(header, total, strict=True))
        assert share(said["count supported"]) >= 0.8
        assert share(said["growth supported"]) >= 0.8

    def test_coverage(self, pool):
        for *row, coverage, n in list(calibration.tabulate_coverage(10, "showing", pool))[1:]:
            error = np.sqrt(0.9 * 0.1 / int(n))
            assert share(coverage) >= 0.86 - 3 * error, row
            # That of γ has the rounding of counts beside the spread between seeds, which tells some of it.
            assert share(coverage) <= 0.94 + 3 * error or row[2] == "gamma", row

    def test_nothing_flips(self, pool):
        header, *rows = calibration.tabulate_flips(2, "showing", pool)
        for row in rows[-2:]:
            assert [int(row[header.index(name)]) for name in ("any", "other steps")] == [0, 0], row


def share(cell):
    return float(cell.split("%")[0]) / 100
