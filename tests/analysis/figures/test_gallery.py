import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from quanta.analysis.figures import gallery, style
from quanta.analysis.figures.count import plot_count
from quanta.analysis.figures.gallery import drawings, save_figures
from quanta.analysis.figures.learning import plot_learning_curves_grid
from quanta.analysis.verdict import statistics as statistics_module
from quanta.analysis.verdict.statistics import measure

OF_SLICE = ["learning_curves", "drops", "drops_by_metric", "q_sequence", "consensus", "agreement"]
ALONG = ["emergence_map", "loss", "count", "budget", "exponent_parts", "windows", "scaling_fits"]


@pytest.fixture(scope="module")
def small(quanta_world):
    return quanta_world(n_subtasks=8, widths=np.array([8, 16, 32]), n_seeds=2, scatter=0.4)


@pytest.fixture(scope="module")
def saved(small, tmp_path_factory):
    """Return the files of all figures as SVG."""
    return save_figures(small, tmp_path_factory.mktemp("figures") / "new", format="svg")


@pytest.fixture
def written(monkeypatch):
    """Write no files, and keep which would have been."""
    names = []
    monkeypatch.setattr(style, "write", lambda figure, path, *_: names.append(path.name))
    return names


def names_along(*axes):
    names = [f"{name}_{axis}" for axis in axes for name in ALONG]
    names += [f"{name}_{axis}" for name in ("learning_times", "drift") for axis in axes if axis != "N"]
    return names + [f"beta_{axis}" for axis in axes if axis != "D"]


def test_writes_all_under_their_names(saved):
    assert sorted(path.stem for path in saved) == sorted([*OF_SLICE, *names_along("N", "S")])
    assert sorted(saved[0].parent.iterdir()) == sorted(saved)
    assert all(path.read_bytes().startswith(b"<?xml") for path in saved)


@pytest.mark.parametrize(
    ("kind", "axes"), [("data", "SD"), ("one width", "S"), ("first and last", "N"), ("one of each", "")]
)
def test_along_the_axes_there_are(worlds, written, tmp_path, kind, axes):
    save_figures(worlds[kind], tmp_path)
    assert sorted(written) == sorted(f"{name}.png" for name in [*OF_SLICE, *names_along(*axes)])


def test_curves_are_measured_once(small, written, tmp_path, monkeypatch):
    calls = []
    real = statistics_module.read_left
    monkeypatch.setattr(statistics_module, "read_left", lambda *args: calls.append(args) or real(*args))
    save_figures(small, tmp_path)
    assert len(calls) == 1


def test_theory_is_drawn(small):
    found = dict(drawings(measure(small)))
    for name in ("loss_N", "loss_S", "windows_S"):
        labels = [text.get_text() for text in found[name](measure(small)).get_legend().get_texts()]
        assert any(label.startswith("multilinear theory") for label in labels), name


def test_same_bytes_for_readers_with_other_settings(saved, small, tmp_path):
    with mpl.rc_context({"font.size": 17.0, "axes.labelweight": "bold", "svg.fonttype": "path"}):
        again = save_figures(small, tmp_path, format="svg")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in saved]


@pytest.mark.parametrize("format", ["png", "pdf"])
def test_same_bytes_in_the_other_formats(small, tmp_path, format):
    for name in ("one", "other"):
        style.write(plot_count(small).figure, tmp_path / name, format)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_png_has_200_pixels_an_inch(small, tmp_path):
    for draw, n_expected in ((plot_count, 700), (plot_learning_curves_grid, 1400)):
        drawn = draw(small)
        style.write(getattr(drawn, "figure", drawn), tmp_path / "one.png", "png")
        n_rows, n_columns, _ = plt.imread(tmp_path / "one.png").shape
        assert n_columns == n_expected
        assert n_rows >= 400


def test_text_stays_text_and_there_is_no_date(saved, small, tmp_path):
    for path in saved:
        svg = path.read_text(encoding="utf-8")
        assert re.search(r"<text[^>]*>[^<]*[a-z]{4}", svg)
        assert "dc:date" not in svg
    style.write(plot_count(small).figure, tmp_path / "count.pdf", "pdf")
    pdf = (tmp_path / "count.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/CIDFontType2" in pdf
    assert b"/Subtype /Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_refuses_other_formats(small, tmp_path):
    with pytest.raises(ValueError, match="format must be one of png, svg, pdf, not 'jpg'"):
        save_figures(small, tmp_path / "none", format="jpg")
    assert not (tmp_path / "none").exists()


def test_every_figure_is_public():
    from quanta import analysis

    along = (draw for draw, _ in gallery.ALONG.values())
    drawn = [*gallery.OF_SLICE.values(), *gallery.OF_NETWORK.values(), *along]
    assert all(getattr(analysis, draw.__name__) is draw for draw in drawn)
    public = {name for name in analysis.__all__ if name.startswith("plot_")}
    # Of one network's subtasks, and of all slices: neither is of a slice alone.
    others = {"plot_learning_curves", "plot_exponents_by_condition"}
    assert public == {draw.__name__ for draw in drawn} | others


@pytest.mark.parametrize(
    ("format", "said"),
    [("png", b"Description\0of x.nc"), ("svg", b"<dc:description>of x.nc<"), ("pdf", b"/Subject (of x.nc)")],
)
def test_a_file_says_what_it_is_of(format, said, tmp_path):
    for name, description in (("with", "of x.nc"), ("without", "")):
        style.write(style.new_axes().figure, tmp_path / name, format, description)
        assert (said in (tmp_path / name).read_bytes()) == bool(description)
