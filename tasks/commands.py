"""The door to the tasks: `quanta generate`."""

from pathlib import Path
from typing import Any

import click

from quanta.tasks.layout import METADATA, TENSORS
from quanta.tasks.terminal import PathType, RealRange, WholeRange, echo, echo_json


class _FileCommand(click.Command):
    """A command whose help ends with what stands in the file that it writes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, meanings in (("Tensors", TENSORS), ("Metadata", METADATA)):
            with formatter.section(title):
                formatter.write_dl(list(meanings.items()))


def _parse_k(ctx: click.Context, parameter: click.Parameter, value: str) -> int | tuple[int, ...]:
    found = _parse(f"[{value}]" if "," in value and "[" not in value else value)
    sizes = found if isinstance(found, list) else [found]
    if not all(type(size) is int for size in sizes):  # True is an int too
        raise click.BadParameter(f"{value!r} is neither a whole number nor several with commas.")
    return tuple(sizes) if isinstance(found, list) else found


def _parse_alpha(ctx: click.Context, parameter: click.Parameter, value: str) -> float | str:
    found = _parse(value)
    if found == "uniform":
        return "uniform"
    try:
        return float(found)
    except (TypeError, ValueError):
        raise click.BadParameter(f"{value!r} is neither a number nor 'uniform'.") from None


def _parse(text: str) -> Any:
    """Read a value as a study takes it; None if it is none."""
    from quanta.tasks.config import ConfigError
    from quanta.tasks.toml import parse_value

    try:
        return parse_value(text)
    except ConfigError:
        return None


@click.command(cls=_FileCommand, short_help="Write a task file.")
@click.argument("path", type=PathType(dir_okay=False))
@click.option(
    "--n-subtasks",
    "-K",
    type=WholeRange(1, 100_000),
    default=500,
    show_default=True,
    help="Number of subtasks K.",
)
@click.option(
    "--n-bits",
    "-n",
    type=WholeRange(1, 4096),
    default=100,
    show_default=True,
    help="Number of bits of a sample.",
)
@click.option(
    "--k",
    "-k",
    default="3",
    show_default=True,
    callback=_parse_k,
    metavar="N[,N...]",
    help="Bits in a subtask's parity: one number, or one per subtask.",
)
@click.option(
    "--alpha",
    default="0.4",
    show_default=True,
    callback=_parse_alpha,
    metavar="A|uniform",
    help="Quanta exponent; frequencies fall as rank^-(1+A). Or equal frequencies.",
)
@click.option(
    "--offset",
    type=RealRange(min=-1, min_open=True),
    default=0.0,
    show_default=True,
    help="Added to the rank; flattens the head.",
)
@click.option(
    "--seed",
    type=WholeRange(min=0),
    default=0,
    show_default=True,
    help="Decides the subsets: the task is that of a study's unit with this seed.",
)
@click.option(
    "--samples",
    type=WholeRange(1, 10**8),
    metavar="N",
    help="Also draw N samples of the task, which no training draws.",
)
@click.option(
    "--sample-seed",
    type=WholeRange(min=0),
    metavar="N",
    help="Decides, with --seed, the samples; another gives other samples of the same task.  [default: 0]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def generate(
    path: Path,
    n_subtasks: int,
    n_bits: int,
    k: int | tuple[int, ...],
    alpha: float | str,
    offset: float,
    seed: int,
    samples: int | None,
    sample_seed: int | None,
    as_json: bool,
) -> None:
    """Write a multitask sparse parity task, and a sample of it if asked for, to PATH (safetensors).

    What the file holds is described below, and in its own metadata.
    """
    from quanta.tasks import MultitaskSparseParity, TaskSpec

    if samples is None and sample_seed is not None:
        raise click.UsageError("--sample-seed is for --samples, and no samples were asked for")
    spec = TaskSpec.parse(
        {"n_subtasks": n_subtasks, "n_bits": n_bits, "k": k, "alpha": alpha, "offset": offset}
    )
    spec.check_samples(samples or 0)
    task = MultitaskSparseParity(spec, seed)
    sample = None
    if samples is not None:
        sample_seed = sample_seed or 0
        sample = task.draw_handout(samples, sample_seed)
    task.save(path, sample, sample_seed)
    made = {
        "schema": 1,
        "path": str(path),
        "seed": seed,
        "samples": samples,
        "sample_seed": sample_seed,
        **spec.model_dump(mode="json"),
    }
    if as_json:
        echo_json(made | {"frequencies": task.frequencies.tolist()})
    else:
        law = "uniform" if spec.alpha == "uniform" else f"Zipf with exponent {1 + spec.alpha:g}"
        echo(
            f"{path}: {n_subtasks} subtasks on {n_bits} bits, frequencies {law}, "
            f"from {task.frequencies[0]:.3g} to {task.frequencies[-1]:.3g}; {samples or 'no'} samples"
        )
