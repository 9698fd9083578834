"""What holds for every figure: drawn on all kinds of slices, they show data in view or say why not."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import points_in_view, texts, ticks
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quanta import analysis
from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.gallery import ALONG, OF_SLICE
from quanta.analysis.verdict.statistics import measure

PLOTS = {name: draw for name, draw in OF_SLICE.items() if name != "learning_curves"}
PLOTS |= {"learning_curves": analysis.plot_learning_curves}
PLOTS |= {
    f"{name}_{axis.name}": partial(draw, axis=axis)
    for name, (draw, dims) in ALONG.items()
    for axis in axes.RESOURCES
    if axis.dim in dims
}
WORLDS = [
    "simulated",
    "data",
    "stopped",
    "one seed",
    "one width",
    "nothing learned",
    "everything learned",
    "uniform",
    "first and last",
    "step 0 alone",
    "no loss",
    "far above chance",
    "one of each",
]
NO_DATA = {
    "no number of training examples to show",
    "fewer than three values of D",
    "nothing seen being learned",
}

ALONG_D = [name for name in PLOTS if name.endswith("_D")]
OF_ALL = [name for name in PLOTS if name not in ALONG_D]

each_plot = pytest.mark.parametrize("name", PLOTS)


@pytest.mark.parametrize("name", OF_ALL)
@pytest.mark.parametrize("kind", WORLDS)
def test_shows_data_in_view_or_says_why_not(worlds, name, kind):
    ax = PLOTS[name](worlds[kind])
    ax.figure.set_layout_engine("none")  # which takes most of the time
    ax.figure.draw_without_rendering()
    assert len(points_in_view(ax)) or texts(ax)
    assert ax.get_xlabel()
    assert ax.get_ylabel() or all(ticks(ax.yaxis))


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in OF_ALL for kind in ("simulated", "uniform", "nothing learned")]
    + [(name, "data") for name in ALONG_D],
)
def test_nothing_leaves_the_figure_and_the_legend_covers_no_data(worlds, name, kind):
    ax = PLOTS[name](worlds[kind])
    figure = ax.figure
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    inside = figure.get_tightbbox()
    assert min(inside.x0, inside.y0) >= -0.01
    assert inside.x1 <= width + 0.01
    assert inside.y1 <= height + 0.01
    # What is too wide above or beside the axes would make them shrink.
    assert ax.get_window_extent().width >= 0.38 * figure.bbox.width
    if ax.get_legend() is not None:
        assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


@pytest.mark.parametrize("kind", ["world", "simulated", "one seed"])
@pytest.mark.parametrize("name", OF_ALL)
def test_shows_data_where_there_are_some(worlds, name, kind):
    ax = PLOTS[name](worlds[kind])
    assert len(points_in_view(ax)) >= (1 if name == "drops_by_metric" else 3)
    assert not set(texts(ax)) - {"exponent, shares of it"}


@pytest.mark.parametrize("name", ALONG_D)
def test_along_data_where_they_vary(worlds, name):
    assert len(points_in_view(PLOTS[name](worlds["data"]))) >= 3
    (said,) = texts(PLOTS[name](worlds["world"]))
    assert said in NO_DATA


@each_plot
def test_new_axes_are_single_column_and_unknown_to_pyplot(world, name):
    ax = PLOTS[name](world)
    assert isinstance(ax, Axes)
    assert 3.4 <= ax.figure.get_size_inches()[0] <= 3.6
    assert plt.get_fignums() == []


@each_plot
def test_given_axes_are_used_and_settings_of_the_process_stay(world, name):
    ax = Figure().add_subplot()
    with mpl.rc_context({"font.size": 17.0, "lines.linewidth": 5.0}):
        before = dict(mpl.rcParams)
        assert PLOTS[name](world, ax) is ax
        assert dict(mpl.rcParams) == before


@pytest.fixture(scope="module")
def two_seeds(quanta_world):
    return quanta_world(scatter=0.4, n_seeds=2, n_subtasks=16)


@each_plot
def test_curves_are_measured_and_statistics_have_their_own_tau(two_seeds, name):
    usual, strict = (points_in_view(PLOTS[name](data)) for data in (two_seeds, measure(two_seeds, 1e-4)))
    # These look at all of the loss, whatever counts as learned, or at training examples, which do not vary.
    free = ("learning_curves", "emergence_map", "drops", "loss_N", "windows_N", "scaling_fits_N")
    assert np.array_equal(usual, strict) == name.startswith(free) or name in ALONG_D


@pytest.mark.parametrize("name", ["q_sequence", "budget_N", "learning_times_S"])
def test_curves_are_drawn_as_their_statistics(two_seeds, name):
    drawn = (points_in_view(PLOTS[name](data)) for data in (two_seeds, measure(two_seeds)))
    np.testing.assert_array_equal(*drawn)


def test_settings_stay_after_an_error(world):
    before = dict(mpl.rcParams)
    with pytest.raises(ValueError, match="width"):
        analysis.plot_q_sequence(world, width=5)
    assert dict(mpl.rcParams) == before


def test_threads_draw_the_same_and_settings_stay(world, tmp_path):
    def draw(i):
        style.write(analysis.plot_count(world).figure, tmp_path / f"{i}.svg", "svg")
        return (tmp_path / f"{i}.svg").read_bytes()

    before = dict(mpl.rcParams)
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(draw, range(4)))
    assert dict(mpl.rcParams) == before
    assert len(made) == 1


@pytest.mark.parametrize("name", [name for name in PLOTS if name.endswith("_N")])
def test_another_axis_needs_no_edit(two_seeds, name):
    toy = Axis("H", "hidden units", "width", "width", "resource")
    ax = PLOTS[name](measure(two_seeds, resources=[toy]), axis=toy)
    assert len(points_in_view(ax)) >= 3
    assert "H" in ax.get_xlabel()


@pytest.mark.parametrize("plot", [analysis.plot_emergence_map, analysis.plot_loss, analysis.plot_count])
def test_conditions_are_no_axes_of_a_slice(world, plot):
    with pytest.raises(ValueError, match="axis must be a resource"):
        plot(world, axis=axes.ALPHA)


def test_axes_without_learning_along_them_are_refused(world):
    for plot in (analysis.plot_learning_times, analysis.plot_drift):
        with pytest.raises(ValueError, match="axis must be S or D"):
            plot(world, axis=axes.N)
    with pytest.raises(ValueError, match="axis must be S or N"):
        analysis.plot_beta(world, axis=axes.D)
