import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from quanta.training.population import Population

ROOT = Path(__file__).parents[1]
PACKAGES = ("quanta", "tasks", "analysis")


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
            assert callable(found)
            assert found.__module__.split(".")[0] == name
            assert inspect.getdoc(found), public

    @pytest.mark.parametrize("name", PACKAGES)
    def test_are_those_of_the_stub(self, name):
        stub = (ROOT / name / "__init__.pyi").read_text()
        package = importlib.import_module(name)
        imported = re.findall(r"\w+", re.sub(r"from \S+ import", "", stub.partition("__all__")[0]))
        assert sorted(imported) == package.__all__

    def test_a_name_that_is_not_there(self):
        with pytest.raises(AttributeError, match="quantum"):
            importlib.import_module("quanta").quantum  # noqa: B018

    def test_importing_the_packages_loads_nothing_heavy(self):
        heavy = {"torch", "numpy", "xarray", "pandas", "matplotlib", "scipy", "sklearn", "pydantic"}
        program = f"import sys, quanta, analysis, tasks; print(sorted({heavy} & set(sys.modules)))"
        assert run_python("-c", program, cwd=ROOT) == "[]\n"


def run_python(*arguments, cwd, path=None):
    """Run a Python of its own and return what it prints; `path` is searched before what is installed."""
    environment = os.environ | ({} if path is None else {"PYTHONPATH": str(path)})
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources, so that nothing built before gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "cli.py"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run_python("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    [path] = folder.glob("quanta-*-py3-none-any.whl")
    return path


class TestWheel:
    def test_holds_every_file_of_the_packages_and_nothing_else(self, wheel):
        expected = {"cli.py"}
        for package in PACKAGES:
            for file in (ROOT / package).rglob("*"):
                if file.is_file() and file.suffix != ".pyc":
                    expected.add(file.relative_to(ROOT).as_posix())
        names = set(zipfile.ZipFile(wheel).namelist())
        assert {name for name in names if ".dist-info/" not in name} == expected
        assert {
            "quanta/ladder.c",
            "quanta/studies/demo.toml",
            *(f"{package}/{name}" for package in PACKAGES for name in ("py.typed", "__init__.pyi")),
        } <= expected

    def test_metadata(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
            folder = name.partition("/")[0]
            entry_points, metadata = (
                archive.read(f"{folder}/{n}").decode() for n in ("entry_points.txt", "METADATA")
            )
            assert f"{folder}/licenses/LICENSE" in archive.namelist()
        assert entry_points.split() == ["[console_scripts]", "quanta", "=", "cli:main"]
        assert "\nName: quanta\n" in metadata
        assert "\nRequires-Python: >=3.11\n" in metadata
        assert len((ROOT / "README.md").read_text()) > 0
        assert metadata.endswith((ROOT / "README.md").read_text())

    def test_installed_it_trains(self, wheel, tiny_toml, tmp_path):
        installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
        elsewhere.mkdir()
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
        run_python(*pip, "--target", installed, wheel, cwd=elsewhere)
        program = (
            "import cli, quanta, analysis, tasks\nfor m in cli, quanta, analysis, tasks: print(m.__file__)"
        )
        files = run_python("-c", program, cwd=elsewhere, path=installed).splitlines()
        assert all(Path(file).is_relative_to(installed) for file in files)
        assert run_python("-m", "cli", "--help", cwd=elsewhere, path=installed).startswith("Usage: ")
        assert "demo " in run_python("-m", "cli", "train", "--list", cwd=elsewhere, path=installed)
        # As `python -m cli train`, and tells whether the compiled code is found there as well.
        program = (
            "from quanta.cli import main\nmain(['train', {!r}], standalone_mode=False)\n"
            "from quanta import Population\nprint(Population((2,), 4, 6).is_compiled)"
        )
        out = run_python("-c", program.format(str(tiny_toml)), cwd=elsewhere, path=installed)
        assert out.splitlines()[0] == "runs/tiny"
        assert len(list((elsewhere / "runs" / "tiny").glob("units/*/manifest.json"))) == 3
        assert out.splitlines()[1] == str(Population((2,), 4, 6).is_compiled)
