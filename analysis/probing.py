"""From a run directory to quanta found in its networks: where alone the analysis asks for weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import pandas as pd

from quanta.analysis.discovery.network import Discovery, Law, count_clusterings, discover
from quanta.analysis.discovery.summary import tabulate_discoveries
from quanta.analysis.fits.errors import TooFewPoints
from quanta.study.axes import ALPHA
from quanta.study.spec import UnitSpec
from quanta.tasks.terminal import note, progress

if TYPE_CHECKING:
    from quanta import RunDirectory


def find_width(run: "RunDirectory", asked: int | None) -> int:
    """Return the width that is asked for, or the largest of the study."""
    widths = run.study.population.widths
    if asked is None:
        return max(widths)
    if asked not in widths:
        raise click.UsageError(f"--width must be one of {', '.join(map(str, widths))}, not {asked}")
    return asked


def discover_units(
    run: "RunDirectory", units: Sequence[UnitSpec], device: str, settings: dict[str, Any]
) -> tuple[dict[int, Discovery], dict[str, pd.DataFrame]]:
    """Discover quanta in one network of each unit.

    A network that has learned too little is left out with a note.

    Parameters
    ----------
    run : RunDirectory
    units : sequence of UnitSpec
        At least one; done, and different by their seeds alone.
    device : {"auto", "cpu", "cuda"}
    settings : dict
        ``width, samples, affinity, embedding, tau, confidence, seed`` of the command.

    Returns
    -------
    dict of int to Discovery
        By seed.
    dict of str to DataFrame
        From `tabulate_discoveries`.

    Raises
    ------
    TooFewPoints
        If none has a network in which something can be found; says why of the first.
    """
    # Whoever only wants numbers from numbers must not wait for torch.
    from quanta.store.run_directory import load_population
    from quanta.training.device import resolve_device
    from quanta.training.gradients import TERMS, WITHOUT_CODE
    from quanta.training.probe import Probe

    chosen = resolve_device(device)
    affinities = settings["affinity"].split("+")
    found: dict[int, Discovery] = {}
    left_out: list[str] = []
    with progress(run.study.name, len(units) * count_clusterings(len(affinities)), "clusterings") as advance:
        for unit in units:
            population = load_population(run.folder(unit))
            terms = TERMS if settings["embedding"] else WITHOUT_CODE
            probe = Probe(population, unit, settings["width"], chosen, terms)
            law = Law(unit.task.n_subtasks, 1 + ALPHA.coordinate(unit.alpha), unit.task.offset)
            try:
                found[unit.seed] = discover(
                    probe,
                    law,
                    affinities=affinities,
                    n_samples=settings["samples"],
                    tau=settings["tau"],
                    confidence=settings["confidence"],
                    seed=settings["seed"],
                    advance=advance,
                )
            except TooFewPoints as error:
                left_out.append(f"width {settings['width']}, seed {unit.seed}: {error}")
    if not found:
        raise TooFewPoints(f"{run.path}: no network in which quanta can be found: {left_out[0]}")
    for reason in left_out:
        note(f"left out: {reason}")
    return found, tabulate_discoveries(found, settings["confidence"])
