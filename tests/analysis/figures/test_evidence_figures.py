import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import labels, texts
from quanta.analysis.learned.discreteness import METRICS, measure_discreteness, ridge_drop
from quanta.analysis.learned.reconstruction import measure_reconstruction

from quanta.analysis.figures import style
from quanta.analysis.figures.evidence import plot_drops, plot_final_values, plot_reconstruction_null
from quanta.analysis.learned.times import count_learned, learning_times, select
from quanta.analysis.theories.worlds import simulate

each_plot = pytest.mark.parametrize("plot", [plot_final_values, plot_drops, plot_reconstruction_null])


@pytest.fixture(scope="module")
def world():
    return select(simulate("sigmoid", n_subtasks=20, steps=2000))


class TestFinalValues:
    def test_every_value_is_counted_once_in_each_metric(self, world):
        ax = plot_final_values(world)
        outlines = [patch for patch in ax.patches if patch.get_label().startswith(("loss", "2 (", "4 ×"))]
        assert len(outlines) == len(METRICS)
        for outline in outlines:
            heights = outline.get_xy()[1:-1:2, 1]
            assert heights.sum() == pytest.approx(1)

    def test_labels_hold_the_shares(self, world):
        found = measure_discreteness(world)
        for label, one in zip(labels(plot_final_values(world)), found.values(), strict=True):
            assert f"{100 * one.share_between.estimate:.1f}% between 0.1 and 0.9" in label

    def test_draws_the_metrics_there_are(self, world):
        assert len(labels(plot_final_values(world.drop_vars(["accuracy", "brier"])))) == 1

    def test_large_values_are_in_the_last_bar(self, slice_of):
        ax = plot_final_values(slice_of(np.full((1, 1, 2, 3), 40.0), [0.5, 0.3, 0.2]))
        assert ax.patches[-1].get_xy()[1:-1:2, 1].tolist() == [0] * 25 + [1]


class TestDrops:
    def test_draws_what_was_learned_aligned_at_half(self, world):
        ax = plot_drops(world)
        n_learned = int(count_learned(learning_times(world)).isel(width=-1).sum())
        curves = [
            segment
            for collection in ax.collections
            for segment in collection.get_segments()
            if len(segment) and np.isfinite(segment[:, 0]).all()
        ]
        assert len(curves) == n_learned
        for curve in curves:
            after = curve[curve[:, 0] > 1, 1]
            # The last crossing: below from there on. Interpolated, so a float's rounding off.
            assert (after < 0.5 + 1e-6).all()
            assert curve[curve[:, 0] < 1, 1][-1] >= 0.5

    def test_references_are_the_documented_forms(self, world):
        (ridge,) = [line for line in plot_drops(world).lines if "ridge" in line.get_label()]
        x, y = ridge.get_data()
        assert np.array_equal(y, ridge_drop(x))

    def test_says_the_factor_of_that_width(self, world):
        ax = plot_drops(world, width=64)
        found = measure_discreteness(world.sel(width=[64]), metrics=("loss",))["loss"].drop_factor
        assert f"measured: factor {found.estimate:.1f} from 0.9 to 0.1 bit" in labels(ax)
        assert ax.get_legend().get_title().get_text().startswith("width 64, ")

    def test_refuses_a_width_that_is_not_there(self, world):
        with pytest.raises(ValueError, match=r"width must be one of 4, 6, .*, not 5"):
            plot_drops(world, width=5)


class TestReconstructionNull:
    def test_shows_the_gap_and_both_p_values(self, world):
        found = measure_reconstruction(world, learning_times(world))
        ax = plot_reconstruction_null(world)
        (measured,) = ax.lines
        assert set(measured.get_xdata()) == {found.rms_gap}
        assert labels(ax)[:2] == [
            f"any subtasks, as many (p = {found.null_of_sets.p_value:.2g})",
            f"frequencies exchanged (p = {found.null_of_frequencies.p_value:.2g})",
        ]

    def test_says_when_everything_is_learned(self, quanta_world):
        ax = plot_reconstruction_null(quanta_world(capacity=100, sharpness=np.inf, n_subtasks=8))
        assert texts(ax) == ["everything learned"]

    def test_tau_moves_what_is_learned(self, world):
        gaps = [plot_reconstruction_null(world, tau=tau).lines[0].get_xdata()[0] for tau in (0.05, 0.5)]
        assert gaps[0] != gaps[1]


class TestAll:
    @each_plot
    def test_draws_on_given_axes_and_leaves_pyplot_alone(self, world, plot):
        figure, (left, right) = plt.subplots(1, 2)
        assert plot(world, right) is right
        assert not left.has_data()
        plt.close(figure)
        plot(world)
        assert not plt.get_fignums()

    @each_plot
    @pytest.mark.parametrize(
        "options",
        [
            {"capacity": 0},
            {"capacity": 100, "sharpness": np.inf, "n_subtasks": 8},
            {"n_seeds": 1, "widths": np.array([8])},
            {"n_subtasks": 3, "n_seeds": 2},
            {"steps": np.array([0])},
            {"steps": np.array([0, 1])},
        ],
    )
    def test_shows_data_or_says_why_not(self, quanta_world, plot, options):
        ax = plot(quanta_world(**options))
        ax.figure.draw_without_rendering()
        assert ax.has_data() or texts(ax)

    @each_plot
    def test_same_curves_give_the_same_bytes(self, world, plot, tmp_path):
        for name in ("one", "two"):
            style.write(plot(world).figure, tmp_path / name, "svg")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
