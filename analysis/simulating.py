"""The command that writes curves with a known answer."""

from pathlib import Path

import click

from quanta.tasks.terminal import PathType, RealRange, WholeRange, echo, echo_descriptions

# Only click is imported here: `quanta --help` must not wait for xarray. Commands import what they need.


class _WorldCommand(click.Command):
    """A command whose help ends with the worlds; what they are is read only then."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from quanta.analysis.theories.worlds import WORLDS

        with formatter.section("Worlds"):
            formatter.write_dl([(name, world.meaning) for name, world in WORLDS.items()])


def _parse_world(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    from quanta.analysis.theories.worlds import WORLDS

    choice = click.Choice(list(WORLDS))
    return choice.convert(value, parameter, ctx)


def _list_worlds(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from quanta.analysis.theories.worlds import WORLDS

    echo_descriptions({name: world.meaning for name, world in WORLDS.items()})
    ctx.exit()


@click.command(cls=_WorldCommand, short_help="Write curves with a known answer.")
@click.argument("world", callback=_parse_world)
@click.option(
    "--out",
    required=True,
    type=PathType(dir_okay=False),
    help="File of curves (netCDF), usually ending in .nc.",
)
@click.option(
    "--alpha",
    type=RealRange(0, 4, min_open=True),
    help="Quanta exponent; the world uniform has none.  [default: 0.4]",
)
@click.option(
    "--n-subtasks",
    "-K",
    type=WholeRange(2, 10_000),
    default=64,
    show_default=True,
    help="Number of subtasks K.",
)
@click.option("--n-seeds", type=WholeRange(1, 1000), default=5, show_default=True, help="Independent draws.")
@click.option("--steps", type=WholeRange(1, 10**9), default=6000, show_default=True, help="The last step.")
@click.option(
    "--scatter",
    type=RealRange(0, 3),
    default=0.3,
    show_default=True,
    help="Standard deviation of log learning times.",
)
@click.option(
    "--seed", type=WholeRange(min=0), default=0, show_default=True, help="Decides all that is random."
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_worlds,
    help="List the worlds.",
)
def simulate(
    world: str,
    out: Path,
    alpha: float | None,
    n_subtasks: int,
    n_seeds: int,
    steps: int,
    scatter: float,
    seed: int,
) -> None:
    """Write curves of WORLD, in which it is known what is learned, when and in which order.

    They have the schema of trained ones and about the sizes of the demo. Some hold to the hypothesis and
    some break it in one way each, so `quanta analyze` can be tried on them. Prints the path.
    """
    from quanta import save_curves
    from quanta.analysis import simulate

    if world == "uniform" and alpha is not None:
        raise click.UsageError("--alpha is not for the world uniform, whose frequencies are equal")
    curves = simulate(
        world,
        alpha=0.4 if alpha is None else alpha,
        n_subtasks=n_subtasks,
        n_seeds=n_seeds,
        steps=steps,
        scatter=scatter,
        seed=seed,
    )
    save_curves(curves, out)
    echo(out)
