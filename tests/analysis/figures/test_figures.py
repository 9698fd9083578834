import re
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import labels, line, texts
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import AxLine

from quanta.analysis.figures import style
from quanta.analysis.figures.gallery import save_figures
from quanta.analysis.figures.learning import (
    plot_count,
    plot_emergence_map,
    plot_learning_curves,
    plot_learning_curves_grid,
    plot_learning_times,
    plot_loss_scaling,
    plot_q_sequence,
    plot_reconstruction,
)
from quanta.analysis.learned.order import concordance
from quanta.analysis.learned.times import (
    count_learned,
    final_loss,
    final_mean_loss,
    learning_times,
    unlearned_mass,
)
from quanta.analysis.theories.quanta import expected_loss_vs_parameters
from quanta.analysis.verdict.judge import judge
from quanta.tasks.frequencies import zipf_frequencies

NAMES = [
    "learning_curves",
    "emergence_map",
    "loss_scaling",
    "count",
    "learning_times",
    "reconstruction",
    "q_sequence",
]
PLOTS = [
    lambda curves, ax=None: plot_learning_curves(curves, ax, width=int(curves["width"][-1])),
    plot_emergence_map,
    plot_loss_scaling,
    plot_count,
    plot_learning_times,
    plot_reconstruction,
    plot_q_sequence,
]
# Those drawn in the files beside `figures`, which have tests of their own.
ALL_NAMES = [
    *NAMES,
    "consensus",
    "agreement",
    "scaling_fits",
    "window_audit",
    "final_values",
    "drops",
    "reconstruction_null",
]
each_plot = pytest.mark.parametrize("plot", PLOTS, ids=NAMES)


@pytest.fixture(scope="module")
def world(quanta_world):
    """3 seeds that learn at different times, and so slightly out of order."""
    return quanta_world(scatter=0.4)


@pytest.fixture(scope="module")
def small(quanta_world):
    return quanta_world(n_subtasks=8, widths=np.array([8, 32]), n_seeds=2, scatter=0.4)


@pytest.fixture(scope="module")
def saved(small, tmp_path_factory):
    """Return the files of all figures, as PNG and as SVG."""
    folder = tmp_path_factory.mktemp("figures")
    return {format: save_figures(small, folder / "new" / format, format=format) for format in ("png", "svg")}


@pytest.fixture(scope="module")
def stopped(slice_of):
    """2 seeds, 3 widths, steps 0 1 10 100 1000, K = 4: one network stops early, one knew subtask 1 at once.

    Subtask k < 4 is learned between 10^(k-1) and 10^k by the widths that have room for it; 4 never.
    """
    step = np.array([0, 1, 10, 100, 1000])
    loss = np.ones((2, 3, 5, 4))
    for width in range(3):
        for k in range(width + 1):
            loss[:, width, k + 2 :, k] = 0.01
    loss[0, 2, 1:, 0] = 0.01
    loss[1, 2, 4:] = np.nan
    return slice_of(loss, zipf_frequencies(4, 0.4), step=step, width=[10, 20, 40])


def points(lines):
    """The points of some lines, in order."""
    xy = np.concatenate([np.column_stack(one.get_data()).reshape(-1, 2) for one in lines])
    return xy[np.lexsort(xy.T)]


def draw_all(curves):
    """Lay out every figure, as writing it would; each shows data or says why it cannot."""
    plot_learning_curves_grid(curves).draw_without_rendering()
    for plot in PLOTS:
        ax = plot(curves)
        ax.figure.draw_without_rendering()
        assert ax.has_data() or texts(ax)


class TestLearningCurves:
    def test_draws_every_subtask_coloured_by_rank(self, world):
        ax = plot_learning_curves(world, width=64, seed=1)
        (curves,) = ax.collections
        ranks = curves.get_array()
        assert sorted(ranks) == list(range(1, 65))
        assert isinstance(curves.norm, LogNorm)
        assert (curves.norm.vmin, curves.norm.vmax) == (1, 64)
        one = world.sel(width=64, seed=1)
        for rank, segment in zip(ranks, curves.get_segments(), strict=True):
            np.testing.assert_allclose(segment[:, 0], one["step"])
            np.testing.assert_allclose(segment[:, 1], one["loss"].sel(subtask=rank))

    def test_draws_mean_loss_threshold_and_axes(self, world):
        ax = plot_learning_curves(world, width=64, seed=1, tau=0.2)
        mean = line(ax, "mean loss, seed 1")
        np.testing.assert_allclose(mean.get_ydata(), world["mean_loss"].sel(width=64, seed=1))
        assert mean.get_linewidth() > 2 * ax.collections[0].get_linewidth()[0]
        assert set(line(ax, "τ = 0.2").get_ydata()) == {0.2}
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("optimisation step", "loss (bits)")

    def test_takes_the_first_seed_if_none_is_chosen(self, world):
        mean = line(plot_learning_curves(world, width=64), "mean loss, seed 0")
        np.testing.assert_allclose(mean.get_ydata(), world["mean_loss"].sel(width=64, seed=0))

    def test_starts_after_step_0_and_ends_at_an_early_stop(self, stopped):
        ax = plot_learning_curves(stopped, width=40, seed=1)
        for segment in ax.collections[0].get_segments():
            assert segment[:, 0].tolist() == [1, 10, 100]
        assert ax.get_xlim() == (1, 1000)

    def test_shows_losses_far_above_chance(self, slice_of):
        loss = np.full((1, 1, 3, 2), 7.0)
        ax = plot_learning_curves(slice_of(loss, [0.5, 0.5]), width=1)
        assert ax.get_ylim()[1] > 7

    def test_refuses_what_the_slice_does_not_hold(self, world):
        with pytest.raises(ValueError, match=r"width must be one of 4, 6, .*, 128, not 5"):
            plot_learning_curves(world, width=5)
        with pytest.raises(ValueError, match="seed must be one of 0, 1, 2, not 3"):
            plot_learning_curves(world, width=4, seed=3)


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
    def test_colours_are_final_losses(self, stopped):
        ax = plot_emergence_map(stopped)
        (mesh,) = ax.collections
        expected = final_loss(stopped).mean("seed").transpose("subtask", "width")
        np.testing.assert_allclose(mesh.get_array(), expected)
        assert mesh.get_clim() == (0, 1)
        assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "20", "40"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "subtask (frequency rank)")
        assert ax.get_ylim() == (0.5, 4.5)

    def test_labels_at_most_twelve_columns_and_the_widest(self, quanta_world):
        ax = plot_emergence_map(quanta_world(widths=np.arange(10, 40), n_subtasks=8, n_seeds=1))
        shown = [text.get_text() for text in ax.get_xticklabels()]
        assert shown == ["12", "15", "18", "21", "24", "27", "30", "33", "36", "39"]
        assert ax.get_xticks()[-1] == 29

    def test_says_when_a_loss_is_above_the_colours(self, slice_of):
        bars = [
            plot_emergence_map(slice_of(np.full((1, 1, 2, 2), top), [0.5, 0.5])).collections[0].colorbar
            for top in (1.0, 3.0)
        ]
        assert [bar.extend for bar in bars] == ["neither", "max"]


class TestLossScaling:
    def test_dots_are_final_mean_losses_of_every_seed(self, world):
        ax = plot_loss_scaling(world)
        dots = line(ax, "3 seeds")
        np.testing.assert_allclose(dots.get_xdata(), np.tile(world["n_parameters"], 3))
        np.testing.assert_allclose(dots.get_ydata(), final_mean_loss(world).values.ravel())
        mean = line(ax, "geometric mean").get_ydata()
        np.testing.assert_allclose(mean, np.exp(np.log(final_mean_loss(world)).mean("seed")))
        (band,) = ax.collections
        corners = band.get_paths()[0].vertices
        for n, column in zip(world["n_parameters"], final_mean_loss(world).T, strict=True):
            y = corners[corners[:, 0] == int(n), 1]
            np.testing.assert_allclose([y.min(), y.max()], [column.min(), column.max()])
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters N", "mean loss (bits)")

    def test_shows_the_slope_of_the_verdict(self, world):
        estimate = judge(world, n_bootstrap=1).exponents["alpha_N"].estimate
        assert f"power-law fit, slope −{estimate:.2f}" in labels(plot_loss_scaling(world))

    def test_theory_is_that_of_the_counts(self, world):
        counts = count_learned(learning_times(world))
        expected = expected_loss_vs_parameters(world["frequency"], world["n_parameters"], counts)
        ax = plot_loss_scaling(world)
        np.testing.assert_allclose(line(ax, "n ∝ N, exact for K = 64").get_ydata(), expected)

    def test_guide_has_the_slope_of_infinite_k(self, world, uniform):
        guide = line(plot_loss_scaling(world), "infinite K, slope −α = −0.40")
        slopes = np.diff(np.log(guide.get_ydata())) / np.diff(np.log(guide.get_xdata()))
        np.testing.assert_allclose(slopes, -0.4)
        assert not [label for label in labels(plot_loss_scaling(uniform)) if "infinite" in label]

    def test_says_why_there_is_no_fit_or_theory(self, slice_of):
        two_widths = slice_of(np.ones((1, 2, 3, 2)), [0.6, 0.4])
        assert labels(plot_loss_scaling(two_widths)) == [
            "1 seed",
            "no fit: fewer than 3 widths with a loss",
            "no theory: nothing, or everything, learned",
        ]


class TestCount:
    def test_draws_the_counts_and_their_mean(self, world):
        ax = plot_count(world)
        counts = count_learned(learning_times(world))
        np.testing.assert_array_equal(line(ax, "3 seeds").get_ydata(), counts.values.ravel())
        np.testing.assert_allclose(line(ax, "mean").get_ydata(), counts.mean("seed"))
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "symlog")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters N", "subtasks learned n")
        assert 0 in ax.get_yticks()

    def test_guide_is_in_proportion_to_parameters(self, world):
        x, y = line(plot_count(world), "n ∝ N").get_data()
        assert y[1] / y[0] == pytest.approx(x[1] / x[0])
        learned = count_learned(learning_times(world)).values
        n = np.broadcast_to(world["n_parameters"].values, learned.shape)
        ratio = np.log(learned[learned > 0] / n[learned > 0])
        assert y[0] / x[0] == pytest.approx(np.exp(ratio.mean()))

    def test_shows_k_where_it_is_near(self, quanta_world):
        assert "K = 8" in labels(plot_count(quanta_world(n_subtasks=8)))
        assert "K = 64" not in labels(plot_count(quanta_world(n_subtasks=64)))


class TestLearningTimes:
    def test_every_subtask_of_every_seed_is_marked_once(self, stopped):
        ax = plot_learning_times(stopped)
        p = stopped["frequency"].values
        times = learning_times(stopped).sel(width=40)
        drawn = {
            marker: points([one for one in ax.lines if one.get_marker() == marker and len(one.get_xdata())])
            for marker in "ov^"
        }
        known = times["learned"].values & (times["step_lower"] > 0).values
        x, y = np.broadcast_to(p, (2, 4))[known], times["step"].values[known]
        order = np.lexsort((x, y))
        np.testing.assert_allclose(drawn["o"], np.column_stack([x, y])[order])
        # Seed 0 knew subtask 1 by step 1 and never learned 4; seed 1 stopped at 100 without 3 and 4.
        np.testing.assert_allclose(drawn["v"], [[p[0], 1]])
        np.testing.assert_allclose(drawn["^"], [[p[3], 100], [p[2], 100], [p[3], 1000]])
        assert len(drawn["o"]) + len(drawn["v"]) + len(drawn["^"]) == 8

    def test_line_has_slope_minus_one_through_the_learned(self, ideal):
        ax = plot_learning_times(ideal)
        x, y = line(ax, "S$_k$").get_data()
        np.testing.assert_allclose(x * y, 100, rtol=1e-3)  # the world is S_k = 100 / p_k
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("frequency p$_k$", "step learned S$_k$")

    def test_no_slope_under_equal_frequencies(self, uniform):
        assert not [label for label in labels(plot_learning_times(uniform)) if "∝" in label]

    def test_shows_the_width_chosen_and_the_widest_by_default(self, world):
        assert plot_learning_times(world).get_legend().get_title().get_text() == "width 128, 3 seeds (shades)"
        ax = plot_learning_times(world, width=23)
        assert ax.get_legend().get_title().get_text() == "width 23, 3 seeds (shades)"
        assert len(points(ax.lines[:-1])) == 3 * 64
        with pytest.raises(ValueError, match="width must be one of"):
            plot_learning_times(world, width=5)


class TestReconstruction:
    def test_draws_measured_against_reconstructed_coloured_by_width(self, world):
        ax = plot_reconstruction(world)
        (dots,) = ax.collections
        x, y = dots.get_offsets().T
        np.testing.assert_allclose(x, unlearned_mass(learning_times(world)).values.ravel())
        np.testing.assert_allclose(y, final_mean_loss(world).values.ravel())
        np.testing.assert_array_equal(dots.get_array(), np.tile(world["width"], 3))
        (xy,) = {(one.get_xy1(), one.get_xy2()) for one in ax.lines if isinstance(one, AxLine)}
        assert all(x == y for x, y in xy)
        assert ax.get_xlim() == ax.get_ylim()

    @pytest.mark.parametrize("name", ["world", "shuffled", "smooth", "uniform"])
    def test_shows_the_r_squared_of_the_verdict(self, request, name):
        curves = request.getfixturevalue(name)
        (check,) = [check for check in judge(curves, n_bootstrap=1).checks if check.name == "reconstruction"]
        r_squared = f"{check.statistic:.3f}".replace("-", "−")
        assert f"R² of log loss = {r_squared}" in labels(plot_reconstruction(curves))

    def test_counts_the_networks_it_cannot_show(self, quanta_world):
        ax = plot_reconstruction(quanta_world(n_subtasks=8))
        left = (unlearned_mass(learning_times(quanta_world(n_subtasks=8))) > 0).values
        assert 0 < left.sum() < left.size
        assert f"{left.size - left.sum()} of {left.size} not shown: everything learned" in labels(ax)
        assert len(ax.collections[0].get_offsets()) == left.sum()


class TestQSequence:
    def test_draws_order_against_rank(self, world):
        ax = plot_q_sequence(world, width=128)
        seeds = ax.lines[:3]
        for seed, drawn in enumerate(seeds):
            step = learning_times(world)["step"].sel(seed=seed, width=128).dropna("subtask")
            by_time = step["subtask"].values[np.argsort(step.values)]
            rank, order = drawn.get_data()
            assert rank[np.argsort(order)].tolist() == by_time.tolist()
        identity = line(ax, "order = rank")
        np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("subtask (frequency rank)", "order learned")

    def test_legend_tells_count_and_concordance(self, world):
        found = concordance(learning_times(world)).sel(width=128).values
        assert found.min() < found.max()
        counts = count_learned(learning_times(world)).sel(width=128).values
        count = f"{counts.min()} to {counts.max()} of 64 learned"
        label = f"{count}, concordance {found.min():.3f} to {found.max():.3f}"
        assert label in labels(plot_q_sequence(world))


class TestAxes:
    @each_plot
    def test_given_axes_are_used_and_returned(self, world, plot):
        ax = Figure().add_subplot()
        assert plot(world, ax) is ax
        assert ax.has_data()

    @each_plot
    def test_new_axes_are_single_column_and_unknown_to_pyplot(self, world, plot):
        ax = plot(world)
        assert isinstance(ax, Axes)
        assert 3.4 <= ax.figure.get_size_inches()[0] <= 3.6
        assert plt.get_fignums() == []

    @each_plot
    @pytest.mark.parametrize("name", ["world", "stopped"])
    def test_nothing_leaves_the_figure_and_the_legend_covers_no_data(self, request, plot, name):
        ax = plot(request.getfixturevalue(name))
        figure = ax.figure
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        inside = figure.get_tightbbox()
        assert inside.x0 >= -0.01
        assert inside.y0 >= -0.01
        assert inside.x1 <= width + 0.01
        assert inside.y1 <= height + 0.01
        if ax.get_legend() is not None:
            assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1

    @each_plot
    def test_settings_of_the_process_stay(self, world, plot):
        with mpl.rc_context({"font.size": 17.0, "lines.linewidth": 5.0}):
            before = dict(mpl.rcParams)
            plot(world)
            assert dict(mpl.rcParams) == before

    def test_settings_stay_after_an_error(self, world):
        before = dict(mpl.rcParams)
        with pytest.raises(ValueError, match="width"):
            plot_q_sequence(world, width=5)
        assert dict(mpl.rcParams) == before

    def test_threads_draw_the_same_and_settings_stay(self, small, tmp_path):
        def draw(i):
            style.write(plot_count(small).figure, tmp_path / f"{i}.svg", "svg")
            return (tmp_path / f"{i}.svg").read_bytes()

        before = dict(mpl.rcParams)
        with ThreadPoolExecutor(4) as pool:
            made = set(pool.map(draw, range(8)))
        assert dict(mpl.rcParams) == before
        assert len(made) == 1


class TestSaveFigures:
    @pytest.mark.parametrize(("format", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml")])
    def test_writes_all_under_their_names(self, saved, format, magic):
        paths = saved[format]
        assert [path.name for path in paths] == [f"{name}.{format}" for name in ALL_NAMES]
        assert sorted(paths[0].parent.iterdir()) == sorted(paths)
        assert all(path.read_bytes().startswith(magic) for path in paths)

    def test_same_bytes_for_readers_with_other_settings(self, saved, small, tmp_path):
        with mpl.rc_context({"font.size": 17.0, "axes.labelweight": "bold", "svg.fonttype": "path"}):
            again = save_figures(small, tmp_path, format="svg")
        assert [path.read_bytes() for path in again] == [path.read_bytes() for path in saved["svg"]]

    @pytest.mark.parametrize("format", ["png", "pdf"])
    def test_same_bytes_in_the_other_formats(self, small, tmp_path, format):
        for name in ("one", "other"):
            style.write(plot_count(small).figure, tmp_path / name, format)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()

    def test_png_has_200_pixels_an_inch(self, saved):
        for path in saved["png"]:
            n_rows, n_columns, _ = plt.imread(path).shape
            assert n_columns == (1400 if path.stem == "learning_curves" else 700)
            assert n_rows >= 400

    def test_text_stays_text_and_there_is_no_date(self, saved, small, tmp_path):
        for path in saved["svg"]:
            svg = path.read_text(encoding="utf-8")
            assert re.search(r"<text[^>]*>[^<]*[a-z]{4}", svg)
            assert "dc:date" not in svg
        style.write(plot_count(small).figure, tmp_path / "count.pdf", "pdf")
        pdf = (tmp_path / "count.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert b"/CIDFontType2" in pdf
        assert b"/Subtype /Type3" not in pdf
        assert b"CreationDate" not in pdf

    def test_threshold_reaches_the_figures(self, world, monkeypatch, tmp_path):
        drawn = {}

        def keep(figure, path, format):
            ax = figure.axes[0]
            marks = [one.get_xydata().tolist() for one in ax.lines]
            offsets = [one.get_offsets().tolist() for one in ax.collections]
            drawn.setdefault(path.stem, []).append(str(marks + offsets))

        monkeypatch.setattr(style, "write", keep)
        save_figures(world, tmp_path, tau=0.1)
        save_figures(world, tmp_path, tau=0.01)
        changed = {name for name, (usual, strict) in drawn.items() if usual != strict}
        # These look at final values, or at the loss against N, whatever counts as learned.
        assert changed == set(ALL_NAMES) - {"emergence_map", "scaling_fits", "final_values", "drops"}

    def test_refuses_other_formats(self, small, tmp_path):
        with pytest.raises(ValueError, match="format must be one of png, svg, pdf, not 'jpg'"):
            save_figures(small, tmp_path / "none", format="jpg")
        assert not (tmp_path / "none").exists()


class TestDegenerate:
    """Warnings are errors here, so none of these may warn."""

    @pytest.mark.parametrize(
        ("shape", "value"),
        [
            ((1, 1, 1, 1), 1.0),
            ((1, 1, 2, 1), 0.0),
            ((2, 2, 1, 4), 0.05),
            ((2, 3, 5, 4), 0.0),
            ((1, 3, 5, 4), 9.0),
        ],
        ids=str,
    )
    def test_constant_losses(self, slice_of, shape, value):
        draw_all(slice_of(np.full(shape, value), zipf_frequencies(shape[-1], 0.4)))

    def test_stop_right_after_step_0(self, slice_of):
        loss = np.ones((2, 3, 5, 4))
        loss[:, :2, 1:] = np.nan
        curves = slice_of(loss, zipf_frequencies(4, 0.4))
        draw_all(curves)
        assert texts(plot_learning_times(curves, width=1)) == ["no evaluation after step 0"]

    def test_alpha_not_known(self, slice_of):
        loss = np.ones((1, 3, 5, 4))
        loss[:, :, 3:, 0] = 0.01
        curves = slice_of(loss, zipf_frequencies(4, 0.4), alpha=np.nan)
        assert [label.split(",")[0] for label in labels(plot_loss_scaling(curves))] == [
            "1 seed",
            "power-law fit",
            "n ∝ N",
        ]

    def test_some_losses_of_zero(self, slice_of):
        loss = np.ones((2, 4, 5, 4))
        loss[:, 1:, 2:, 0] = 0.01
        loss[0, 3, 4] = 0.0
        ax = plot_loss_scaling(slice_of(loss, zipf_frequencies(4, 0.4)))
        assert np.isfinite(line(ax, "geometric mean").get_ydata()).tolist() == [True, True, True, False]
        assert line(ax, "power-law fit").get_xdata().tolist() == [100, 200, 300]

    @pytest.mark.parametrize("plot", [plot_count, plot_reconstruction, plot_q_sequence])
    def test_nothing_learned_is_said(self, slice_of, plot):
        curves = slice_of(np.ones((1, 3, 5, 4)), zipf_frequencies(4, 0.4))
        assert texts(plot(curves)) == ["nothing learned"]

    def test_everything_learned_is_said(self, slice_of):
        loss = np.full((1, 3, 5, 4), 0.01)
        ax = plot_reconstruction(slice_of(loss, zipf_frequencies(4, 0.4)))
        assert texts(ax) == ["everything learned"]

    def test_too_few_evaluations_are_said(self, slice_of):
        ax = plot_learning_curves(slice_of(np.ones((1, 1, 2, 4)), zipf_frequencies(4, 0.4)), width=1)
        assert texts(ax) == ["fewer than two evaluations\nafter step 0"]


class TestStyle:
    def test_ticks_125(self):
        assert style.ticks_125(1, 64) == [1, 2, 5, 10, 20, 50]
        assert style.ticks_125(0.02, 0.5) == [0.02, 0.05, 0.1, 0.2, 0.5]
        assert style.ticks_125(1, 1) == [1]

    def test_thin_keeps_the_last(self):
        assert style.thin([1, 2, 3, 4, 5], 5) == [1, 2, 3, 4, 5]
        assert style.thin([1, 2, 3, 4, 5], 4) == [1, 3, 5]
        assert style.thin([1, 2, 3, 4, 5, 6], 3) == [2, 4, 6]
        assert style.thin([1], 12) == [1]

    def test_number_has_a_true_minus_and_no_minus_zero(self):
        assert [style.number(x) for x in (-0.456, -0.001, 0.0, 2)] == ["−0.46", "0.00", "0.00", "2.00"]

    def test_span(self):
        assert style.span(np.array([3, 5, 4])) == "3 to 5"
        assert style.span(np.array([0.9991, 0.9994]), 3) == "0.999"

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0.16, 0.9, ["0.2", "0.5"]),
            (300, 15000, ["500", "1000", "2000", "5000", "10000"]),
            (3e3, 3e5, [r"$5{\times}10^{3}$", r"$10^{4}$", r"$2{\times}10^{4}$", r"$5{\times}10^{4}$"]),
            (1, 1e6, [r"$\mathdefault{10^{0}}$", r"$\mathdefault{10^{1}}$", r"$\mathdefault{10^{2}}$"]),
            (0.98, 1.02, ["0.7", "0.8", "0.9", "1"]),
        ],
    )
    def test_log_ticks_are_readable_whatever_the_range(self, low, high, expected):
        ax = style.new_axes()
        ax.set(yscale="log", ylim=(low, high))
        style.readable_log_ticks(ax.yaxis)
        bottom, top = ax.get_ylim()
        shown = [
            label.get_text()
            for label, value in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
            if bottom <= value <= top
        ]
        assert shown[: len(expected)] == expected
        assert 2 <= len(shown) <= 9

    def test_seed_colors_are_distinct_and_the_last_is_the_darkest(self):
        for n_seeds in (1, 2, 12):
            colors = style.seed_colors(n_seeds)
            assert len(set(colors)) == n_seeds
            assert min(colors, key=sum) == colors[-1] == style.seed_colors(1)[0]
