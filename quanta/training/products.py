"""Products of matrices that are added to something, at any sizes."""

import torch
from torch import Tensor


def add_product(bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return ``bias + left @ right``, for a bias that is broadcast over rows or of the product's shape.

    Parameters
    ----------
    bias : Tensor, shape (N,) or (M, N)
    left : Tensor, shape (M, L)
    right : Tensor, shape (L, N)

    Returns
    -------
    Tensor, shape (M, N)
    """
    if _is_refused(left, right):
        return bias + left @ right
    return torch.addmm(bias, left, right)


def add_product_(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Add ``left @ right`` to `total` in place, and return it; shapes as of `add_product`."""
    if _is_refused(left, right):
        return total.add_(left @ right)
    return total.addmm_(left, right)


def _is_refused(left: Tensor, right: Tensor) -> bool:
    # The library that adds on CUDA, cuBLASLt, ends in an error at a matrix of one row or column (torch 2.11).
    return left.device.type == "cuda" and 1 in (*left.shape, *right.shape)
