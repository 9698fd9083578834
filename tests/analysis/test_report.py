import io

import numpy as np
import pytest
from rich.console import Console

from analysis.report import render
from analysis.verdict import judge


def printed(verdict, width=100):
    stream = io.StringIO()
    render(verdict, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_one_screen_with_nothing_cut_off(quanta_world, width):
    text = printed(judge(quanta_world(scatter=0.4)), width)
    assert len(text.splitlines()) <= 45
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_says_outcome_numbers_and_theory(quanta_world):
    verdict = judge(quanta_world(scatter=0.4).assign_attrs(study="[bold]demo"))
    text = printed(verdict)
    assert text.startswith("[bold]demo: SUPPORTED")  # names are never read as markup
    order = next(check for check in verdict.checks if check.name == "order")
    [line] = [line for line in text.splitlines() if line.startswith("order")]
    interval = f"{order.statistic:.2f} [{order.lower:.2f}, {order.upper:.2f}]"
    assert " ".join(line.split()) == f"order pass {interval} C ≥ 0.9"
    [line] = [line for line in text.splitlines() if line.startswith("alpha_N")]
    assert line.split()[-6:-3] == [f"{verdict.exponents['alpha_N'].expected_finite:.2f}", "0.40", "11"]
    widest = verdict.scaling.query("width == 128")
    [line] = [line for line in text.splitlines() if line.split()[:1] == ["128"]]
    assert f"{widest['n_learned'].min()} to {widest['n_learned'].max()}" in line
    assert line.split()[-2:] == [
        f"{widest['mean_loss'].mean():.4f}",
        f"{widest['reconstructed_loss'].mean():.4f}",
    ]


def test_a_failed_check_is_said_in_words_and_explained(uniform):
    verdict = judge(uniform)
    text = printed(verdict)
    assert "REJECTED" in text
    assert "FAIL" in text
    assert "uniform frequencies" in text
    order = next(check for check in verdict.checks if check.name == "order")
    assert order.why in " ".join(text.split())


@pytest.mark.parametrize("world", [{"capacity": 0}, {"n_seeds": 1}, {"widths": np.array([16])}, {"alpha": 0}])
def test_what_is_not_known_is_a_dash(quanta_world, world):
    text = printed(judge(quanta_world(**world)))
    assert "–" in text
    assert "nan" not in text
    assert "None" not in text


def test_unknown_alpha_and_a_data_limit(quanta_world, ideal):
    assert "D = 1000" in printed(judge(ideal.assign_coords(n_train=1000.0)))
    assert "α unknown" in printed(judge(ideal.assign_coords(alpha=np.nan)))
