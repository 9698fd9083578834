import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from quanta.tasks.terminal import (
    TABLE_WIDTH,
    AssignmentType,
    RealRange,
    WholeRange,
    echo_json,
    echo_rich,
    note,
)

ROOT = Path(__file__).parents[2]


def start(program, **options):
    """Run a program that has what is tested here, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys\nfrom quanta.tasks.terminal import *\n{program}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


class TestRealRange:
    @pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
    def test_refuses_what_no_bound_refuses(self, text):
        with pytest.raises(click.BadParameter, match=rf"^{text} is not in the range x>=-2\.$"):
            RealRange(min=-2).convert(text, None, None)

    def test_takes_what_is_in_the_range(self):
        assert RealRange(0, 1, max_open=True).convert("0.25", None, None) == 0.25
        with pytest.raises(click.BadParameter, match=r"1.0 is not in the range 0<=x<1"):
            RealRange(0, 1, max_open=True).convert("1", None, None)


class TestWholeRange:
    @pytest.mark.parametrize(
        ("text", "number"), [("0x10", 16), (" 7\n", 7), ("1_0", 10), ("+3", 3), ("010", 10)]
    )
    def test_takes_what_toml_takes(self, text, number):
        assert WholeRange(1, 16).convert(text, None, None) == number

    @pytest.mark.parametrize("text", ["0x11", "0", "1.5", "1 2", "", "x"])
    def test_refuses_the_rest(self, text):
        with pytest.raises(click.BadParameter, match="is not"):
            WholeRange(1, 16).convert(text, None, None)


class TestAssignmentType:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("a=1 b=2\nc=3\n", ["a=1", "b=2", "c=3"]),
            ("a = 1  b= 2 c =3", ["a = 1", "b= 2", "c =3"]),
            ("a=[0,\n 1] b={ x = [[1], [2]] }", ["a=[0,\n 1]", "b={ x = [[1], [2]] }"]),
            (r'a="x \" ] y" b=1', [r'a="x \" ] y"', "b=1"]),
            ("a='''x\ny''' b=1", ["a='''x\ny'''", "b=1"]),
            ("a=[1 b=2", ["a=[1 b=2"]),
            ("a=1 junk", ["a=1", "junk"]),
            ("a=uniform b=online", ["a=uniform", "b=online"]),
            ("  ", []),
        ],
    )
    def test_parts_several_where_a_value_ends(self, text, parts):
        assert AssignmentType().split_envvar_value(text) == parts


class TestEcho:
    def test_nobody_reads_any_more(self):
        program = "sys.stdin.read()\necho('one')\necho('two')\nsys.exit(4)"
        with start(program, stdin=subprocess.PIPE) as process:
            process.stdout.close()
            process.stdin.close()
            assert process.stderr.read() == b""
            assert process.wait(timeout=60) == 4

    def test_somebody_reads(self):
        stdout, stderr = start("echo(3)\necho('b', end='')\necho('')").communicate(timeout=60)
        assert (stdout, stderr) == (b"3\nb\n", b"")

    @pytest.mark.parametrize(
        ("encoding", "printed"),
        [("latin-1", b"\xe4 ? ?\n"), ("ascii", b"? ? ?\n"), ("utf-8", "ä α ≥\n".encode())],
    )
    def test_an_encoding_that_lacks_a_sign(self, encoding, printed):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        process = start(r"echo('\xe4 \u03b1 \u2265')", env=environment)
        assert process.communicate(timeout=60) == (printed, b"")

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
    def test_closed_streams(self, closed):
        program = (
            "from quanta.tasks.terminal import *; import sys; open_closed_streams(); echo(1); note('x'); "
        )
        done = subprocess.run(
            ["sh", "-c", f'"$0" -W error -c "$1" {closed}', sys.executable, f"{program} sys.exit(4)"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        out, err = (
            (b"" if ">&-" in closed.replace("2>&-", "") else b"1\n"),
            b"" if "2>" in closed else b"note: x\n",
        )
        assert (done.returncode, done.stdout, done.stderr) == (4, out, err)

    def test_nobody_hears_notes_any_more(self):
        with start("sys.stdin.read()\nnote('x')\nnote('y')\necho(3)", stdin=subprocess.PIPE) as process:
            process.stderr.close()
            process.stdin.close()
            assert process.stdout.read() == b"3\n"
            assert process.wait(timeout=60) == 0

    def test_lines_end_with_what_is_on_them(self, capsys):
        echo_rich(lambda console: console.print("a  \n\n  b   "))
        assert capsys.readouterr().out == "a\n\n  b\n"

    def test_colours_are_kept(self, capsys):
        # Rich leaves them out where they are not asked for.
        echo_rich(lambda console: console.print("plain", style="red"))
        assert capsys.readouterr().out == "plain\n"

    def test_colours_that_are_asked_for_are_kept(self, capsys, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.delenv("NO_COLOR", raising=False)
        echo_rich(lambda console: console.print("red", style="red"))
        assert capsys.readouterr().out == "\x1b[31mred\x1b[0m\n"

    def test_the_width_of_a_table(self, capsys, monkeypatch):
        monkeypatch.delenv("COLUMNS", raising=False)
        echo_rich(lambda console: console.rule(characters="-"))
        assert capsys.readouterr().out == "-" * TABLE_WIDTH + "\n"

    def test_json_is_one_line(self, capsys):
        echo_json({"a": [1, None], "b": "\n"})
        assert capsys.readouterr().out == '{"a": [1, null], "b": "\\n"}\n'

    def test_notes_are_not_results(self, capsys):
        note("by the way")
        assert capsys.readouterr() == ("", "note: by the way\n")
