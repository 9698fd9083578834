import io

import numpy as np
import pytest
from quanta.analysis.verdict.evidence import gather_evidence
from rich.console import Console

from quanta.analysis.learned.times import select
from quanta.analysis.report.text import render
from quanta.analysis.theories.worlds import simulate
from quanta.analysis.verdict.judge import judge


def printed(curves, width=100):
    stream = io.StringIO()
    render(judge(curves), gather_evidence(curves), Console(file=stream, width=width))
    return stream.getvalue()


def line_of(text, start):
    [line] = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line


@pytest.fixture(scope="module")
def sigmoid():
    return select(simulate("sigmoid", seed=1))


@pytest.mark.parametrize("width", [100, 200])
def test_one_screen_with_nothing_cut_off(sigmoid, width):
    text = printed(sigmoid, width)
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_says_outcome_numbers_and_theory(sigmoid):
    curves = sigmoid.assign_attrs(study="[bold]demo")
    verdict, evidence = judge(curves), gather_evidence(curves)
    text = printed(curves)
    assert text.startswith("[bold]demo: SUPPORTED")  # names are never read as markup
    order = next(check for check in verdict.checks if check.name == "order")
    interval = f"{order.statistic:.2f} [{order.lower:.2f}, {order.upper:.2f}]"
    assert " ".join(line_of(text, "order").split()) == f"order pass {interval} C ≥ 0.75"
    assert "0.001" in line_of(text, "which subtasks")
    alpha_n = verdict.exponents["alpha_N"]
    expected = [f"{alpha_n.expected_finite:.2f}", f"{alpha_n.expected_count:.2f}", "0.40", "33"]
    assert line_of(text, "alpha_N").split()[-7:-3] == expected
    assert line_of(text, "0.5 bit").split()[2] == evidence.by_tau["outcome"].iloc[-1]
    best = evidence.models.query("scale == 'parameters' and delta_aicc == 0")["model"].item()
    assert any(line.startswith(best) and " 0.0 " in line for line in text.splitlines())
    widest = verdict.scaling.query("width == 128")
    line = line_of(text, "128 ")
    assert f"{widest['n_learned'].min()} to {widest['n_learned'].max()}" in line
    assert line.split()[-2:] == [
        f"{widest['mean_loss'].mean():.4f}",
        f"{widest['reconstructed_loss'].mean():.4f}",
    ]


def test_a_failed_check_is_said_in_words_and_explained():
    curves = select(simulate("uniform", seed=1))
    text = printed(curves)
    assert "REJECTED" in text
    assert "FAIL" in text
    assert "uniform frequencies" in text
    order = next(check for check in judge(curves).checks if check.name == "order")
    assert order.why in " ".join(text.split())


@pytest.mark.parametrize("changed", [{"steps": 5}, {"n_seeds": 1}, {"widths": [16]}])
def test_what_is_not_known_is_a_dash(changed):
    text = printed(select(simulate("sigmoid", **changed)))
    assert "–" in text
    assert "nan" not in text
    assert "None" not in text


def test_unknown_alpha_and_a_data_limit(sigmoid):
    assert "D = 1000" in printed(sigmoid.assign_coords(n_train=1000.0))
    assert "α unknown" in printed(sigmoid.assign_coords(alpha=np.nan))
