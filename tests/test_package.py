import configparser
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from quanta.training.population import Population

ROOT = Path(__file__).parents[1]
PACKAGES = ("quanta", "quanta.tasks", "quanta.analysis")
SOURCES = ("quanta", "tasks", "analysis", "cli.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


class TestNames:
    """What a package offers."""

    @pytest.mark.parametrize("name", PACKAGES)
    def test_are_all_there_and_documented(self, name):
        package = importlib.import_module(name)
        assert package.__all__ == sorted(package.__all__)
        assert set(package.__all__) <= set(dir(package))
        for public in package.__all__:
            found = getattr(package, public)
            if public == "__version__":
                assert re.fullmatch(r"\d+\.\d+\.\d+", found)
                continue
            if public.isupper():  # a constant, of which no docstring can be asked
                assert not callable(found)
                continue
            assert callable(found)
            assert found.__module__.startswith(f"{name}.")
            assert inspect.getdoc(found), public

    @pytest.mark.parametrize("name", PACKAGES)
    def test_are_those_of_the_stub(self, name):
        stub = (ROOT / name.replace(".", "/") / "__init__.pyi").read_text()
        package = importlib.import_module(name)
        imported = re.findall(r"\w+", re.sub(r"from \S+ import", "", stub.partition("__all__")[0]))
        assert sorted(imported) == package.__all__

    def test_a_name_that_is_not_there(self):
        with pytest.raises(AttributeError, match="quantum"):
            importlib.import_module("quanta").quantum  # noqa: B018

    def test_importing_the_packages_loads_nothing_heavy(self):
        heavy = {"torch", "numpy", "xarray", "pandas", "matplotlib", "scipy", "sklearn", "pydantic"}
        program = f"import sys, {', '.join(PACKAGES)}, quanta.cli; print(sorted({heavy} & set(sys.modules)))"
        assert run_python("-c", program, cwd=ROOT) == "[]\n"


def run_python(*arguments, cwd, path=()):
    """Run a Python of its own and return what it prints; `path` is searched before what is installed."""
    return run_program(sys.executable, *arguments, cwd=cwd, path=path)


def run_program(*command, cwd, path=()):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist of the sources and the wheel that is made of it, and in `direct` theirs alone.

    Made of a copy, so that nothing gets into them that was built before.
    """
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():  # links stay links: what they lead to is beside them
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    build = ("-m", "build", "--no-isolation", source, "--outdir")
    run_python(*build, folder, cwd=folder)
    shutil.rmtree(next(source.glob("*.egg-info")))
    run_python(*build, folder / "direct", "--wheel", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    [path] = (built / "direct").glob("quanta-*-py3-none-any.whl")
    return path


def files_of(wheel):
    """The bytes of what it installs, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


class TestWheel:
    def test_holds_every_file_of_the_package_and_nothing_else(self, wheel):
        expected = {
            Path(folder, name).relative_to(ROOT).as_posix()
            for folder, _, names in os.walk(ROOT / "quanta", followlinks=True)
            for name in names
            if not name.endswith(".pyc")
        }
        found = files_of(wheel)
        assert set(found) == expected
        assert {
            *("quanta/cli.py", "quanta/__main__.py", "quanta/py.typed"),
            *("quanta/__init__.pyi", "quanta/tasks/__init__.pyi", "quanta/analysis/__init__.pyi"),
            *("quanta/commands.py", "quanta/tasks/commands.py", "quanta/analysis/commands.py"),
            *("quanta/training/ladder.c", "quanta/study/studies/demo.toml"),
        } <= expected
        assert found["quanta/cli.py"] == (ROOT / "cli.py").read_bytes()

    def test_of_the_sdist_is_the_same(self, built, wheel):
        [other] = built.glob("quanta-*-py3-none-any.whl")
        assert files_of(other) == files_of(wheel)

    def test_metadata(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
            folder = name.partition("/")[0]
            entry_points, metadata, top_level = (
                archive.read(f"{folder}/{n}").decode()
                for n in ("entry_points.txt", "METADATA", "top_level.txt")
            )
            assert f"{folder}/licenses/LICENSE" in archive.namelist()
        assert entry_points.split() == ["[console_scripts]", "quanta", "=", "quanta.cli:main"]
        assert top_level.split() == ["quanta"]
        assert "\nName: quanta\n" in metadata
        assert "\nRequires-Python: >=3.11\n" in metadata
        assert len((ROOT / "README.md").read_text()) > 0
        assert metadata.endswith((ROOT / "README.md").read_text())


class TestSdist:
    def test_holds_plain_files(self, built):
        [path] = built.glob("quanta-*.tar.gz")
        with tarfile.open(path) as archive:
            members = archive.getmembers()
        assert all(member.isfile() or member.isdir() for member in members)
        names = {member.name.partition("/")[2] for member in members}
        assert {"quanta/cli.py", "quanta/tasks/commands.py", "LICENSE", "README.md"} <= names


@pytest.fixture
def installed(wheel, tmp_path):
    """A folder in which the wheel alone is installed."""
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    run_python(*pip, "--target", tmp_path / "installed", wheel, cwd=tmp_path)
    return tmp_path / "installed"


@pytest.fixture(
    params=[*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("nothing", "modules")), "packages"]
)
def folders(request, tmp_path):
    """A folder to work in and one that is searched first, with what others call as the sources are called."""
    paths = tmp_path / "work", tmp_path / "first"
    for path in paths:
        path.mkdir()
        for name in ("tasks", "analysis", "cli", "commands") if request.param != "nothing" else ():
            if request.param == "packages":
                (path / name).mkdir()
            decoy = path / name / "__init__.py" if request.param == "packages" else path / f"{name}.py"
            decoy.write_text(f"raise RuntimeError('a decoy named {name} was imported')\n")
    return paths


class TestInstalled:
    def test_it_is_quanta_and_nothing_else(self, installed, folders, tiny_toml):
        work, first = folders
        options = {"cwd": work, "path": (first, installed)}
        modules = "quanta", "quanta.analysis", "quanta.tasks", "quanta.cli"
        program = f"import {', '.join(modules)}\nfor m in {', '.join(modules)}: print(m.__file__)"
        files = run_python("-c", program, **options).splitlines()
        assert len(files) == 4
        assert all(Path(file).is_relative_to(installed / "quanta") for file in files)
        for command in ([installed / "bin" / "quanta"], [sys.executable, "-m", "quanta"]):
            assert run_program(*command, "--help", **options).startswith("Usage: quanta ")
            assert "demo " in run_program(*command, "train", "--list", **options)
        assert run_program(installed / "bin" / "quanta", "train", tiny_toml, **options) == "runs/tiny\n"
        assert len(list((work / "runs" / "tiny").glob("units/*/manifest.json"))) == 3
        text = run_program(sys.executable, "-m", "quanta", "analyze", "runs/tiny", **options)
        assert text.startswith("tiny: ")

    def test_it_finds_the_compiled_code(self, installed, tmp_path):
        program = "from quanta import Population\nprint(Population((2,), 4, 6).is_compiled)"
        out = run_python("-c", program, cwd=tmp_path, path=(installed,))
        assert out == f"{Population((2,), 4, 6).is_compiled}\n"


class TestOldest:
    def test_what_is_tried_are_the_lower_bounds(self):
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        bounds = dict(line.split(">=") for line in config["options"]["install_requires"].split())
        lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
        tried = dict(line.split("==") for line in lines if not line.startswith("#"))
        tested = dict(re.findall(r"^(torch)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
        assert tried == bounds | tested

    def test_versions_of_python_that_are_named_are_those_that_were_tried(self):
        text = (ROOT / "setup.cfg").read_text()
        assert re.findall(r"Python :: (3\.\d+)", text) == ["3.11"]
