"""Exponents by condition, of values set by hand."""

import pytest
from matplotlib.figure import Figure

from quanta.analysis.figures.conditions import plot_exponents_by_condition
from quanta.analysis.verdict.conditions import Compared, Conditions, Row


def row(alpha, n_subtasks=64, estimate=0.5, finite=0.45, rate=0.1):
    infinite = None if alpha == "uniform" else alpha
    one = Compared(estimate, 0.4, 0.6, infinite, finite, 0.7)
    condition = {"alpha": alpha, "n_subtasks": n_subtasks, "learning_rate": rate}
    return Row(condition, 3, {"alpha_N": one, "alpha_S": one}, {"count": "supported", "growth": "rejected"})


def conditions(*rows):
    names = ("alpha", "n_subtasks", "learning_rate")
    varied = tuple(name for name in names if len({row.condition[name] for row in rows}) > 1)
    return Conditions("made", 0.9, varied, rows, {"alpha_N": {}, "alpha_S": {}}, ())


def lines(ax):
    """The points of each line by its label."""
    return {line.get_label().split(",")[0]: line.get_xydata().tolist() for line in ax.lines}


def draw(*rows):
    figure = plot_exponents_by_condition(conditions(*rows))
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    return figure


def test_points_and_predictions_are_where_they_belong():
    figure = draw(row(0.4), row(0.2, estimate=None, finite=None), row("uniform"))
    found = lines(figure.axes[0])
    assert len(figure.axes) == 2
    assert found["infinite K"] == [[0.2, 0.2], [0.4, 0.4]]
    assert found["finite K"] == [[0.4, 0.45]]
    assert found["one after another"] == [[0.2, 0.7], [0.4, 0.7]]
    assert found["measured"][1] == [0.4, 0.5]
    assert [ax.get_ylabel()[-1] for ax in figure.axes] == ["N", "S"]
    assert figure.axes[0].get_xlabel() == "quanta exponent α"


def test_along_k_where_alpha_is_one():
    figure = draw(row(0.4, 128), row(0.4, 32), row(0.4, 512))
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert [x for x, _ in lines(ax)["finite K"]] == [32, 128, 512]
    assert ax.get_xlabel() == "number of subtasks K"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["32", "128", "512"]


def test_a_row_of_panels_for_each_value_of_what_else_varies():
    figure = draw(row(0.2, 32), row(0.2, 64), row(0.4, 32), row(0.4, 64))
    assert len(figure.axes) == 4
    assert [ax.get_title() for ax in figure.axes] == ["K = 32", "K = 32", "K = 64", "K = 64"]


def test_the_legend_says_how_many_seeds_and_covers_nothing():
    figure = draw(row(0.2), row(0.4))
    [legend] = figure.legends
    assert "measured, 90% intervals over 3 seeds" in [text.get_text() for text in legend.get_texts()]
    assert legend.get_window_extent().y0 >= max(ax.get_window_extent().y1 for ax in figure.axes)
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.x1 <= size[0] + 0.01


@pytest.mark.parametrize("rows", [(row("uniform", 32), row("uniform", 64)), (row("uniform"),)])
def test_uniform_frequencies(rows):
    figure = draw(*rows)
    ax = figure.axes[0]
    if len(rows) == 1:
        assert [text.get_text() for text in ax.texts] == ["no exponent to show"]
    else:
        assert lines(ax)["measured"] == [[32, 0.5], [64, 0.5]]
        assert lines(ax)["infinite K"] == []


def test_what_is_not_known_is_said():
    ax = draw(row(0.2, estimate=None), row(0.4, estimate=None)).axes[0]
    assert [text.get_text() for text in ax.texts] == ["alpha_N is not known"]
