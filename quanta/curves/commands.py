"""The door to curves from elsewhere: `quanta import`."""

from pathlib import Path

import click

from quanta.tasks.terminal import PathType, RealRange, echo, note

# Only click is imported here: `quanta --help` must not wait for xarray. Commands import what they need.


@click.group("import", short_help="Make curves of what others logged.")
def import_() -> None:
    """Make curves of what other programs have logged, for all commands that take a file of curves.

    Nothing that is read is run.
    """


_import_out_option = click.option(
    "--out",
    required=True,
    type=PathType(dir_okay=False),
    help="File of curves (netCDF), usually ending in .nc.",
)


@import_.command("sacred", short_help="Run folders of the paper's code.")
@click.argument(
    "folders", metavar="DIR...", nargs=-1, required=True, type=PathType(exists=True, file_okay=False)
)
@_import_out_option
def import_sacred(folders: tuple[Path, ...], out: Path) -> None:
    """Import runs of the code of arXiv:2303.13506, each DIR a run folder of sacred or a folder of such.

    A run folder holds config.json and info.json. All runs become one file over alpha, n_train, seed, width,
    step and subtask: their "alpha" is 1 + alpha here, their D of -1 is online, their nats become bits. Those
    that are not finished or damaged, or differ from most, are named and left out. Prints the path.
    """
    from quanta import curves_from_sacred, save_curves

    curves, left_out = curves_from_sacred(folders)
    save_curves(curves, out)
    for folder, reason in left_out.items():
        note(f"left out: {folder}: {reason}")
    echo(out)


@import_.command("csv", short_help="A long table.")
@click.argument("file", type=PathType(exists=True, dir_okay=False))
@_import_out_option
@click.option(
    "--alpha",
    type=RealRange(-1),
    help="Quanta exponent, which gives the frequencies; -1 for equal ones.  [default: the column]",
)
@click.option(
    "--offset",
    type=RealRange(-1, min_open=True),
    default=0.0,
    show_default=True,
    help="Frequencies follow (k + offset)^-(1 + alpha).",
)
@click.option(
    "--unit",
    type=click.Choice(["bits", "nats"]),
    default="bits",
    show_default=True,
    help="Of the losses in the file.",
)
@click.option(
    "--chance",
    type=RealRange(0, min_open=True),
    help="Loss of a subtask of which nothing is learned, in the same unit.  [default: not known]",
)
@click.option(
    "--align", is_flag=True, help="Bring networks that were measured at other steps onto common ones."
)
def import_csv(
    file: Path,
    out: Path,
    alpha: float | None,
    offset: float,
    unit: str,
    chance: float | None,
    align: bool,
) -> None:
    """Import FILE, a table with one row a measurement, whose first line names the columns.

    Columns: step, subtask (1 is the most frequent), loss; width or n_parameters, or both; frequency, or else
    alpha as a column or by --alpha; and as far as there are any: seed, alpha, n_train, accuracy, brier.
    Others are left aside. Rows have to fill a grid; what is missing is named. Prints the path.
    """
    from quanta import curves_from_csv, save_curves

    curves = curves_from_csv(file, alpha=alpha, offset=offset, unit=unit, chance=chance, align=align)
    save_curves(curves, out)
    if (curves["n_parameters"].values == curves["width"].values).all():
        note("there is one column of sizes, which stands for width and for n_parameters")
    if curves.attrs.get("left_out"):
        note(f"left out: {curves.attrs['left_out']}")
    echo(out)
