"""The commands of README and docs, as they are typed into a shell."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from quanta.cli import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("quanta", "make", "pip", "python", "dask", "sbatch", "git")
WRITTEN_FOR = {"my-study.toml": "demo", "tcp://ADDRESS": "tcp://a:1", "tcp://FIRST-HOST:8786": "tcp://a:1"}


def commands_of(document):
    """Every command of a document: in blocks, after a prompt or not, and in running text."""
    fence, found = None, []
    for line in document.read_text(encoding="utf-8").splitlines():
        opened = re.match(r"```(\w*)", line)
        if opened:
            fence = None if fence is not None else opened.group(1)
        elif fence in ("sh", "bash", "console", "zsh"):
            found.append(line.removeprefix("$ "))
        elif fence is None and line.startswith("    "):
            found.append(line[4:].removeprefix("$ "))
        elif fence is None:
            found += re.findall(r"`([^`]+)`", line)
    first = "|".join(PROGRAMS)
    return [line for line in found if re.match(rf"([A-Z_]+=\S* )*({first})( |$)|[A-Z_]+='", line)]


COMMANDS = [(path.name, line) for path in DOCUMENTS for line in commands_of(path)]


def test_they_are_found():
    lines = [line for _, line in COMMANDS]
    assert len(lines) > 30
    assert "make demo" in lines
    assert "quanta train demo --shard 2/2 --out runs/demo" in lines
    assert "pip install -c constraints.txt '.[cluster]'" in lines


@pytest.mark.parametrize(("name", "line"), COMMANDS)
class TestInAShell:
    def test_a_pattern_without_a_file_is_an_error(self, name, line, tmp_path):
        # As in zsh. What is called does nothing.
        program = "".join(f"{each}() {{ :; }}; " for each in PROGRAMS) + line
        done = subprocess.run(
            ["bash", "-O", "failglob", "-O", "extglob", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_nothing_else_means_more_to_zsh(self, name, line):
        # Typed in, it knows no comments, and takes =word for the path of a command.
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "Q", line)
        assert not re.search(r"(^|\s)(#|=)|[!^~(){}\[\]*?]", bare)

    def test_quanta_takes_it(self, name, line):
        words = [WRITTEN_FOR.get(word, word) for word in shlex.split(line.partition("|")[0])]
        if words[0] != "quanta" or len(words) == 1:
            return
        command = main.commands.get(words[1])
        assert command is not None, f"there is no command {words[1]}"
        porch = main.make_context("quanta", [], resilient_parsing=True)
        context = command.make_context(words[1], [], parent=porch, resilient_parsing=True)
        _, rest, _ = command.make_parser(context).parse_args(words[2:])
        if isinstance(command, click.Group) and rest:
            below = command.commands.get(rest[0])
            assert below is not None, f"there is no command {words[1]} {rest[0]}"
            context = below.make_context(rest[0], [], parent=context, resilient_parsing=True)
            _, rest, _ = below.make_parser(context).parse_args(rest[1:])
        assert rest == []
