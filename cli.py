"""The porch of the command line: the group, what goes wrong as exit codes, and the demo."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from quanta.analysis.commands import analyze, compare, discover, figures
from quanta.analysis.fits.errors import NoEstimate
from quanta.analysis.simulating import simulate
from quanta.commands import (
    EXIT_UNITS_FAILED,
    check_here,
    device_option,
    status,
    sweep_here,
    tell,
    train,
    verify,
)
from quanta.curves.commands import import_
from quanta.tasks.commands import generate
from quanta.tasks.errors import QuantaError, printable
from quanta.tasks.terminal import PathType, echo, open_closed_streams

# The doors import only click: `quanta --help` must not wait for torch. Commands import what they need.


def _show_help(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        echo(ctx.get_help())
        ctx.exit()


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from quanta._version import __version__

        echo(f"quanta {__version__}")
        ctx.exit()


def _commands_in(command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    """List a command and those in it if it is a group, each with the names that lead to it."""
    yield [str(command.name)], command
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from (([str(command.name), *path], each) for path, each in _commands_in(below))


class _Group(click.Group):
    """A group whose commands answer what goes wrong with one line and an exit code.

    All that it prints goes through `echo`: click's own way takes a closed pipe for a failure.
    """

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, each of whose options also answers to the variable that carries its name."""
        super().add_command(cmd, name)
        for path, command in _commands_in(cmd):
            for option in command.params:
                if isinstance(option, click.Option) and option.expose_value:
                    longest = max(option.opts, key=len).lstrip("-").replace("-", "_")
                    option.envvar = "_".join(["QUANTA", *path, longest]).upper()
                    option.show_envvar = True

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option that prints the help."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name."""
        command = super().get_command(ctx, cmd_name)
        for _, each in [] if command is None else _commands_in(command):
            option = each.get_help_option(ctx)
            if option is not None:
                option.callback = _show_help
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """Run, also where there is nobody to say anything to; what comes of it is the exit code."""
        open_closed_streams()
        is_alone = options.get("standalone_mode", True)
        options["standalone_mode"] = False
        if not is_alone:
            return super().main(*args, **options)
        try:
            exit_code = super().main(*args, **options)
        except click.Abort:
            exit_code = 1
            echo("Aborted!", err=True)
        except click.ClickException as error:
            exit_code = error.exit_code
            said = io.StringIO()
            error.show(said)
            echo(said.getvalue(), end="", err=True)
        except OSError as error:  # help that nowhere is room for; what commands raise is answered below
            exit_code = 1
            echo(f"Error: {error}", err=True)
        sys.exit(exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (QuantaError, NoEstimate, OSError) as error:
            from quanta.tasks.config import ConfigError  # takes pydantic

            kind = click.UsageError if isinstance(error, ConfigError) else click.ClickException
            raise kind(printable(str(error))) from error
        except click.ClickException as error:
            error.message = printable(error.message)  # type: ignore[misc]
            raise
        except MemoryError as error:
            raise click.ClickException(f"out of memory ({error})") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Test whether neural loss power laws come from counting learned quanta.

    Generate multitask sparse parity tasks, train ladders of MLPs on them, and see when each subtask is
    learned, in which order, and whether the loss follows from the count. `quanta demo` shows all of it.

    Every option can also be set in the environment, such as QUANTA_TRAIN_DEVICE=cpu; the command line wins.

    Exit codes: 0 done; 1 failed; 2 not how it is used; 3 some units failed; 4 what --strict asks for does not
    hold.
    """


@click.command(short_help="Train, analyze and draw the demo study.")
@click.option(
    "--out",
    type=PathType(file_okay=False),
    default=Path("runs/demo"),
    show_default=True,
    help="Run directory.",
)
@device_option
@click.pass_context
def demo(ctx: click.Context, out: Path, device: str) -> None:
    """Train the shipped demo study, print its verdict and draw its figures, in a minute or two."""
    from quanta import RunDirectory, load_study

    study = load_study("demo")
    chosen = check_here(study, device)
    run = RunDirectory.create(out, study)
    result = sweep_here(run, chosen, study.units())
    tell(run, result)
    ctx.invoke(analyze, path=run.path)
    echo("")
    ctx.invoke(figures, path=run.path)
    if result.failed:
        sys.exit(EXIT_UNITS_FAILED)


for command in (
    generate,
    train,
    status,
    verify,
    import_,
    simulate,
    analyze,
    compare,
    figures,
    discover,
    demo,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
