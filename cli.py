"""The command line: parse, call, print."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

# Only click is imported here: `quanta --help` must not wait for torch. Commands import what they need.
if TYPE_CHECKING:
    from quanta import RunDirectory, SweepResult
    from quanta.spec import StudySpec

EXIT_UNITS_FAILED = 3
EXIT_NOT_SUPPORTED = 4

TABLE_WIDTH = 100
"""Columns of a table that is not printed to a terminal."""


class _Group(click.Group):
    """A group whose commands answer what goes wrong with one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from tasks.config import ConfigError

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "QUANTA",
        "max_content_width": 100,
    },
)
@click.version_option(package_name="quanta", message="%(prog)s %(version)s")
def main() -> None:
    """Test whether neural loss power laws come from counting learned quanta.

    Generate multitask sparse parity tasks, train ladders of MLPs on them, and see when each subtask is
    learned, in which order, and whether the loss follows from the count. `quanta demo` shows all of it.

    Every option can also be set in the environment, such as QUANTA_TRAIN_DEVICE=cpu.
    """


def _parse_k(ctx: click.Context, parameter: click.Parameter, value: str) -> int | tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a whole number nor several with commas.") from None
    return sizes[0] if len(sizes) == 1 else sizes


def _parse_alpha(ctx: click.Context, parameter: click.Parameter, value: str) -> float | str:
    if value == "uniform":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor 'uniform'.") from None


@main.command(short_help="Write a task file.")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--n-subtasks",
    "-K",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    help="Number of subtasks K.",
)
@click.option(
    "--n-bits",
    "-n",
    type=click.IntRange(1, 4096),
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
    type=click.FloatRange(min=-1, min_open=True),
    default=0.0,
    show_default=True,
    help="Added to the rank; flattens the head.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides the subsets.")
@click.option(
    "--samples",
    type=click.IntRange(1, 10**8),
    metavar="N",
    help="Also draw N samples of the task.",
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
    as_json: bool,
) -> None:
    """Write a multitask sparse parity task, and a sample of it if asked for, to PATH (safetensors)."""
    import torch

    from tasks import MultitaskSparseParity, TaskSpec, derive_seed

    spec = TaskSpec.parse(
        {"n_subtasks": n_subtasks, "n_bits": n_bits, "k": k, "alpha": alpha, "offset": offset}
    )
    task = MultitaskSparseParity(spec, seed)
    generator = torch.Generator().manual_seed(derive_seed(seed, "data"))
    task.save(path, task.sample(samples, generator) if samples else None)
    made = {"schema": 1, "path": str(path), "seed": seed, "samples": samples, **spec.model_dump(mode="json")}
    if as_json:
        click.echo(json.dumps(made | {"frequencies": task.frequencies.tolist()}))
    else:
        law = "uniform" if spec.alpha == "uniform" else f"Zipf with exponent {1 + spec.alpha:g}"
        click.echo(
            f"{path}: {n_subtasks} subtasks on {n_bits} bits, frequencies {law}, "
            f"from {task.frequencies[0]:.3g} to {task.frequencies[-1]:.3g}; {samples or 'no'} samples"
        )


_device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; auto is CUDA if there is one.",
)


def _list_studies(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from quanta import shipped_studies

    studies = shipped_studies()
    for name, description in studies.items():
        click.echo(f"{name:<{max(map(len, studies))}}  {description}")
    ctx.exit()


@main.command(short_help="Train a study's populations.")
@click.argument("study")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Run directory.  [default: runs/NAME]"
)
@_device_option
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the study, e.g. training.steps=1000.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float64", "bf16", "tf32"]),
    help="Short for --set training.precision=...; bf16 (on a CPU) and tf32 (CUDA only) are faster and round "
    "factors of products.",
)
@click.option("--overwrite", is_flag=True, help="Delete what the run directory holds and start again.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_studies,
    help="List the shipped studies.",
)
def train(
    study: str,
    out: Path | None,
    device: str,
    overrides: tuple[str, ...],
    precision: str | None,
    overwrite: bool,
) -> None:
    """Train the populations of STUDY, a TOML file or the name of a shipped study.

    Prints the run directory. Units that are done are kept, so the same command continues a study that was
    interrupted. Exit code 3 if some units failed.
    """
    from quanta import load_study

    if precision is not None:
        overrides += (f"training.precision={precision}",)
    run, result = _train(load_study(study, overrides), out, device, overwrite)
    click.echo(run.path)
    if result.failed:
        sys.exit(EXIT_UNITS_FAILED)


def _train(
    study: "StudySpec", out: Path | None, device: str, overwrite: bool
) -> "tuple[RunDirectory, SweepResult]":
    from quanta import RunDirectory, resolve_device, run_sweep
    from quanta.kernel import why_not_compiled
    from quanta.training import check_precision

    chosen = resolve_device(device)
    check_precision(study.training.precision, chosen)
    run = RunDirectory.create(out or Path("runs") / study.name, study, overwrite=overwrite)
    pending = run.pending()
    n_units = len(run.study.units())
    click.echo(
        f"{study.name}: {len(pending)} of {n_units} units to train on {chosen}, "
        f"{len(study.population.widths)} widths together, {study.training.steps} steps each",
        err=True,
    )
    reason = why_not_compiled() if chosen.type == "cpu" and pending else None
    if reason is not None:
        click.echo(f"note: training without compiled code, which is slower: {reason}", err=True)
    with _progress(study.name, len(pending) * study.training.steps) as advance, _stop_on_terminate():
        try:
            result = run_sweep(run, chosen, advance)
        except KeyboardInterrupt:
            left = len(run.pending())
            raise click.ClickException(
                f"interrupted: {n_units - left} of {n_units} units are done in {run.path}; "
                "the same command continues"
            ) from None
    for unit, reason in result.failed.items():
        click.echo(f"failed: {unit}: {reason}", err=True)
    return run, result


@contextmanager
def _stop_on_terminate() -> Iterator[None]:
    """Let SIGTERM stop a sweep as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """Show one bar on stderr while the block runs; nothing when stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not sys.stderr.isatty() or total == 0:  # console.is_terminal is true under FORCE_COLOR
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, {task.fields[rate]} a second,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total, rate="?")

        def advance(n_steps: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=n_steps, rate=f"{speed:.0f}" if speed else "?")

        yield advance


def _analysis_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that every command over curves shares."""
    for option in (
        click.option("--alpha", type=float, help="Which alpha, if the curves hold several; -1 is uniform."),
        click.option("--n-train", type=float, help="Which n_train, if there are several; inf is online."),
        click.option(
            "--tau",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=0.1,
            show_default=True,
            help="Loss in bits below which a subtask is learned.",
        ),
    ):
        command = option(command)
    return command


@main.command(short_help="Check whether the loss follows from the count.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@_analysis_options
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Nominal coverage of the intervals.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(1, 10**6),
    default=2000,
    show_default=True,
    help="Resamples of the seeds behind each interval.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--strict", is_flag=True, help="Exit with code 4 unless the outcome is 'supported'.")
def analyze(
    path: Path,
    alpha: float | None,
    n_train: float | None,
    tau: float,
    confidence: float,
    bootstrap: int,
    seed: int,
    as_json: bool,
    strict: bool,
) -> None:
    """Analyze PATH, a run directory or a netCDF file of curves, and print the verdict.

    For a run directory, also writes verdict.json, q_sequence.csv and scaling.csv to its folder analysis/.
    """
    from rich.console import Console

    from analysis import judge, learning_times, render, select, tabulate_q_sequence
    from quanta import load

    curves = load(path)
    _say_missing(curves.attrs)
    chosen = select(curves, alpha, n_train)
    verdict = judge(chosen, tau=tau, confidence=confidence, n_bootstrap=bootstrap, seed=seed)
    if path.is_dir():
        from tasks.atomic import atomic_write

        folder = path / "analysis"
        with atomic_write(folder / "verdict.json") as file:
            file.write_text(json.dumps(verdict.to_dict(), indent=2) + "\n")
        for name, table in (
            ("q_sequence", tabulate_q_sequence(learning_times(chosen, tau))),
            ("scaling", verdict.scaling),
        ):
            with atomic_write(folder / f"{name}.csv") as file:
                table.to_csv(file, index=False)
    if as_json:
        click.echo(json.dumps(verdict.to_dict()))
    else:
        render(verdict, Console(width=None if sys.stdout.isatty() else TABLE_WIDTH))
    if strict and verdict.outcome != "supported":
        sys.exit(EXIT_NOT_SUPPORTED)


@main.command(short_help="Draw the figures.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["png", "svg", "pdf"]),
    default="png",
    show_default=True,
    help="File format; PNG at 200 dpi.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder.  [default: PATH/figures, or figures beside a file]",
)
@_analysis_options
def figures(
    path: Path,
    file_format: Literal["png", "svg", "pdf"],
    out: Path | None,
    alpha: float | None,
    n_train: float | None,
    tau: float,
) -> None:
    """Draw the seven figures of PATH, a run directory or a netCDF file of curves; prints their paths."""
    from analysis import save_figures, select
    from quanta import load

    curves = load(path)
    _say_missing(curves.attrs)
    folder = out or (path if path.is_dir() else path.parent) / "figures"
    for file in save_figures(select(curves, alpha, n_train), folder, format=file_format, tau=tau):
        click.echo(file)


@main.command(short_help="Train, analyze and draw the demo study.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Run directory.",
)
@_device_option
@click.pass_context
def demo(ctx: click.Context, out: Path, device: str) -> None:
    """Train the shipped demo study, print its verdict and draw its figures, in a minute or two."""
    from quanta import load_study

    run, result = _train(load_study("demo"), out, device, overwrite=False)
    ctx.invoke(analyze, path=run.path)
    click.echo()
    ctx.invoke(figures, path=run.path)
    if result.failed:
        sys.exit(EXIT_UNITS_FAILED)


def _say_missing(attributes: dict[str, Any]) -> None:
    missing = attributes.get("units_missing", 0)
    if missing:
        click.echo(
            f"note: {missing} units of the study are not done; seeds they belong to are left out", err=True
        )


if __name__ == "__main__":
    main()
