"""The porch: the group, what goes wrong as exit codes, the environment, and the demo."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import quanta
from quanta.analysis.fits.errors import TooFewPoints
from quanta.cli import main
from quanta.store.run_directory import RunDirectory, StoreError
from quanta.tasks.config import ConfigError

ROOT = Path(__file__).parents[1]
COMMANDS = ["generate", "train", "status", "verify", "import", "simulate", "analyze", "compare"]
COMMANDS += ["figures", "discover", "demo"]
IMPORTS = [["import", "sacred"], ["import", "csv"]]


class TestMain:
    @pytest.mark.parametrize(
        "command",
        [[], *([name] for name in COMMANDS), *IMPORTS],
        ids=["main", *COMMANDS, *(" ".join(names) for names in IMPORTS)],
    )
    def test_help(self, run, command):
        result = run(*command, "--help")
        assert result.stdout.startswith(f"Usage: {' '.join(['quanta', *command])} ")
        assert result.stderr == ""
        assert run(*command, "-h").stdout == result.stdout

    def test_help_lists_every_command(self, run):
        text = run("--help").stdout
        assert sorted(main.commands) == sorted(COMMANDS)
        assert all(f"\n  {command} " in text for command in COMMANDS)

    def test_no_command(self, run):
        assert "Commands:" in run(exit_code=2).stderr

    def test_unknown_command(self, fail):
        assert "No such command 'analyse'" in fail("analyse", exit_code=2)

    def test_version(self, run):
        assert run("--version").stdout.split()[-1] == quanta.__version__

    def test_help_waits_for_no_heavy_import(self):
        heavy = {"torch", "numpy", "xarray", "pandas", "matplotlib", "scipy", "pydantic", "rich"}
        program = (
            "import sys, time\nfrom quanta.cli import main\nmain(['--help'], standalone_mode=False)\n"
            f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)\n"
            "print(time.process_time(), file=sys.stderr)"
        )
        done = python("-c", program)
        imported, seconds = done.stderr.splitlines()
        assert "Commands:" in done.stdout
        assert imported == "[]"
        assert float(seconds) < 0.5


def python(*arguments):
    """Run a Python of its own in the root of the repository."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=True
    )


class TestEnvironment:
    @pytest.mark.parametrize("command", [*COMMANDS, *(" ".join(names) for names in IMPORTS)])
    def test_every_option_names_its_variable(self, run, command):
        text = run(*command.split(), "--help").stdout
        options = re.split(r"\n  (?=-)", text.partition("\nOptions:")[2])[1:]
        assert options
        for option in options:
            name = re.search(r"--([a-z-]+)", option).group(1)
            variable = "QUANTA_" + f"{command}_{name}".replace("-", "_").replace(" ", "_").upper()
            shown = re.search(rf"\[env var: {variable}[;\]]", " ".join(option.split()))
            assert (shown is None) == (name in ("help", "list")), option  # these only show, and set nothing

    def test_it_is_heard(self, run, parse_json, finished):
        for value, is_json in (("1", True), ("0", False)):
            text = run("status", finished, env={"QUANTA_STATUS_JSON": value}).stdout
            assert text.startswith("{") == is_json

    def test_the_command_line_wins(self, run, here):
        env = {"QUANTA_GENERATE_N_SUBTASKS": "7", "QUANTA_GENERATE_K": "1,2"}
        assert "7 subtasks" in run("generate", "task", "-k", 2, env=env).stdout
        assert "9 subtasks" in run("generate", "task", "-K", 9, "-k", 2, env=env).stdout

    @pytest.mark.parametrize(
        ("text", "steps", "seeds", "description"),
        [
            ("training.steps = 5\nseed=[0, 1]\n", 5, (0, 1), None),
            (r'description="a ] \" b" seed=[3]', 20, (3,), 'a ] " b'),
            ("description='two words' seed=[\n3\n] training . steps=0x5", 5, (3,), "two words"),
        ],
    )
    def test_values_with_spaces_and_line_ends(self, run, tiny_toml, here, text, steps, seeds, description):
        env = {"QUANTA_TRAIN_SET": text, "QUANTA_TRAIN_OUT": "my\nrun", "QUANTA_TRAIN_SHARD": " 99 / 100 "}
        run("train", tiny_toml, env=env)
        study = RunDirectory("my\nrun").study
        assert (study.training.steps, study.seed) == (steps, seeds)
        assert description in (None, study.description)

    @pytest.mark.parametrize(
        "text",
        ["training.steps=5 junk", "seed=[0, 1", "description=a b", 'description="x training.steps=5', "=1"],
    )
    def test_what_does_not_work_is_refused_whole(self, fail, tiny_toml, here, text):
        fail("train", tiny_toml, env={"QUANTA_TRAIN_SET": text}, exit_code=2)
        fail("train", tiny_toml, "--set", "training.steps=5\nseed=0", exit_code=2)
        fail("train", tiny_toml, env={"QUANTA_TRAIN_DEVICE": "cpu\n"}, exit_code=2)
        assert list(here.iterdir()) == []

    def test_a_choice_of_a_slice(self, run, fail, copied):
        for text in ("alpha = 0.4", "alpha=0.4\nn_train = online\n", "n_subtasks=0x4 alpha=4e-1"):
            assert run("analyze", copied, env={"QUANTA_ANALYZE_AT": text}).stdout.startswith("tiny: ")
        for text in ("alpha=0.4\nn_train", "alpha=[0.4", "alpha=0.4 junk"):
            fail("analyze", copied, env={"QUANTA_ANALYZE_AT": text}, exit_code=2)
        assert "expected one value" in fail("analyze", copied, "--at", "alpha=0.4\nx=1", exit_code=2)

    def test_options_take_what_a_study_takes(self, run, parse_json, here):
        made = run("generate", "t", "-K", "0x3", "-k", "[1, 2,\n3]", "--alpha", '"uniform"', "--json").stdout
        found = parse_json(made)
        assert (found["n_subtasks"], found["k"], found["alpha"]) == (3, [1, 2, 3], "uniform")

    def test_nothing_answers_to_the_name_of_a_parameter(self, run, finished):
        assert not run("status", finished, env={"QUANTA_STATUS_AS_JSON": "1"}).stdout.startswith("{")


class TestWhatGoesWrong:
    @pytest.fixture
    def raising(self, monkeypatch):
        """Let `quanta status` raise an error."""

        def use(error):
            def refuse(*arguments):
                raise error

            monkeypatch.setattr(quanta, "read_status", refuse)

        return use

    @pytest.mark.parametrize(
        ("error", "exit_code", "says"),
        [
            (ConfigError("alpha: must be"), 2, "alpha: must be"),
            (StoreError("cut short"), 1, "cut short"),
            (TooFewPoints("x must hold 3"), 1, "x must hold 3"),
            (OSError(errno.ENOSPC, "No space left"), 1, f"[Errno {errno.ENOSPC}] No space left"),
            (MemoryError("Unable to allocate 9 GiB"), 1, "out of memory (Unable to allocate 9 GiB)"),
        ],
    )
    def test_is_one_line_and_an_exit_code(self, fail, raising, finished, error, exit_code, says):
        raising(error)
        assert fail("status", finished, exit_code=exit_code) == f"Error: {says}"

    @pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), KeyError("x")])
    def test_of_a_mistake_in_the_program_the_traceback_is_shown(self, run, raising, finished, error):
        raising(error)
        with pytest.raises(type(error)):
            run("status", finished)


class TestNobodyReads:
    """What is done is not lost and not a failure where nobody reads what is said of it."""

    @pytest.fixture
    def commands(self, finished, tmp_path):
        """Command lines that print, and their exit codes."""
        return [
            (["--help"], 0),
            (["--version"], 0),
            ([], 2),
            (["nothing"], 2),
            (["train", "--list"], 0),
            (["analyze", "--help"], 0),
            (["simulate", "ideal", "--out", str(tmp_path / "a.nc"), "--n-seeds", "1", "-K", "4"], 0),
            (["status", str(finished)], 0),
            (["verify", str(finished), "--json"], 0),
            (["analyze", str(tmp_path / "none.nc")], 2),
        ]

    @staticmethod
    def start(arguments, **streams):
        command = [sys.executable, "-W", "error", "-m", "quanta", *arguments]
        return subprocess.Popen(command, cwd=ROOT, **streams)

    def test_help_into_head(self):
        command = f"set -o pipefail; '{sys.executable}' -m quanta --help | head -1"
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "Usage: quanta [OPTIONS] COMMAND [ARGS]...\n"
        assert done.stderr == ""

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_a_pipe_without_a_reader(self, commands, stream):
        for arguments, exit_code in commands:
            reader, writer = os.pipe()
            os.close(reader)
            other = "stderr" if stream == "stdout" else "stdout"
            with self.start(arguments, **{stream: writer, other: subprocess.PIPE}) as process:
                os.close(writer)
                said = getattr(process, other).read()
                assert process.wait(timeout=60) == exit_code, arguments
                assert b"Traceback" not in said
                assert b"Broken pipe" not in said

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
    def test_closed_streams(self, commands, closed):
        # What works where both are closed need not be tried with each.
        for arguments, exit_code in commands if closed == ">&- 2>&-" else commands[1:5]:
            done = subprocess.run(
                [
                    "sh",
                    "-c",
                    f'"$@" {closed}',
                    "sh",
                    sys.executable,
                    "-W",
                    "error",
                    "-m",
                    "quanta",
                    *arguments,
                ],
                cwd=ROOT,
                capture_output=True,
                check=False,
            )
            assert done.returncode == exit_code, arguments
            assert b"Traceback" not in done.stdout + done.stderr

    def test_no_room_is_a_failure(self):
        for arguments in (["--help"], ["--version"], ["train", "--list"]):
            with open("/dev/full", "w") as full:
                process = self.start(arguments, stdout=full, stderr=subprocess.PIPE)
            _, said = process.communicate(timeout=60)
            assert process.returncode == 1
            assert re.fullmatch(rb"Error: .*No space left on device\n", said)


@pytest.mark.usefixtures("here")
class TestDemo:
    @pytest.fixture
    def small(self, tiny_study, monkeypatch):
        """Let the tiny study be the demo."""

        def use(**values):
            study = tiny_study.model_copy(update=values)
            monkeypatch.setattr(quanta, "load_study", {"demo": study}.__getitem__)

        return use

    def test_trains_analyzes_and_draws(self, run, small):
        small()
        result = run("demo", "--device", "cpu")
        assert "3 of 3 units to train" in result.stderr
        assert result.stdout.startswith("tiny: count INCONCLUSIVE, growth INCONCLUSIVE\n")
        paths = result.stdout.partition("\n\nruns")[1:]
        paths = "".join(paths).split()
        assert sorted(paths) == sorted(str(path) for path in Path("runs/demo/figures").glob("*.png"))
        assert Path("runs/demo/analysis/verdict.json").is_file()

    @pytest.mark.parametrize("out", [("--out", "there"), ()])
    def test_everything_goes_into_the_folder_that_is_asked_for(self, run, small, here, out):
        small()
        env = {"QUANTA_ANALYZE_OUT": "not", "QUANTA_FIGURES_OUT": "not"}  # of other commands
        run("demo", *out, env=env | ({} if out else {"QUANTA_DEMO_OUT": "there"}))
        assert [path.name for path in here.iterdir()] == ["there"]
        assert sorted(path.name for path in (here / "there").iterdir()) == [
            "analysis",
            "figures",
            "study.json",
            "units",
        ]

    def test_failing_units(self, run, small, tiny_study):
        small(training=tiny_study.training.model_copy(update={"learning_rate": (1e30,)}))
        result = run("demo", "--out", "there", exit_code=1)
        assert result.stdout == ""
        assert result.stderr.count("failed: ") == 3
        assert "no seed is complete" in result.stderr.splitlines()[-1]

    def test_the_shipped_demo_is_there(self):
        assert quanta.load_study("demo").name == "demo"
