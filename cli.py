"""The porch of the command line: the group, what goes wrong as exit codes, and the demo."""

import sys
from pathlib import Path
from typing import Any

import click

from quanta.analysis.commands import analyze, discover, figures, simulate
from quanta.analysis.fits.errors import NoEstimate
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
from quanta.tasks.commands import generate
from quanta.tasks.errors import QuantaError, printable
from quanta.tasks.terminal import PathType, echo, open_closed_streams

# The doors import only click: `quanta --help` must not wait for torch. Commands import what they need.


class _Group(click.Group):
    """A group whose commands answer what goes wrong with one line and an exit code."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, each of whose options also answers to the variable that carries its name."""
        super().add_command(cmd, name)
        for option in cmd.params:
            if isinstance(option, click.Option) and option.expose_value:
                longest = max(option.opts, key=len).lstrip("-").replace("-", "_")
                option.envvar = f"QUANTA_{cmd.name}_{longest}".upper()
                option.show_envvar = True

    def main(self, *args: Any, **options: Any) -> Any:
        """Run, also where there is nobody to say anything to."""
        open_closed_streams()
        try:
            return super().main(*args, **options)
        except OSError as error:  # help that nowhere is room for; what commands raise is answered below
            echo(f"Error: {error}", err=True)
            sys.exit(1)

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
@click.version_option(package_name="quanta", message="%(prog)s %(version)s")
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


for command in (generate, train, status, verify, simulate, analyze, figures, discover, demo):
    main.add_command(command)

if __name__ == "__main__":
    main()
