"""All of it on a network whose gradients are what they should be."""

import numpy as np
import pytest

from quanta.analysis.discovery.network import Law, count_clusterings, discover, find_learned
from quanta.analysis.discovery.summary import tabulate_discoveries
from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.verdict.columns import DISCOVERY

NULLS = ["shuffled", "hidden", "input", "bits", "untrained"]


def scores_of(found, affinity):
    return found.scores[found.scores["affinity"] == affinity].set_index("of")


class TestLaw:
    def test_is_that_of_the_task(self, law, true_frequencies):
        np.testing.assert_allclose(law.frequencies(np.arange(12), 1.4), true_frequencies)

    def test_of_some_subtasks(self):
        found = Law(4, 1.4, offset=1.0).frequencies(np.array([0, 2]), 2.0)
        np.testing.assert_allclose(found, [(1 / 4) / (1 / 4 + 1 / 16), 0, (1 / 16) / (1 / 4 + 1 / 16), 0])


class TestLearned:
    @pytest.mark.parametrize("n_learned", [0, 1, 8, 12])
    def test_are_those_of_low_loss(self, fake_network, law, n_learned):
        assert find_learned(fake_network(n_learned), law).tolist() == list(range(n_learned))

    def test_by_the_threshold(self, fake_network, law):
        assert find_learned(fake_network(8), law, tau=0.01).size == 0  # 0.01 nats are 0.014 of chance


class TestDiscover:
    def test_a_power_finds_the_subtasks_and_signs_divide_them_by_label(self, fake_discovery):
        repaired, paper = (scores_of(fake_discovery, name) for name in ("cos4", "angular"))
        assert repaired.loc["gradients", "ari"] > 0.95
        assert repaired.loc["equal", "ari"] > 0.9
        assert paper.loc["gradients", "ari"] < 0.7
        assert paper.loc["gradients", "ari_by_label"] > paper.loc["gradients", "ari"]

    @pytest.mark.parametrize("affinity", ["angular", "cos4"])
    def test_nulls_find_nothing(self, fake_discovery, affinity):
        scores = scores_of(fake_discovery, affinity)
        assert scores.index.tolist() == ["gradients", "equal", *NULLS, "all", "low_loss"]
        assert (scores.loc[NULLS, ["ari", "ami"]].abs() < 0.05).all(axis=None)
        assert scores.loc["shuffled", "exponent"] == scores.loc["gradients", "exponent"]

    def test_exponents_are_those_of_the_subtasks(self, fake_discovery):
        scores = scores_of(fake_discovery, "cos4")
        for of in ("gradients", "equal"):
            true = scores.loc[of, "exponent_of_truth"]
            assert scores.loc[of, "exponent"] == pytest.approx(true, abs=0.1)
        assert scores.loc["gradients", "exponent_of_truth"] == pytest.approx(1.4, abs=0.25)

    def test_debiased_exponents_hold_the_truth(self, fake_discovery):
        found = fake_discovery.exponents.query("affinity == 'cos4'").set_index("of")
        assert found["true"].to_dict() == {"gradients": 1.4, "equal": 0.0}
        assert found["holds"].all()
        assert found.loc["gradients", "debiased"] == pytest.approx(1.4, abs=0.25)
        assert found.loc["equal", "debiased"] < 0.4
        known = fake_discovery.calibration.query("affinity == 'cos4'")
        assert len(known) == 12
        assert np.corrcoef(known["true"], known["found"])[0, 1] > 0.95

    def test_what_is_not_learned_does_harm_unless_left_out(self, fake_discovery):
        scores = scores_of(fake_discovery, "cos4")
        assert scores.loc["all", "n_clusters"] == 12
        assert scores.loc["all", "ari"] < scores.loc["gradients", "ari"]
        assert scores.loc["low_loss", "ari"] > 0.9  # here, no sample has a low loss by chance

    def test_the_sweep_holds_the_truth_and_the_eigengap(self, fake_discovery):
        sweep = fake_discovery.sweep.query("affinity == 'cos4'").set_index("n_clusters")
        assert sweep.index.is_monotonic_increasing
        assert (sweep.index[0], sweep.index[-1]) == (2, 24)
        assert "truth" in sweep.loc[8, "chosen_by"]
        assert sweep["chosen_by"].str.contains("eigengap").sum() == 1
        assert sweep["ari"].max() > 0.95

    def test_what_is_drawn_belongs_together(self, fake_discovery):
        for name in ("angular", "cos4"):
            clusters = fake_discovery.clusters[name]
            assert clusters.affinity.shape == (300, 300)
            assert np.bincount(clusters.cluster, minlength=8).tolist() == clusters.sizes["gradients"].tolist()
            assert clusters.sizes["truth"].sum() == 300
            assert {"equal", "hidden", "input", "bits", "untrained"} < set(clusters.sizes)

    def test_is_the_same_again_and_says_how_far_it_is(self, fake_network, law, fake_discovery):
        told = []
        again = discover(fake_network(), law, n_samples=300, n_simulated=12, advance=told.append)
        assert again == fake_discovery
        assert 0.8 * count_clusterings(2, 12) < sum(told) <= count_clusterings(2, 12)
        other = discover(fake_network(), law, n_samples=300, n_simulated=12, seed=1)
        assert other != fake_discovery

    @pytest.mark.parametrize("n_learned", [0, 1])
    def test_needs_two_learned_subtasks(self, fake_network, law, n_learned):
        with pytest.raises(
            TooFewPoints, match=f"must have learned 2 subtasks or more, not {n_learned} of 12"
        ):
            discover(fake_network(n_learned), law)

    def test_needs_more_samples_than_clusters(self, fake_network, law):
        with pytest.raises(TooFewPoints, match=r"samples must be more than the 24 clusters.*, not 24"):
            discover(fake_network(), law, n_samples=24)


class TestSummary:
    def test_means_over_seeds(self, fake_discovery):
        tables = tabulate_discoveries({3: fake_discovery, 5: fake_discovery})
        assert set(tables["scores"]["seed"]) == {3, 5}
        row = tables["summary"].query("affinity == 'cos4' and of == 'gradients'").iloc[0]
        one = scores_of(fake_discovery, "cos4").loc["gradients"]
        assert row["ari"] == row["ari_lower"] == row["ari_upper"] == one["ari"]
        assert tables["recovered"]["n_seeds"].tolist() == [2] * 4
        holds = fake_discovery.exponents["holds"].to_numpy()
        assert tables["recovered"]["n_holds"].tolist() == (2 * holds).tolist()

    def test_one_seed_has_no_interval(self, fake_discovery):
        row = tabulate_discoveries({0: fake_discovery})["summary"].iloc[0]
        assert row["ari_lower"] is None or np.isnan(row["ari_lower"])

    def test_every_column_has_a_meaning_and_no_other(self, fake_discovery):
        tables = tabulate_discoveries({0: fake_discovery})
        assert DISCOVERY.keys() == tables.keys()
        for name, table in tables.items():
            assert set(table.columns) == set(DISCOVERY[name]), name
