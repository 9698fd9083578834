import numpy as np
import pytest
from drawn import line, texts, ticks
from matplotlib.colors import LogNorm

from quanta.analysis.axes import D, N, S
from quanta.analysis.figures.emergence import plot_emergence_map
from quanta.analysis.figures.learning import plot_learning_curves, plot_learning_curves_grid
from quanta.analysis.verdict.statistics import measure
from quanta.tasks.frequencies import zipf_frequencies


class TestLearningCurves:
    def test_draws_every_subtask_as_measured_coloured_by_rank(self, simulated):
        ax = plot_learning_curves(simulated, width=64, seed=1)
        (curves,) = ax.collections
        ranks = curves.get_array()
        assert sorted(ranks) == list(range(1, 33))
        assert isinstance(curves.norm, LogNorm)
        assert (curves.norm.vmin, curves.norm.vmax) == (1, 32)
        one = simulated.base.curves.sel(width=64, seed=1).isel(step=slice(1, None), n_train=0)
        for rank, segment in zip(ranks, curves.get_segments(), strict=True):
            np.testing.assert_allclose(segment[:, 0], one["step"])
            np.testing.assert_allclose(segment[:, 1], one["loss"].sel(subtask=rank))  # not made monotone

    def test_losses_are_shares_of_chance(self, quanta_world, slice_of):
        p = zipf_frequencies(4, 0.4)
        loss, chance = np.full((1, 1, 3, 4), 2.0), np.array([2.0, 4.0, 8.0, 16.0])
        ax = plot_learning_curves(slice_of(loss, p, chance=chance))
        shares = {segment[0, 1] for segment in ax.collections[0].get_segments()}
        assert shares == {1.0, 0.5, 0.25, 0.125}
        np.testing.assert_allclose(line(ax, "mean loss").get_ydata(), 2.0 / (p @ chance))

    def test_draws_mean_loss_threshold_and_axes(self, world, quanta_world):
        statistics = measure(quanta_world(scatter=0.4), 0.2)
        ax = plot_learning_curves(statistics, width=64, seed=1)
        mean = line(ax, "mean loss, seed 1")
        np.testing.assert_allclose(mean.get_ydata(), world.base.curves["mean_loss"].sel(width=64, seed=1)[0])
        assert mean.get_linewidth() > 2 * ax.collections[0].get_linewidth()[0]
        assert set(line(ax, "τ = 0.2").get_ydata()) == {0.2}
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("optimisation step S", "loss / chance")

    def test_takes_the_first_seed_and_the_widest_if_none_is_chosen(self, world):
        mean = line(plot_learning_curves(world), "mean loss, seed 0")
        expected = world.base.curves["mean_loss"].sel(width=128, seed=0)[0]
        np.testing.assert_allclose(mean.get_ydata(), expected)

    def test_takes_the_most_training_examples(self, data_world):
        ax = plot_learning_curves(data_world)
        ends = [segment[-1, 1] for segment in ax.collections[0].get_segments()]
        assert max(ends) == pytest.approx(0.01)

    def test_starts_after_step_0_and_ends_at_an_early_stop(self, stopped):
        ax = plot_learning_curves(stopped, width=40, seed=1)
        for segment in ax.collections[0].get_segments():
            assert segment[:, 0].tolist() == [1, 10, 100]
        assert line(ax, "mean loss").get_xdata().tolist() == [1, 10, 100]
        assert ax.get_xlim() == (1, 1000)

    def test_shows_losses_far_above_chance(self, slice_of):
        loss = np.full((1, 1, 3, 2), 7.0)
        assert plot_learning_curves(slice_of(loss, [0.5, 0.5])).get_ylim()[1] > 7

    def test_refuses_what_the_slice_does_not_hold(self, world):
        with pytest.raises(ValueError, match=r"width must be one of 4, 6, .*, 128, not 5"):
            plot_learning_curves(world, width=5)
        with pytest.raises(ValueError, match="seed must be one of 0, 1, 2, not 3"):
            plot_learning_curves(world, width=4, seed=3)

    def test_too_few_evaluations_are_said(self, slice_of):
        ax = plot_learning_curves(slice_of(np.ones((1, 1, 2, 4)), zipf_frequencies(4, 0.4)))
        assert texts(ax) == ["fewer than two evaluations\nafter step 0"]


class TestLearningCurvesGrid:
    def test_spreads_six_widths_over_the_ladder_with_one_colour_bar(self, world):
        figure = plot_learning_curves_grid(world)
        *panels, bar = figure.axes
        assert [ax.get_title() for ax in panels] == [f"width {w}" for w in (4, 8, 16, 32, 64, 128)]
        assert bar.get_ylabel() == "subtask (frequency rank)"
        assert figure.get_size_inches()[0] == 7

    def test_draws_the_chosen_widths_on_common_axes(self, slice_of):
        loss = np.ones((1, 4, 3, 2))
        loss[0, 1] = 5.0
        figure = plot_learning_curves_grid(slice_of(loss, [0.6, 0.4]), widths=[1, 2, 3, 4])
        *panels, _ = figure.axes
        assert len(panels) == 4
        assert {ax.get_ylim() for ax in panels} == {(-0.02, 5.25)}


class TestEmergenceMap:
    @pytest.mark.parametrize("axis", [N, S, D], ids=lambda axis: axis.name)
    def test_colours_are_the_shares_left(self, worlds, axis):
        statistics = worlds["data" if axis == D else "world"]
        ax = plot_emergence_map(statistics, axis=axis)
        (mesh,) = ax.collections
        one = statistics.base.traces[axis.name]
        np.testing.assert_allclose(mesh.get_array(), one.left.mean(axis=0).T)
        assert mesh.get_clim() == (0, 1)
        edges = mesh.get_coordinates()[0, :, 0]
        assert ((edges[:-1] < one.x) & (one.x < edges[1:])).all()
        assert mesh.get_coordinates()[:, 0, 1].tolist() == [k + 0.5 for k in range(one.frequency.size + 1)]
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == (axis.label, "subtask (frequency rank)")
        seeds = "mean of 2 seeds" if axis == D else "mean of 3 seeds"
        assert mesh.colorbar.ax.get_ylabel() == f"share of chance left, {seeds}"

    def test_networks_of_equal_size_are_averaged(self, slice_of):
        loss = np.ones((1, 3, 2, 2))
        loss[0, 1] = 0.5
        ax = plot_emergence_map(slice_of(loss, [0.5, 0.5], width=[1, 2, 3], n_parameters=[100, 100, 200]))
        np.testing.assert_allclose(ax.collections[0].get_array(), [[0.75, 1.0], [0.75, 1.0]])

    def test_marks_ranks_and_says_when_a_loss_is_above_the_colours(self, slice_of):
        maps = [
            plot_emergence_map(slice_of(np.full((1, 1, 2, 4), top), zipf_frequencies(4, 0.4)))
            for top in (1.0, 3.0)
        ]
        assert [ax.collections[0].colorbar.extend for ax in maps] == ["neither", "max"]
        assert ticks(maps[0].yaxis) == ["1", "2"]
