"""`quanta compare`: what it prints, and of which slices."""

import json
import re

import pytest

from quanta.analysis import simulate
from quanta.analysis.verdict import beside
from quanta.curves.combine import combine
from quanta.curves.dataset import save_curves

SMALL = {"n_subtasks": 16, "n_evaluations": 60, "steps": 100_000, "widths": (10, 40, 120, 300)}


@pytest.fixture(scope="module")
def one_nc(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "one.nc"
    save_curves(simulate("ideal", alpha=0.4, n_seeds=3, **SMALL), path)
    return path


@pytest.fixture(scope="module")
def two_nc(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "two.nc"
    save_curves(combine([simulate("ideal", alpha=a, n_seeds=2, **SMALL) for a in (0.35, 0.4)]), path)
    return path


@pytest.fixture
def no_theories(monkeypatch):
    """Simulate nothing, which takes seconds."""
    monkeypatch.setattr(beside, "THEORIES", ())


def test_text(run, one_nc):
    text = run("compare", one_nc).stdout
    assert text.startswith("simulated-ideal: α = 0.4, K = 16, seeds: 3; beside Michaud, Liu, Girit, Tegmark")
    sentences = " ".join(text.split())
    for published in (r"alpha_N: 0\.38 ± 0\.01 at widths 10-300, step 100000", r"beta: 0\.81 at width 500"):
        interval, off = r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", r"[+-]\d\.\d{3}, \d+\.\d SE"
        row = rf"  {published}\n    own fit +{interval} +{off}\n"
        assert re.search(row, text), published
    assert re.search(r"\n    as evaluated +\d\.\d{3} \[", text)
    assert "multilinear" in text
    assert "K = ∞" in text
    assert "What window and spacing decide: alpha_S of width 300" in text
    assert re.search(r"On the same curve, they alone move it from 0\.\d{3} to \d\.\d{3}\.", text)
    assert "  alpha_S at width 500, steps 400-9000: there is no width 500; the widest is 300\n" in text
    assert (
        "alpha_N, as published, disagrees at 90% with the 0.38 published at widths 10-300, step" in sentences
    )


def test_at_80_columns_no_number_is_cut(run, one_nc, monkeypatch, no_theories):
    monkeypatch.setattr("quanta.tasks.terminal.TABLE_WIDTH", 80)
    text = run("compare", one_nc).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert re.search(r"    own fit +\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]\n", text)
    assert re.search(r"    own fit +[+-]\d\.\d{3}, \d+\.\d SE\n", text)


def test_json(run, parse_json, one_nc, no_theories):
    found = parse_json(run("compare", one_nc, "--json", "--confidence", 0.5, "--seed", 3).stdout)
    assert found["schema"] == 1
    [one] = found["slices"]
    assert one["path"] == str(one_nc)
    assert one["slice"] == {"alpha": 0.4, "n_subtasks": 16}
    assert (one["settings"]["confidence"], one["settings"]["seed"]) == (0.5, 3)
    by_paper = [reading for reading in one["readings"] if reading["by"] == "as evaluated"]
    assert [reading["published"] for reading in by_paper] == [0.346]


def test_all_slices_or_the_one_asked_for(run, fail, parse_json, two_nc, no_theories):
    both = parse_json(run("compare", two_nc, "--json").stdout)["slices"]
    assert [one["slice"]["alpha"] for one in both] == [0.35, 0.4]
    assert "nothing was published at α = 0.35" in both[0]["notes"]
    [one] = parse_json(run("compare", two_nc, "--at", "alpha=0.4", "--json").stdout)["slices"]
    assert one == both[1]
    text = run("compare", two_nc).stdout
    assert text.count("; beside Michaud") == 2
    assert "Nothing here can be held against a published value." in text
    assert "must be one of 0.35, 0.4" in fail("compare", two_nc, "--at", "alpha=1", exit_code=2)


def test_a_run_directory(run, finished, no_theories):
    text = run("compare", finished).stdout
    assert text.startswith("tiny: α = 0.4, K = 4, seeds: 3; beside")
    assert "note: settings differ from those published, which are in brackets: n_subtasks 4 (500)" in text
    assert "  alpha_N at widths 10-300, step 100000: the widths are 2..4\n" in text


def test_one_seed(run, tmp_path, no_theories):
    path = tmp_path / "one-seed.nc"
    save_curves(simulate("ideal", alpha=0.4, n_seeds=1, **SMALL), path)
    text = " ".join(run("compare", path).stdout.split())
    assert "Whether any of it disagrees with what was published cannot be said: one seed gives no" in text
    assert " SE" not in text
    assert json.loads(run("compare", path, "--json").stdout)["slices"][0]["readings"][0]["n_stderr"] is None


def test_nothing_done(fail, tiny_study, tmp_path):
    from quanta.store.run_directory import RunDirectory

    RunDirectory.create(tmp_path / "run", tiny_study)
    assert "no seed is complete" in fail("compare", tmp_path / "run", exit_code=1)
