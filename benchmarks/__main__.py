"""Time a step of training: ``python -m benchmarks``."""

import json
import sys
from pathlib import Path

import click
import torch
from rich.console import Console

from benchmarks.measure import FULL, QUICK, measure
from benchmarks.report import make_markdown, print_tables, save_plot


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "output", flag_value="json", help="Print one JSON object.")
@click.option("--markdown", "output", flag_value="markdown", help="Print tables in Markdown.")
@click.option("--quick", is_flag=True, help="Half a minute, at smaller sizes, instead of four minutes.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of all.  [default: torch's own choice]")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a figure to this file.",
)
def main(output: str | None, quick: bool, threads: int | None, plot: Path | None) -> None:
    """Time a step of training a ladder of MLPs, ours and other ways to take it."""
    if threads is not None:
        torch.set_num_threads(threads)
    result = measure(QUICK if quick else FULL, lambda what: click.echo(f"{what} ...", err=True))
    if plot is not None:
        save_plot(result, plot)
    if output == "json":
        click.echo(json.dumps(result))
    elif output == "markdown":
        click.echo(make_markdown(result))
    else:
        print_tables(result, Console(width=None if sys.stdout.isatty() else 100))


if __name__ == "__main__":
    main()
