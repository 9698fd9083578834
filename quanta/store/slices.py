"""The slices of a run directory: which units belong together, and which of them can be read.

A slice is one value of each condition. Its curves fill a rectangle of training-set sizes and seeds, so it is
read from the seeds that are done at every size.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from quanta.store.errors import StoreError
from quanta.study.axes import ALPHA, CONDITIONS, CURVES_AXES, N_SUBTASKS, Value
from quanta.study.spec import UnitSpec

ALWAYS_NAMED = (ALPHA.name, N_SUBTASKS.name)
"""Conditions that a slice is named by even if they have one value: they decide which law holds."""


@dataclass(frozen=True)
class Slice:
    """The units of a study at one value of each condition.

    Attributes
    ----------
    condition : dict
        Name to value, such as ``{"alpha": 0.4, "n_subtasks": 64}``; the value is as in the study. Of
        conditions other than `ALWAYS_NAMED` those that have several values there.
    units : tuple of UnitSpec
        All of them, in the order of the study.
    missing : tuple of UnitSpec
        Those that are not done.
    """

    condition: dict[str, Value]
    units: tuple[UnitSpec, ...]
    missing: tuple[UnitSpec, ...]

    def __str__(self) -> str:
        return _show(self.condition)

    @property
    def complete(self) -> tuple[UnitSpec, ...]:
        """Units of the seeds that are done at every n_train."""
        lacking = {unit.seed for unit in self.missing}
        return tuple(unit for unit in self.units if unit.seed not in lacking)


def group(units: Iterable[UnitSpec], done: Collection[UnitSpec]) -> list[Slice]:
    """Group the units of a study into slices, in the order of the study.

    Parameters
    ----------
    units : iterable of UnitSpec
    done : collection of UnitSpec
        Those of them that are done.

    Returns
    -------
    list of Slice
    """
    units = list(units)
    named = [
        axis for axis in CONDITIONS if axis.name in ALWAYS_NAMED or len({axis.of(unit) for unit in units}) > 1
    ]
    together: dict[tuple[Value, ...], list[UnitSpec]] = {}
    for unit in units:
        together.setdefault(tuple(axis.of(unit) for axis in named), []).append(unit)
    return [
        Slice(
            {axis.name: value for axis, value in zip(named, place, strict=True)},
            tuple(members),
            tuple(unit for unit in members if unit not in done),
        )
        for place, members in together.items()
    ]


def choose(slices: Sequence[Slice], asked: Mapping[str, Value]) -> list[Slice]:
    """Choose the slices at given values of some conditions.

    Parameters
    ----------
    slices : sequence of Slice
    asked : mapping of str to value
        All slices if it is empty. A word and the number that it stands for are the same.

    Returns
    -------
    list of Slice
        At least one.

    Raises
    ------
    StoreError
        If there is none, or something else than a condition is asked for; names what there is.
    """
    by_name = {axis.name: axis for axis in CONDITIONS}
    for name in asked:
        if name not in by_name:
            known = ", ".join(by_name)
            raise StoreError(f"slices are chosen by {known}, not by {name}")
    found = [
        each
        for each in slices
        if all(
            _place(name, by_name[name].of(each.units[0])) == _place(name, value)
            for name, value in asked.items()
        )
    ]
    if not found:
        raise StoreError(f"no slice has {_show(asked)}; there are {_list(slices)}")
    return found


def keep_readable(slices: Sequence[Slice]) -> list[Slice]:
    """Keep the slices that have a complete seed.

    Raises
    ------
    StoreError
        If none has.
    """
    readable = [each for each in slices if each.complete]
    if not readable:
        missing = [unit for each in slices for unit in each.missing]
        n_units = sum(len(each.units) for each in slices)
        raise StoreError(
            f"{n_units - len(missing)} of {n_units} units are done and no seed is complete; "
            f"train the rest first, such as {missing[0].id}"
        )
    return readable


def units_to_read(slices: Sequence[Slice]) -> list[UnitSpec]:
    """List the units that fill one dataset of slices: those of the seeds that are complete in all of them.

    Slices without a complete seed are left out.

    Parameters
    ----------
    slices : sequence of Slice

    Returns
    -------
    list of UnitSpec

    Raises
    ------
    StoreError
        If no seed is complete in any, or if they do not fit one dataset: they differ in more than the axes of
        Curves, or have no seed in common. Names them.
    """
    readable = keep_readable(slices)
    axes = {axis.name for axis in CURVES_AXES}
    others = {
        _show({name: value for name, value in x.condition.items() if name not in axes}) for x in readable
    }
    common = set.intersection(*({unit.seed for unit in each.complete} for each in readable))
    if len(others) > 1 or not common:
        raise StoreError(f"one slice must be chosen of {_list(readable)}")
    return [unit for each in readable for unit in each.complete if unit.seed in common]


def _show(condition: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value}" for name, value in condition.items())


def _list(slices: Iterable[Slice]) -> str:
    return "; ".join(map(str, slices))


def _place(name: str, value: Value) -> Value:
    """Put numbers for words, where there are any."""
    words = {axis.name: axis.words for axis in CONDITIONS}.get(name, {})
    return words.get(value, value) if isinstance(value, str) else value
