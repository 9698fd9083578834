"""The command line: parse, call, print."""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

# Only click is imported here: `quanta --help` must not wait for torch. Commands import what they need.
if TYPE_CHECKING:
    from rich.console import Console

    from quanta import RunDirectory, SweepResult
    from quanta.analysis import Evidence, Verdict
    from quanta.study.spec import StudySpec, UnitSpec

EXIT_UNITS_FAILED = 3
EXIT_NOT_SUPPORTED = 4

TABLE_WIDTH = 100
"""Columns of a table that is not printed to a terminal."""


class _Group(click.Group):
    """A group whose commands answer what goes wrong with one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from quanta.tasks.config import ConfigError

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error
        except MemoryError as error:
            raise click.ClickException(f"out of memory ({error})") from error


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

    from quanta.tasks import MultitaskSparseParity, TaskSpec, derive_seed

    spec = TaskSpec.parse(
        {"n_subtasks": n_subtasks, "n_bits": n_bits, "k": k, "alpha": alpha, "offset": offset}
    )
    spec.check_samples(samples or 0)
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

    _echo_descriptions(shipped_studies())
    ctx.exit()


def _echo_descriptions(descriptions: dict[str, str]) -> None:
    for name, description in descriptions.items():
        click.echo(f"{name:<{max(map(len, descriptions))}}  {description}")


def _parse_shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        index, n_shards = (int(part) for part in value.split("/"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not two whole numbers as in 1/4.") from None
    if not 1 <= index <= n_shards:
        raise click.BadParameter(f"{value!r} must satisfy 1 <= I <= N.")
    return index, n_shards


def _parse_scheduler(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"(tcp|tls)://\S+:\d{1,5}", value):
        raise click.BadParameter(f"{value!r} is not of the form tcp://HOST:PORT or tls://HOST:PORT.")
    return value


def _cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of who trains the units; without them it is this process, one after another."""
    pem = click.Path(exists=True, dir_okay=False)
    for option in (
        click.option("--tls-key", "tls_client_key", type=pem, help="Its key."),
        click.option("--tls-cert", "tls_client_cert", type=pem, help="Certificate to show to it."),
        click.option(
            "--tls-ca-file",
            type=pem,
            help="Who vouches for a tls:// scheduler (PEM).  [default: Dask's configuration, for all three]",
        ),
        click.option(
            "--threads",
            type=click.IntRange(1, 4096),
            metavar="N",
            help="Threads of a process; may change the last bits.  [default: 1 a worker, else all cores]",
        ),
        click.option(
            "--shard",
            callback=_parse_shard,
            metavar="I/N",
            help="Train the I-th of N parts of the units, for job arrays; combine by the same --out.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            callback=_parse_scheduler,
            help="Train on the workers of the Dask scheduler at tcp://HOST:PORT or tls://HOST:PORT.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, 1024),
            metavar="N",
            help="Train on N processes of this machine, each with a GPU of its own if there are any.",
        ),
    ):
        command = option(command)
    return command


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
@click.option("--retry-failed", is_flag=True, help="Train units again that failed before.")
@_cluster_options
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
    retry_failed: bool,
    workers: int | None,
    scheduler: str | None,
    shard: tuple[int, int] | None,
    threads: int | None,
    **tls: str | None,
) -> None:
    """Train the populations of STUDY, a TOML file or the name of a shipped study.

    Prints the run directory. Units that are done are kept, so the same command continues a study that was
    interrupted. Units that fail on their own, such as by diverging, do not stop the others. Exit code 3 if
    some failed, now or before.
    """
    from quanta import load_study

    if sum(option is not None for option in (workers, scheduler, shard)) > 1:
        raise click.UsageError("--workers, --scheduler and --shard exclude each other")
    if shard is not None and overwrite:
        raise click.UsageError("--overwrite is not for --shard: it would delete what other shards have done")
    files = {name: file for name, file in tls.items() if file is not None}
    if files and not (scheduler or "").startswith("tls://"):
        raise click.UsageError("--tls-ca-file, --tls-cert and --tls-key are for a --scheduler at tls://")
    if precision is not None:
        overrides += (f"training.precision={precision}",)
    loaded = load_study(study, overrides)
    where = workers or scheduler
    if where is None:
        sweep = _sweep_here(loaded, device, shard or (1, 1), threads, retry_failed)
    else:
        sweep = _sweep_on_cluster(where, device, threads or 1, files, retry_failed)
    run, result = _train(loaded, out, overwrite, sweep)
    click.echo(run.path)
    if result.failed:
        sys.exit(EXIT_UNITS_FAILED)


def _train(
    study: "StudySpec", out: Path | None, overwrite: bool, sweep: "Callable[[RunDirectory], SweepResult]"
) -> "tuple[RunDirectory, SweepResult]":
    from quanta import RunDirectory

    run = RunDirectory.create(out or Path("runs") / study.name, study, overwrite=overwrite)
    result = sweep(run)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    for unit, reason in result.failed.items():
        click.echo(f"failed: {unit}: {reason}", err=True)
    if result.stopped:
        n_units = len(study.units())
        raise click.ClickException(
            f"interrupted: {n_units - len(run.pending())} of {n_units} units are done in {run.path}; "
            "the same command continues where it stopped"
        )
    return run, result


def _sweep_here(
    study: "StudySpec",
    device: str,
    shard: tuple[int, int] = (1, 1),
    threads: int | None = None,
    retry_failed: bool = False,
) -> "Callable[[RunDirectory], SweepResult]":
    """Sweep the units of a shard, one after another in this process."""
    import torch

    from quanta import resolve_device, run_sweep
    from quanta.training.device import check_device
    from quanta.training.kernel import why_not_compiled

    chosen = resolve_device(device)
    for unit in study.units():
        check_device(unit, chosen)
    if threads is not None:
        torch.set_num_threads(threads)

    def sweep(run: "RunDirectory") -> "SweepResult":
        index, n_shards = shard
        units = study.units()[index - 1 :: n_shards]
        pending = _announce(run, units, str(chosen), retry_failed)
        reason = why_not_compiled() if chosen.type == "cpu" and pending else None
        if reason is not None:
            click.echo(f"note: training without compiled code, which is slower: {reason}", err=True)
        total = len(pending) * study.training.steps
        with _progress(study.name, total, "steps") as advance, _stop_on_signal() as stopping:
            return run_sweep(run, chosen, advance, stopping, units, retry_failed)

    return sweep


def _sweep_on_cluster(
    where: int | str, device: str, threads: int, tls: dict[str, str], retry_failed: bool
) -> "Callable[[RunDirectory], SweepResult]":
    """Sweep the units on a number of workers of this machine, or on those of the scheduler at an address."""
    try:
        from quanta.sweep.cluster import connect, run_on_cluster, start_workers
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"--workers and --scheduler need {error.name}: pip install distributed"
        ) from error

    def sweep(run: "RunDirectory") -> "SweepResult":
        study = run.study
        name = f"{where} workers" if isinstance(where, int) else f"the workers of {where}"
        pending = _announce(run, study.units(), name, retry_failed)
        connected = start_workers(where) if isinstance(where, int) else connect(where, **tls)
        total = len(pending) * study.training.steps
        with (
            _stop_on_signal() as stopping,
            connected as client,
            _progress(study.name, total, "steps") as advance,
        ):
            return run_on_cluster(run, client, device, threads, advance, stopping, retry_failed)

    return sweep


def _announce(
    run: "RunDirectory", units: "Sequence[UnitSpec]", where: str, retry_failed: bool
) -> "list[UnitSpec]":
    """Say which of the units will be trained, and return them."""
    from quanta import find_pending

    study = run.study
    pending, failed = find_pending(run, units, retry_failed=retry_failed)
    click.echo(
        f"{study.name}: {len(pending)} of {len(units)} units to train on {where}, "
        f"{len(study.population.widths)} widths together, {study.training.steps} steps each",
        err=True,
    )
    if failed:
        click.echo(
            f"note: units that failed before, {len(failed)} of them, are left alone; "
            "`quanta train --retry-failed` tries again",
            err=True,
        )
    return pending


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM stop a sweep after its step; the next one stops it at once."""
    caught = []

    def stop(number: int, frame: object) -> None:
        caught.append(number)
        for which, handler in before.items():
            signal.signal(which, signal.default_int_handler if which == signal.SIGTERM else handler)

    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    for which in before:
        signal.signal(which, stop)
    try:
        yield lambda: bool(caught)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


@contextmanager
def _progress(name: str, total: int, what: str) -> Iterator[Callable[[int], None] | None]:
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
        TextColumn(f"{what}, {{task.fields[rate]}} a second,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total, rate="?")

        def advance(n_steps: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=n_steps, rate=f"{speed:.{0 if speed >= 10 else 1}f}" if speed else "?")

        yield advance


@main.command(short_help="Show how far a study is.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(path: Path, as_json: bool) -> None:
    """Show how far the study of the run directory PATH is.

    A unit is done; running, which is in the hands of a process that trains it now or later; failed, and why;
    interrupted, and continues from its checkpoint; or remaining. The time left is estimated from the units
    that are done. Files are not checked; `quanta verify` does that.
    """
    from quanta import RunDirectory, read_status
    from quanta.store.status import render_status

    found = read_status(RunDirectory(path))
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        render_status(found, _console())


@main.command(short_help="Check that a run directory is whole.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(path: Path, as_json: bool) -> None:
    """Check that all that the run directory PATH holds is as it was written.

    Computes every checksum anew, reads all curves, weights and checkpoints, and compares manifests with the
    study. Prints each file that is damaged, and why; exit code 1 if one is. A unit that is not done is no
    damage.
    """
    from quanta import RunDirectory
    from quanta import verify as verify_run
    from quanta.store.verification import unit_folders

    run = RunDirectory(path)
    with _progress(run.study.name, len(unit_folders(run)), "units") as advance:
        found = verify_run(run, advance)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    elif found.damaged:
        for damage in found.damaged:
            click.echo(f"{damage.file}: {damage.reason}")
    else:
        click.echo(f"{path}: whole; {found.n_done} of {found.n_units} units are done")
    if found.damaged:
        n_damaged = len(found.damaged)
        said = "1 file is damaged; delete the folder it is in"
        if n_damaged > 1:
            said = f"{n_damaged} files are damaged; delete the folders they are in"
        raise click.ClickException(f"{path}: {said}, and `quanta train` trains what was in there again")


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

    _echo_descriptions({name: world.meaning for name, world in WORLDS.items()})
    ctx.exit()


@main.command(cls=_WorldCommand, short_help="Write curves with a known answer.")
@click.argument("world", callback=_parse_world)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of curves (netCDF), usually ending in .nc.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 4, min_open=True),
    help="Quanta exponent; the world uniform has none.  [default: 0.4]",
)
@click.option(
    "--n-subtasks",
    "-K",
    type=click.IntRange(2, 10_000),
    default=64,
    show_default=True,
    help="Number of subtasks K.",
)
@click.option(
    "--n-seeds", type=click.IntRange(1, 1000), default=3, show_default=True, help="Independent draws."
)
@click.option(
    "--steps", type=click.IntRange(1, 10**9), default=6000, show_default=True, help="The last step."
)
@click.option(
    "--scatter",
    type=click.FloatRange(0, 3),
    default=0.3,
    show_default=True,
    help="Standard deviation of log learning times.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all that is random."
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

    They have the widths of the demo and the schema of trained ones. Some worlds hold to the hypothesis and
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
    click.echo(out)


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

    For a run directory, also writes to its folder analysis/: verdict.json, scaling.csv and a table for each
    part of the evidence.
    """
    from quanta import load
    from quanta.analysis import gather_evidence, judge, render, select
    from quanta.store.run_directory import inside

    curves = load(path)
    _say_missing(curves.attrs)
    chosen = select(curves, alpha, n_train)
    verdict = judge(chosen, tau=tau, confidence=confidence, n_bootstrap=bootstrap, seed=seed)
    evidence = gather_evidence(chosen, tau=tau, confidence=confidence, seed=seed)
    if as_json:
        click.echo(json.dumps(verdict.to_dict()))
    else:
        render(verdict, evidence, _console())
    if path.is_dir():
        _save_analysis(inside(path, "analysis"), verdict, evidence)
    if strict and verdict.outcome != "supported":
        sys.exit(EXIT_NOT_SUPPORTED)


def _save_analysis(folder: Path, verdict: "Verdict", evidence: "Evidence") -> None:
    from quanta.tasks.atomic import atomic_write

    with atomic_write(folder / "verdict.json") as file:
        file.write_text(json.dumps(verdict.to_dict(), indent=2) + "\n")
    for name, table in {"scaling": verdict.scaling, **vars(evidence)}.items():
        with atomic_write(folder / f"{name}.csv") as file:
            table.to_csv(file, index=False)


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
    """Draw the figures of PATH, a run directory or a netCDF file of curves; prints their paths."""
    from quanta import load
    from quanta.analysis import save_figures, select
    from quanta.store.run_directory import inside

    curves = load(path)
    _say_missing(curves.attrs)
    folder = out or inside(path if path.is_dir() else path.parent, "figures")
    for file in save_figures(select(curves, alpha, n_train), folder, format=file_format, tau=tau):
        click.echo(file)


def _console() -> "Console":
    """Where a table is printed to."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)


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

    study = load_study("demo")
    run, result = _train(study, out, overwrite=False, sweep=_sweep_here(study, device))
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
