"""Options that several commands have."""

import functools
from collections.abc import Callable
from typing import Any

import click

from quanta.analysis.sources import ALSO, AXES, USUAL, At, say_value
from quanta.tasks.terminal import AssignmentType, RealRange, WholeRange, note


def _parse_at(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> At:
    return tuple(_parse_choice(*value.partition("=")) for value in values)


def _parse_old(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> At:
    return tuple(_parse_choice(str(parameter.name), "=", value) for value in values)


def _parse_choice(axis: str, equals: str, text: str) -> tuple[str, float]:
    """Take what a study takes as a value, and return the number that Curves hold for it."""
    from quanta.tasks.config import ConfigError
    from quanta.tasks.toml import parse_value

    name, text = axis.strip(), text.strip()
    axis = ALSO.get(name, name)
    if axis not in AXES or not equals:
        raise click.BadParameter(
            f"{name + equals + text!r} is not AXIS=VALUE, where AXIS is one of {', '.join(AXES)}."
        )
    words = AXES[axis].words
    try:
        value = parse_value(text)
    except ConfigError as error:
        raise click.BadParameter(f"{axis}: {error}") from None
    if isinstance(value, str) and value in words:
        return axis, words[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return axis, float(value)
    raise click.BadParameter(f"{axis} must be {' or '.join(['a number', *words])}, not {text!r}.")


tau_option = click.option(
    "--tau",
    type=RealRange(0, 1, min_open=True, max_open=True),
    default=USUAL["tau"],
    show_default=True,
    help="Share of chance below which a subtask is learned.",
)

at_option = click.option(
    "--at",
    type=AssignmentType(),
    multiple=True,
    metavar="AXIS=VALUE",
    callback=_parse_at,
    help="Which slice, if there are several, e.g. alpha=0.4, alpha=uniform, K=64 or n_train=online.",
)

confidence_option = click.option(
    "--confidence",
    type=RealRange(0, 1, min_open=True, max_open=True),
    default=USUAL["confidence"],
    show_default=True,
    help="Nominal coverage of the intervals.",
)


def seed_option(meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--seed`, whose help says of what."""
    return click.option(
        "--seed", type=WholeRange(min=0), default=USUAL["seed"], show_default=True, help=meaning
    )


def slice_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command over a slice."""

    @functools.wraps(command)
    def with_old_names(*, at: At, alpha: At, n_train: At, **options: Any) -> None:
        old = alpha + n_train
        for axis, value in old:
            note(f"--{axis.replace('_', '-')} will go; --at {axis}={say_value(axis, value)} says the same")
        command(at=at + old, **options)

    for option in (
        click.option("--alpha", multiple=True, hidden=True, callback=_parse_old),
        click.option("--n-train", multiple=True, hidden=True, callback=_parse_old),
        tau_option,
        at_option,
    ):
        with_old_names = option(with_old_names)
    return with_old_names
