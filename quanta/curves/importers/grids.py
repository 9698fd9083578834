"""Which places of a grid have to go so that the others fill one."""

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import product
from math import prod

Place = tuple[Hashable, ...]


def find_holes(places: Sequence[Place], names: Sequence[str]) -> dict[Place, str]:
    """Choose the places to leave out, so that those that stay are a full grid.

    One value of one axis goes at a time: the one with the fewest places for each hole that it takes away; of
    equals, one of the last axis.

    Parameters
    ----------
    places : sequence of tuple
        Each once; a value on each axis.
    names : sequence of str
        Of the axes.

    Returns
    -------
    dict of tuple to str
        Each place that is left out, and why: which value goes, and at which place there is a hole.
    """
    left_out: dict[Place, str] = {}
    kept = list(places)
    while True:
        axes = [list(dict.fromkeys(place[axis] for place in kept)) for axis in range(len(names))]
        if prod(map(len, axes)) == len(kept):
            return left_out
        counts = [Counter(place[axis] for place in kept) for axis in range(len(axes))]
        per_value = [(n, axis, value) for axis, there in enumerate(counts) for value, n in there.items()]
        # How many places a value has where it is complete; from such a one nothing is to be gained, and an
        # axis of one value is all there is.
        full = [prod(map(len, axes)) // len(own) if len(own) > 1 else 0 for own in axes]
        _, axis, value = min(
            (one for one in per_value if one[0] < full[one[1]]),
            key=lambda one: (one[0] / (full[one[1]] - one[0]), -one[1]),
        )
        there = set(kept)
        others = [values if i != axis else [value] for i, values in enumerate(axes)]
        hole = next(place for place in product(*others) if place not in there)
        where = ", ".join(f"{names[i]} {hole[i]}" for i in range(len(names)) if len(axes[i]) > 1)
        reason = f"{names[axis]} {value} is not complete: there is none at {where}"
        left_out |= {place: reason for place in kept if place[axis] == value}
        kept = [place for place in kept if place[axis] != value]
