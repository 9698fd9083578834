"""How commands print and take numbers: what their doors in every package share."""

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

# `quanta --help` must not wait for more than click.
if TYPE_CHECKING:
    from rich.console import Console

TABLE_WIDTH = 100
"""Columns of a table that is not printed to a terminal."""


class RealRange(click.FloatRange):
    """A range of numbers, to which neither NaN nor infinity belongs."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a value, or fail with the option, what it takes and what came."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):  # no comparison with a bound tells
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


class WholeRange(click.IntRange):
    """A range of whole numbers, which may be written in all ways of TOML."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a value, or fail with the option, what it takes and what came."""
        if isinstance(value, str):
            with suppress(ValueError):
                value = int(value, 0)  # 0x10 too
        return super().convert(value, param, ctx)


class AssignmentType(click.types.StringParamType):
    """NAME=VALUE, where the value is one of TOML or a bare word."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Part several in one variable where a space follows a value; within a value there may be some."""
        parts: list[str] = []
        for word in re.findall(r"\S+\s*", rv):
            if parts and not _is_complete(parts[-1]):
                parts[-1] += word
            else:
                parts.append(word)
        return [part.strip() for part in parts]


def _is_complete(assignment: str) -> bool:
    from quanta.tasks.config import ConfigError
    from quanta.tasks.toml import parse_value

    _, _, text = assignment.partition("=")
    try:
        return bool(parse_value(text) != "")
    except ConfigError:  # a string, a list or a table goes on
        return False


class PathType(click.Path):
    """A path, of which ``~`` is the home of a user, as after ``--out ~/x`` where a shell puts it in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert a value, or fail with the option, what it takes and what came."""
        path: Path = super().convert(os.path.expanduser(value), param, ctx)  # type: ignore[assignment]
        # A folder that is called ~ and was given as ./~ must not be taken for a home by who reads it again.
        return path.absolute() if str(path).startswith("~") else path


def echo(text: object, *, end: str = "\n", err: bool = False) -> None:
    """Print to stdout, as the result of a command.

    That nobody reads it any more (``| head -1``) is no failure, and what the encoding of the stream lacks is
    printed as a question mark. Names of files are printed as the bytes that they are, be they text or not.

    Parameters
    ----------
    text : object
        Taken as a string.
    end : str, default a new line
    err : bool, default False
        Print to stderr instead.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = f"{text}{end}"
    printable: str | bytes = line.encode(encoding, errors="replace").decode(encoding)
    if any("\udc80" <= sign <= "\udcff" for sign in line):  # how Python writes bytes that are no text
        printable = b"".join(_as_bytes(sign, encoding) for sign in line)
    try:
        click.echo(
            printable, nl=False, err=err, color=None if err else True
        )  # what has colours had a reason to
    except BrokenPipeError:
        # What is in the buffer would fail again when the interpreter ends.
        _lead_nowhere(stream.fileno())
    except OSError:
        _lead_nowhere(stream.fileno())
        if not err:  # a full disk has lost the result; of what is said beside it, nothing depends
            raise


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _as_bytes(sign: str, encoding: str) -> bytes:
    return os.fsencode(sign) if "\udc80" <= sign <= "\udcff" else sign.encode(encoding, errors="replace")


def open_closed_streams() -> None:
    """Let stdout and stderr lead nowhere where they are closed (``>&-``).

    Python then has None in their place, and the next file that is opened would be taken for them.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            _lead_nowhere(descriptor)
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))


def echo_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on one line."""
    echo(json.dumps(values))


def echo_rich(render: "Callable[[Console], None]") -> None:
    """Print what a function prints to a console of rich.

    Parameters
    ----------
    render : callable
        Called with a console as wide as the terminal, or `TABLE_WIDTH` where there is none.
    """
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    with console.capture() as printed:
        render(console)
    # Cells are as wide as their column; of that, the last ones need nothing.
    echo(re.sub(r" +((?:\x1b\[[\d;]*m)*)$", r"\1", printed.get(), flags=re.MULTILINE), end="")


def echo_descriptions(descriptions: Mapping[str, str]) -> None:
    """Print names and what they stand for, a line each; on a terminal, as many as it takes."""
    first = max(map(len, descriptions)) + 2
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, description in descriptions.items():
        whole = f"{name:<{first}}{description}"
        echo(click.wrap_text(whole, max(width, 2 * first), subsequent_indent=" " * first))


def format_duration(seconds: float) -> str:
    """Write a time for people: ``"5 min"``."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def note(text: str) -> None:
    """Say on stderr what the user should know and did not ask for."""
    echo(f"note: {text}", err=True)


@contextmanager
def progress(name: str, total: int, what: str) -> Iterator[Callable[[int], None] | None]:
    """Show one bar on stderr while the block runs; nothing when stderr is not a terminal.

    Parameters
    ----------
    name : str
        What is at work.
    total : int
        How much there is to do.
    what : str
        What is counted, in the plural.

    Yields
    ------
    callable or None
        To be called with how much more has been done; None where nothing is shown.
    """
    if not sys.stderr.isatty() or total == 0:  # rich believes in a terminal under FORCE_COLOR
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{what}, {{task.fields[rate]}} a second,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total, rate="?")

        def advance(n_done: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=n_done, rate=f"{speed:.{0 if speed >= 10 else 1}f}" if speed else "?")

        yield advance
