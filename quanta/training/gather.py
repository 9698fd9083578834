"""Take rows of a table by their index, and add rows to it, in an order that never changes."""

from typing import Any

import torch
from torch import Tensor

from quanta.training.products import add_product_

ONE_HOT_ELEMENTS = 2**25
"""Elements of the one-hot codes held at a time, where rows are summed by a product with them."""


def add_rows_(total: Tensor, index: Tensor, rows: Tensor) -> None:
    """Add each row to the row of `total` that its index names, in an order that never changes.

    On a CPU one after another. Elsewhere that would need atomic additions, whose order, and with it the
    rounding, differs from run to run; there it is a product with the one-hot codes, summed by rows::

        total += one_hot(index)ᵀ rows

    Parameters
    ----------
    total : Tensor, shape (K, H)
        Changed in place.
    index : Tensor of int64, shape (B,)
    rows : Tensor, shape (B, H)
    """
    if total.device.type == "cpu":
        total.index_add_(0, index, rows)
    else:
        add_rows_by_product_(total, index, rows)


def add_rows_by_product_(total: Tensor, index: Tensor, rows: Tensor) -> None:
    """As `add_rows_`, by products with one-hot codes: no atomic additions, and all shapes are static."""
    code = torch.arange(len(total), device=total.device)
    at_a_time = max(1, ONE_HOT_ELEMENTS // len(total))
    for part, values in zip(torch.split(index, at_a_time), torch.split(rows, at_a_time), strict=True):
        add_product_(total, (part == code[:, None]).to(rows.dtype), values)


class _RowLookup(torch.autograd.Function):
    """Rows of a table by their index, with a gradient by `add_rows_`."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.table_shape = table.shape
        return table.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        total = gradients[0].new_zeros(ctx.table_shape)
        add_rows_(total, index, gradients[0])
        return total, None


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Take the rows of a table that `index` (B,) names; the gradient is summed by `add_rows_`."""
    rows: Tensor = _RowLookup.apply(table, index)  # type: ignore[no-untyped-call]
    return rows
