HEAD


def ideal_nc(tmp_path_factory):
    """Curves from elsewhere in which the hypothesis holds: the first 0.3 w subtasks, each at step 100 / p."""
    width = np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128])
    step = np.unique(np.geomspace(1, 20_000, 120).astype(int))
    p = zipf_frequencies(64, 0.4)
    late = np.log(step)[:, None] - np.log(100 / p)
    loss = 1 / (1 + 9 * np.exp(np.clip(8 * late, -50, 50)))
    has_room = np.arange(64) < np.floor(0.3 * width)[:, None, None]
    loss = np.broadcast_to(np.where(has_room, loss, 1), (3, 11, step.size, 64))
    path = tmp_path_factory.mktemp("ideal") / "ideal.nc"
    save_curves(
        make_curves(
            loss, frequency=p, step=step, width=width, n_parameters=99 * width, seed=range(3), alpha=0.4
        ),
        path,
    )
    return path


def several(tiny_study, tmp_path):
    """A run directory with two alphas and two n_train."""
    study = tiny_study.model_copy(update={"alpha": (0.2, "uniform"), "n_train": (10, "online"), "seed": (0,)})
    directory = RunDirectory.create(tmp_path / "several", study)
    run_sweep(directory)
    return directory.path


class TestAnalyze:
    def check_schema(self, verdict):
        keys = ["schema", "study", "outcome", "settings", "checks", "exponents", "learned"]
        assert list(verdict) == keys
        assert verdict["schema"] == 1
        assert verdict["outcome"] in ("supported", "rejected", "inconclusive")
        names = ["name", "statistic", "lower", "upper", "threshold", "passed", "why"]
        assert verdict["checks"]
        for check in verdict["checks"]:
            assert list(check) == names
            assert check["passed"] in (True, False, None)
        assert {"alpha_N", "alpha_S", "alpha_D", "beta"} <= set(verdict["exponents"])
        names = ["estimate", "lower", "upper", "expected_infinite", "expected_finite", "expected_count"]
        for exponent in verdict["exponents"].values():
            assert {*names, "bootstrap", "profile", "window", "n_points"} == set(exponent)
            assert all(exponent[name] is None or type(exponent[name]) is float for name in names)
            for interval in (exponent["bootstrap"], exponent["profile"]):
                assert interval is None or interval[0] <= interval[1]
        for learned in verdict["learned"]:
            assert list(learned) == ["seed", "width", "n_parameters", "count", "subtasks"]
            assert learned["count"] == len(learned["subtasks"])

    def test_json_of_a_run_directory(self, run, parse_json, copied):
        result = run("analyze", copied, "--json")
        verdict = parse_json(result.stdout)
        assert result.stderr == ""
        self.check_schema(verdict)
        assert (verdict["study"], verdict["outcome"]) == ("tiny", "inconclusive")
        assert [(entry["seed"], entry["width"]) for entry in verdict["learned"]] == [
            (seed, width) for seed in range(3) for width in (2, 4)
        ]

    def test_json_of_a_file(self, run, parse_json, ideal_nc):
        result = run("analyze", ideal_nc, "--json")
        verdict = parse_json(result.stdout)
        self.check_schema(verdict)
        assert verdict["outcome"] == "supported"
        assert verdict["study"] is None
        widest = [entry for entry in verdict["learned"] if entry["width"] == 128]
        # Of the 38 that it has room for, those that 20 000 steps are enough for.
        n_learned = int((100 / zipf_frequencies(64, 0.4)[:38] < 20_000).sum())
        assert [entry["subtasks"] for entry in widest] == [list(range(1, n_learned + 1))] * 3

    def test_files_for_a_run_directory(self, run, parse_json, copied):
        result = run("analyze", copied, "--json")
        assert sorted(path.name for path in (copied / "analysis").iterdir()) == [
            "agreement.csv",
            "by_tau.csv",
            "consensus.csv",
            "discreteness.csv",
            "inversions.csv",
            "learning_times.csv",
            "models.csv",
            "q_sequence.csv",
            "scaling.csv",
            "verdict.json",
            "windows.csv",
        ]
        there = json.loads((copied / "analysis" / "verdict.json").read_text(), parse_constant=refuse_constant)
        assert there == parse_json(result.stdout)
        q_sequence, scaling = (
            list(csv.DictReader((copied / "analysis" / name).read_text().splitlines()))
            for name in ("q_sequence.csv", "scaling.csv")
        )
        assert len(q_sequence) == 3 * 2 * 4
        assert {"seed", "width", "subtask", "frequency", "learned", "step", "order"} <= set(q_sequence[0])
        assert [(row["seed"], row["width"]) for row in scaling] == [(s, w) for s in "012" for w in "24"]
        mean_loss = load(copied)["mean_loss"].isel(step=-1).values.ravel()
        np.testing.assert_allclose([float(row["mean_loss"]) for row in scaling], mean_loss, rtol=1e-6)

    def test_no_files_beside_a_file(self, run, ideal_nc):
        run("analyze", ideal_nc)
        assert list(ideal_nc.parent.iterdir()) == [ideal_nc]

    def test_text(self, run, ideal_nc):
        result = run("analyze", ideal_nc)
        assert result.stderr == ""
        assert "SUPPORTED" in result.stdout.splitlines()[0]
        assert "\x1b" not in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_settings_are_heard(self, run, parse_json, ideal_nc):
        wide, narrow = (
            parse_json(run("analyze", ideal_nc, "--json", "--confidence", c, "--bootstrap", 50).stdout)
            for c in (0.99, 0.5)
        )
        assert wide["checks"][1]["statistic"] == narrow["checks"][1]["statistic"]
        strict = parse_json(run("analyze", ideal_nc, "--json", "--tau", 1e-6).stdout)
        assert strict["learned"][-1]["count"] < wide["learned"][-1]["count"]

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_strict(self, run, copied, ideal_nc, options):
        assert run("analyze", ideal_nc, "--strict", *options).stdout
        assert run("analyze", copied, "--strict", *options, exit_code=4).stdout
        assert run("analyze", copied, *options).stdout

    def test_several_alphas_and_n_train(self, run, fail, parse_json, several):
        assert fail("analyze", several, exit_code=1) == (
            "Error: alpha must be chosen: the curves hold -1, 0.2"
        )
        assert fail("analyze", several, "--alpha", -1, exit_code=1) == (
            "Error: n_train must be chosen: the curves hold 10, inf"
        )
        assert fail("analyze", several, "--alpha", 3, exit_code=1) == (
            "Error: alpha must be one of -1, 0.2, not 3"
        )
        verdict = parse_json(run("analyze", several, "--alpha", -1, "--n-train", "inf", "--json").stdout)
        self.check_schema(verdict)
        assert verdict["exponents"]["alpha_N"]["expected_infinite"] is None
        zipf = parse_json(run("analyze", several, "--alpha", 0.2, "--n-train", 10, "--json").stdout)
        assert zipf["exponents"]["alpha_N"]["expected_infinite"] == pytest.approx(0.2)

    def test_missing_units_are_told(self, run, parse_json, copied):
        shutil.rmtree(next((copied / "units").glob("*seed=1*")))
        result = run("analyze", copied, "--json")
        assert result.stderr == "note: 1 units of the study are not done; seeds they belong to are left out\n"
        assert {entry["seed"] for entry in parse_json(result.stdout)["learned"]} == {0, 2}

    def test_nothing_done_yet(self, fail, copied):
        shutil.rmtree(copied / "units")
        assert "0 of 3 units are done and no seed is complete" in fail("analyze", copied, exit_code=1)
        assert not (copied / "analysis").exists()

    def test_a_damaged_file(self, fail, ideal_nc, tmp_path):
        data = ideal_nc.read_bytes()
        (tmp_path / "cut.nc").write_bytes(data[: len(data) // 2])
        line = fail("analyze", tmp_path / "cut.nc", exit_code=1)
        assert "cut.nc: not a readable netCDF-4 file" in line

    def test_a_missing_path(self, fail):
        assert "'missing' does not exist" in fail("analyze", "missing", exit_code=2)

    def test_a_folder_of_something_else(self, fail, tmp_path):
        assert "not a run directory" in fail("analyze", tmp_path, exit_code=1)

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--tau", 0), ("--tau", 1), ("--confidence", 1), ("--bootstrap", 0), ("--seed", -1)],
    )
    def test_values_out_of_range(self, fail, ideal_nc, option, value):
        assert f"{value}" in fail("analyze", ideal_nc, option, value, exit_code=2)


class TestFigures:
    # SVG is what the tests below write.
    @pytest.mark.parametrize(("file_format", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
    def test_formats(self, run, copied, file_format, magic):
        result = run("figures", copied, "--format", file_format)
        paths = result.stdout.splitlines()
        assert result.stderr == ""
        assert paths == [str(copied / "figures" / f"{name}.{file_format}") for name in FIGURES]
        assert all(Path(path).read_bytes().startswith(magic) for path in paths)

    def test_of_a_file_stand_beside_it(self, run, ideal_nc, tmp_path):
        path = shutil.copy(ideal_nc, tmp_path / "ideal.nc")
        paths = run("figures", path, "--format", "svg").stdout.splitlines()
        assert paths == [str(tmp_path / "figures" / f"{name}.svg") for name in FIGURES]
        assert all(Path(path).read_text().startswith("<?xml") for path in paths)

    def test_out_and_choice(self, run, fail, several, tmp_path):
        assert "alpha must be chosen" in fail("figures", several, exit_code=1)
        choice = ("--alpha", 0.2, "--n-train", 10, "--out", tmp_path / "out", "--format", "svg")
        paths = run("figures", several, *choice).stdout.splitlines()
        assert sorted(paths) == sorted(str(path) for path in (tmp_path / "out").iterdir())
        assert not (several / "figures").exists()

    def test_no_such_format(self, fail, copied):
        assert "'gif' is not one of 'png', 'svg', 'pdf'" in fail(
            "figures", copied, "--format", "gif", exit_code=2
        )

    def test_a_folder_that_cannot_be_made(self, fail, copied, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in fail("figures", copied, "--out", tmp_path / "file" / "figures", exit_code=1)
