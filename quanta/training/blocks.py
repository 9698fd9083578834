"""Neighbouring members of a ladder in blocks, which torch computes together."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """Neighbouring members that are computed together: their columns of H and their places in G."""

    columns: slice
    members: slice


def group_members(widths: Sequence[int], most_columns: int) -> tuple[Block, ...]:
    """Group neighbouring members into blocks of at most `most_columns` columns; a wider one stands alone."""
    blocks = []
    column = member = 0
    while member < len(widths):
        end, last = column + widths[member], member + 1
        while last < len(widths) and end + widths[last] - column <= most_columns:
            end, last = end + widths[last], last + 1
        blocks.append(Block(slice(column, end), slice(member, last)))
        column, member = end, last
    return tuple(blocks)
