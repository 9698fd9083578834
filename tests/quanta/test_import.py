"""`quanta import`: what is read is tested with the readers, here what the command says."""

import json

import pytest

import quanta
from quanta.curves.importers import sacred

CONFIG = {"n_tasks": 2, "alpha": 1.4, "offset": 0, "D": -1, "width": 4, "depth": 2, "steps": 20, "seed": 0}


def write(folder, **settings):
    """A run of two subtasks, logged twice."""
    folder.mkdir(parents=True)
    losses = {str(k): [0.7, 0.5 / (1 + k)] for k in range(2)}
    info = {"P": 30, "log_steps": [0, 10], "losses_subtasks": losses}
    (folder / "config.json").write_text(json.dumps(CONFIG | settings))
    (folder / "info.json").write_text(json.dumps(info))
    return folder


def test_sacred(run, tmp_path):
    write(tmp_path / "runs" / "1")
    write(tmp_path / "runs" / "2", seed=1)
    broken = write(tmp_path / "runs" / "3", seed=2)
    (broken / "info.json").write_text('{"P": 3')
    extra = write(tmp_path / "extra", seed=3)
    result = run("import", "sacred", tmp_path / "runs", extra, "--out", tmp_path / "paper.nc")
    assert result.stdout == f"{tmp_path / 'paper.nc'}\n"
    assert result.stderr.startswith(f"note: left out: {broken}: info.json is not whole: ")
    assert result.stderr.count("\n") == 1
    assert quanta.load(tmp_path / "paper.nc")["seed"].values.tolist() == [0, 1, 3]


def test_sacred_with_nothing_to_import(run, fail, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "found none" in fail(
        "import", "sacred", tmp_path / "empty", "--out", tmp_path / "a.nc", exit_code=1
    )
    assert not (tmp_path / "a.nc").exists()
    assert "Missing argument 'DIR...'" in fail("import", "sacred", "--out", tmp_path / "a.nc", exit_code=2)


def test_no_more_than_memory(fail, tmp_path, monkeypatch):
    folder = write(tmp_path / "1")
    monkeypatch.setattr(sacred, "MAX_CURVES_BYTES", 8)
    line = fail("import", "sacred", folder, "--out", tmp_path / "a.nc", exit_code=1)
    assert "import fewer at a time" in line


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "log.csv"
    rows = [(s, w, t, k, 0.69 / k) for s in (0, 1) for w in (4, 8) for t in (0, 10) for k in (1, 2)]
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(["seed,width,step,subtask,loss", *lines, ""]))
    return path


def test_csv(run, table, tmp_path):
    out = tmp_path / "mine.nc"
    result = run("import", "csv", table, "--alpha", 0.4, "--unit", "nats", "--chance", 0.6931, "--out", out)
    assert result.stdout == f"{out}\n"
    assert result.stderr == (
        "note: there is one column of sizes, which stands for width and for n_parameters\n"
    )
    curves = quanta.load(out)
    assert curves["loss"].values[0, 0, 0, 0, 0, 0] == pytest.approx(0.9955, abs=1e-4)
    assert curves["chance"].values[0] == pytest.approx(1, abs=1e-3)


def test_csv_in_the_environment(run, table, tmp_path):
    env = {"QUANTA_IMPORT_CSV_ALPHA": "-1", "QUANTA_IMPORT_CSV_OUT": str(tmp_path / "a.nc")}
    run("import", "csv", table, env=env)
    assert quanta.load(tmp_path / "a.nc")["frequency"].values.tolist() == [[0.5, 0.5]]


def test_csv_that_is_no_grid(run, fail, table, tmp_path):
    lines = table.read_text().splitlines()
    out = tmp_path / "a.nc"
    table.write_text("\n".join(line for line in lines if not line.startswith("1,8,0,")))
    line = fail("import", "csv", table, "--alpha", 0.4, "--out", out, exit_code=1)
    assert "found none at 0 for seed 1, width 8; align brings them onto common steps" in line
    run("import", "csv", table, "--alpha", 0.4, "--align", "--out", out)
    table.write_text("\n".join(line for line in lines if not line.startswith("1,8,")))
    result = run("import", "csv", table, "--alpha", 0.4, "--out", out)
    assert "note: left out: seed 1: nothing was measured at width 8\n" in result.stderr
    assert "found neither" in fail("import", "csv", table, "--out", out, exit_code=1)
