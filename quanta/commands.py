"""The door to training: `quanta train`, `status` and `verify`."""

import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quanta.tasks.terminal import (
    AssignmentType,
    PathType,
    WholeRange,
    echo,
    echo_descriptions,
    echo_json,
    echo_rich,
    note,
    progress,
)

# Only click is imported here: `quanta --help` must not wait for torch. Commands import what they need.
if TYPE_CHECKING:
    import torch

    from quanta import RunDirectory, StudySpec, SweepResult, UnitSpec

EXIT_UNITS_FAILED = 3

device_option = click.option(
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

    echo_descriptions(shipped_studies())
    ctx.exit()


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
    pem = PathType(exists=True, dir_okay=False)
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
            type=WholeRange(1, 4096),
            metavar="N",
            help="Threads of a process; may change the last bits.  "
            "[default: 1 a worker, else all cores, or what a container's quota of time keeps busy]",
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
            type=WholeRange(1, 1024),
            metavar="N",
            help="Train on N processes of this machine, each with a GPU of its own if there are any.",
        ),
    ):
        command = option(command)
    return command


@click.command(short_help="Train a study's populations.")
@click.argument("study", type=PathType(readable=False))
@click.option("--out", type=PathType(file_okay=False), help="Run directory.  [default: runs/NAME]")
@device_option
@click.option(
    "--set",
    "overrides",
    type=AssignmentType(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the study, e.g. training.steps=1000.",
)
@click.option("--overwrite", is_flag=True, help="Delete what the run directory holds and start again.")
@click.option("--retry-failed", is_flag=True, help="Train units again that failed before.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what the units would take here: time by a few steps, memory at least, disk at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what --dry-run says as one JSON object.")
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
    study: Path,
    out: Path | None,
    device: str,
    overrides: tuple[str, ...],
    overwrite: bool,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
    workers: int | None,
    scheduler: str | None,
    shard: tuple[int, int] | None,
    threads: int | None,
    **tls: Path | None,
) -> None:
    """Train the populations of STUDY, a TOML file or the name of a shipped study.

    Prints the run directory. Units that are done are kept, so the same command continues a study that was
    interrupted. Units that fail on their own, such as by diverging, do not stop the others. Exit code 3 if
    some failed, now or before.

    With --dry-run nothing is written, and times are those of units one after another on a machine that does
    nothing else.
    """
    from quanta import RunDirectory, load_study

    if sum(option is not None for option in (workers, scheduler, shard)) > 1:
        raise click.UsageError("--workers, --scheduler and --shard exclude each other")
    if shard is not None and overwrite:
        raise click.UsageError("--overwrite is not for --shard: it would delete what other shards have done")
    files = {name: str(file) for name, file in tls.items() if file is not None}
    if files and not (scheduler or "").startswith("tls://"):
        raise click.UsageError("--tls-ca-file, --tls-cert and --tls-key are for a --scheduler at tls://")
    if as_json and not dry_run:
        raise click.UsageError("--json is for --dry-run")
    if dry_run and (workers or scheduler):
        raise click.UsageError("--dry-run times this process; it is not for --workers and --scheduler")
    loaded = load_study(study, overrides)

    cluster = workers or scheduler
    if cluster is None:
        here = check_here(loaded, device, threads)
    else:
        _check_dask()

    index, n_shards = shard or (1, 1)
    units = loaded.units()[index - 1 :: n_shards]
    if dry_run:
        _estimate(loaded.name, units, here, threads, as_json)
        return
    run = RunDirectory.create(out or Path("runs") / loaded.name, loaded, overwrite=overwrite)

    if cluster is None:
        result = sweep_here(run, here, units, threads, retry_failed)
    else:
        result = _sweep_on_cluster(run, loaded.units(), cluster, device, threads or 1, files, retry_failed)

    tell(run, result)
    echo(run.path)
    if result.failed:
        sys.exit(EXIT_UNITS_FAILED)


def _estimate(
    name: str, units: "Sequence[UnitSpec]", device: "torch.device", threads: int | None, as_json: bool
) -> None:
    """Print what units would take; nothing is written."""
    from quanta.sweep.estimate import estimate, render_estimate

    if not units:
        raise click.UsageError("--shard: there are fewer units than parts, and none in this one")
    with progress(name, len(units), "units") as advance:
        found = estimate(name, units, device, threads, advance)
    if as_json:
        echo_json(found.to_dict())
    else:
        echo_rich(lambda console: render_estimate(found, console))


def check_here(study: "StudySpec", device: str, threads: int | None = None) -> "torch.device":
    """Choose the device in this process and check that every unit can be trained on it, with some threads.

    Raises
    ------
    ConfigError
        If there is no such device, or a unit is not for it.
    """
    from quanta import resolve_device
    from quanta.training.device import check_device, default_threads

    chosen = resolve_device(device)
    for unit in study.units():
        check_device(unit, chosen, threads or default_threads())
    return chosen


def sweep_here(
    run: "RunDirectory",
    device: "torch.device",
    units: "Sequence[UnitSpec]",
    threads: int | None = None,
    retry_failed: bool = False,
) -> "SweepResult":
    """Train units of a run directory, one after another in this process, and show how far it is."""
    from quanta import run_sweep

    n_steps = _announce(run, units, str(device), retry_failed)
    with progress(run.study.name, n_steps, "steps") as advance, _stop_on_signal() as stopping:
        return run_sweep(run, device, advance, stopping, units, retry_failed, on_note=note, n_threads=threads)


def _check_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"--workers and --scheduler need {error.name}: pip install distributed"
        ) from error


def _sweep_on_cluster(
    run: "RunDirectory",
    units: "Sequence[UnitSpec]",
    cluster: int | str,
    device: str,
    threads: int,
    tls: dict[str, str],
    retry_failed: bool,
) -> "SweepResult":
    """Train units on a number of workers of this machine, or on those of the scheduler at an address."""
    from quanta.sweep.cluster import connect, run_on_cluster, start_workers

    if isinstance(cluster, int):
        name, connected = f"{cluster} workers", start_workers(cluster)
    else:
        name, connected = f"the workers of {cluster}", connect(cluster, **tls)
    n_steps = _announce(run, units, name, retry_failed)
    with (
        _stop_on_signal() as stopping,
        connected as client,
        progress(run.study.name, n_steps, "steps") as advance,
    ):
        return run_on_cluster(
            run, client, device, threads, advance, stopping, retry_failed, units, on_note=note
        )


def _announce(run: "RunDirectory", units: "Sequence[UnitSpec]", where: str, retry_failed: bool) -> int:
    """Say which of the units will be trained, and return how many steps that takes."""
    from quanta import find_pending

    study = run.study
    pending, failed = find_pending(run, units, retry_failed=retry_failed)
    echo(
        f"{study.name}: {len(pending)} of {len(units)} units to train on {where}, "
        f"{len(study.population.widths)} widths together, {study.training.steps} steps each",
        err=True,
    )
    if failed:
        note(
            f"units that failed before, {len(failed)} of them, are left alone; "
            "`quanta train --retry-failed` tries again"
        )
    return len(pending) * study.training.steps


def tell(run: "RunDirectory", result: "SweepResult") -> None:
    """Say what came of a sweep.

    Raises
    ------
    ClickException
        If it was interrupted.
    """
    for what in result.notes:
        note(what)
    for unit, reason in result.failed.items():
        echo(f"failed: {unit}: {reason}", err=True)
    if result.stopped:
        n_units = len(run.study.units())
        raise click.ClickException(
            f"interrupted: {n_units - len(run.pending())} of {n_units} units are done in {run.path}; "
            "the same command continues where it stopped"
        )


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


@click.command(short_help="Show how far a study is.")
@click.argument("path", type=PathType(exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(path: Path, as_json: bool) -> None:
    """Show how far the study of the run directory PATH is.

    A unit is done; running, which is in the hands of a process that trains it now or later; failed, and why;
    interrupted, and continues from its checkpoint; or remaining. The time left is estimated from the units
    that are done, or else begun. Files are not checked; `quanta verify` does that.
    """
    from quanta import RunDirectory, read_status
    from quanta.store.status import render_status

    found = read_status(RunDirectory(path))
    if as_json:
        echo_json(found.to_dict())
    else:
        echo_rich(lambda console: render_status(found, console))


@click.command(short_help="Check that a run directory is whole.")
@click.argument("path", type=PathType(exists=True))
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
    with progress(run.study.name, len(unit_folders(run)), "units") as advance:
        found = verify_run(run, advance)
    if as_json:
        echo_json(found.to_dict())
    elif found.damaged:
        for damage in found.damaged:
            echo(f"{damage.file}: {damage.reason}")
    else:
        echo(f"{path}: whole; {found.n_done} of {found.n_units} units are done")
    if found.damaged:
        n_damaged = len(found.damaged)
        said = "1 file is damaged; delete the folder it is in"
        if n_damaged > 1:
            said = f"{n_damaged} files are damaged; delete the folders they are in"
        raise click.ClickException(f"{path}: {said}, and `quanta train` trains what was in there again")
