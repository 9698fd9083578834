"""Which samples move a network the same way: the exact Gram matrix of per-sample gradients, none stored.

Shapes: B samples, K subtasks, n bits, w hidden units of a layer.

The gradient of a sample's cross-entropy by the weights of a layer is the outer product of the error δ behind
the layer and the input a before it, so the inner product of two gradients is one of two inner products::

    ∇_i · ∇_j = Σ over layers of (δ_i · δ_j) (a_i · a_j + 1)                the 1 is the bias

In the first layer a is the one-hot subtask and the bits: a_i · a_j = 1[subtask_i = subtask_j] + b_i · b_j.
Gradients would take B · N numbers; this takes B² and a few matrix products.
"""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from quanta.tasks.errors import QuantaError
from quanta.tasks.sparse_parity import Batch
from quanta.training.device import own_settings, round_factors
from quanta.training.products import add_product, add_product_

Term = Literal["readout", "hidden", "embedding", "bits", "bias"]
"""Parameters of a member: those of the last layer, of layers between, and of the first the weights of the
subtask code, the weights of the bits, and the biases."""

TERMS: tuple[Term, ...] = get_args(Term)

WITHOUT_CODE: tuple[Term, ...] = ("readout", "hidden", "bits", "bias")
"""All but the weights of the subtask code, of which each subtask has its own: that term says which it is."""

Sign = Literal["signed", "free"]
"""Gradients as they are, or the absolute value of each of their numbers."""

TILE = 512
"""Rows and columns of the Gram matrix that are computed together on a CPU, so that they stay in cache."""

_GRADIENT_BYTES = 2**28
"""Of the gradients of a module that are held at a time, twice."""

Advance = Callable[[int], None] | None
"""Called with how many more entries of a Gram matrix have been computed."""


class GradientError(QuantaError):
    """A network, or samples, of which there is no Gram matrix."""


class _Layer(NamedTuple):
    """One layer: errors behind it (B, w), inputs before it (B, m); for the first also the subtasks (B,).

    Errors of no width are 1: they have been multiplied into the inputs.
    """

    error: Tensor
    inputs: Tensor
    subtask: Tensor | None


def compute_gram(
    member: nn.Sequential,
    batch: Batch,
    *,
    terms: Collection[Term] = WITHOUT_CODE,
    sign: Sign = "signed",
    unit: bool = False,
    advance: Advance = None,
) -> Tensor:
    """Inner products of the per-sample gradients of an MLP's cross-entropy (nats).

    Parameters
    ----------
    member : nn.Sequential
        ``Linear(K + n, w), ReLU, [Linear(w, w), ReLU, ...] Linear(w, 2)``, as from `Population.member`, on
        the dense input of the task; on the device of the batch.
    batch : Batch
        B samples.
    terms : collection of {"readout", "hidden", "embedding", "bits", "bias"}
        The parameters that count. By default the weights of the subtask code do not, since no two subtasks
        share one: their term is zero between subtasks, and so holds the answer.
    sign : {"signed", "free"}, default "signed"
        "free" takes the absolute value of each number of a gradient. With one hidden layer, that is the
        signed matrix times ±1 for the two labels.
    unit : bool, default False
        Scale gradients to unit norm, which gives cosines. Also where the loss is so small that inner products
        of gradients would be rounded to nothing: errors enter by their sign alone. A gradient that is zero
        has cosine 0 with all others and with itself.
    advance : callable, optional
        Called with how many more of the B² entries have been computed.

    Returns
    -------
    Tensor, shape (B, B)
        Symmetric to the bit, of the type of the member's parameters and on their device. Besides it, memory
        for a few copies of the activations is taken.

    Raises
    ------
    GradientError
        If the network is of another kind, or the samples do not fit it.

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 5, cluster by these cosines.
    """
    if not terms or not set(terms) <= set(TERMS):
        raise ValueError(f"terms must be some of {', '.join(TERMS)}, not {sorted(terms)}")
    if sign not in get_args(Sign):
        raise ValueError(f"sign must be signed or free, not {sign!r}")
    linear = _linear_layers(member)
    with own_settings(), torch.no_grad(), round_factors("ieee"):
        layers = _layers(linear, batch, terms, unit=unit, sign=sign)
        weight, n_samples = linear[0].weight, len(batch.bits)
        gram = torch.zeros(n_samples, n_samples, dtype=weight.dtype, device=weight.device)
        for rows, columns in _tiles(n_samples, TILE if weight.device.type == "cpu" else 8 * TILE):
            tile = gram[rows, columns]
            for layer in layers:
                _add_product(tile, layer, rows, columns)
            _mirror(gram, rows, columns)
            if advance is not None:
                advance(tile.numel() * (1 if rows == columns else 2))
    return gram


def compute_gram_of_module(
    module: nn.Module,
    inputs: Tensor,
    target: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    parameters: Collection[str] | None = None,
    sign: Sign = "signed",
    unit: bool = False,
    advance: Advance = None,
) -> Tensor:
    """Inner products of the per-sample gradients of any module, as `compute_gram` of an MLP.

    Gradients are computed block by block of samples and those of two blocks held at a time, so the number of
    times that each is computed grows with the number of blocks.

    Parameters
    ----------
    module : nn.Module
        Called on one sample with a leading axis of length one; as it is: call ``eval()`` first if it matters.
    inputs : Tensor, shape (B, ...)
    target : Tensor, shape (B, ...)
    loss : callable, default cross-entropy
        ``loss(module(inputs), target)`` of one sample, with the leading axis.
    parameters : collection of str, optional
        Names of parameters, as ``named_parameters`` has them; by default all that require a gradient.
    sign, unit, advance
        As in `compute_gram`; a loss that is rounded to zero has a gradient of zero here.

    Returns
    -------
    Tensor, shape (B, B)

    Raises
    ------
    GradientError
        If there is no such parameter, or not as many targets as inputs.
    """
    if sign not in get_args(Sign):
        raise ValueError(f"sign must be signed or free, not {sign!r}")
    if len(inputs) != len(target):
        raise GradientError(f"target must be {len(inputs)} as inputs are, not {len(target)}")
    known = {name: parameter.detach() for name, parameter in module.named_parameters()}
    varying = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    chosen = varying if parameters is None else list(parameters)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        said = unknown[0] if unknown else "none"
        raise GradientError(f"parameters must be some of {', '.join(known)}, not {said}")
    varied = {name: known[name] for name in chosen}
    others = {name: x for name, x in known.items() if name not in varied} | dict(module.named_buffers())

    def loss_of_one(weights: dict[str, Tensor], one: Tensor, its_target: Tensor) -> Tensor:
        output = functional_call(module, weights | others, (one[None],))
        return loss(output, its_target[None])

    per_sample = vmap(grad(loss_of_one), in_dims=(None, 0, 0), randomness="different")

    def gradients(rows: slice) -> Tensor:
        found = per_sample(varied, inputs[rows], target[rows])
        flat = torch.cat([found[name].flatten(1) for name in chosen], dim=1)
        return flat.abs() if sign == "free" else flat

    n_numbers = sum(tensor.numel() for tensor in varied.values())
    dtype = next(iter(varied.values())).dtype
    size = max(1, _GRADIENT_BYTES // (n_numbers * dtype.itemsize))
    gram = torch.empty(len(inputs), len(inputs), dtype=dtype, device=inputs.device)
    with own_settings(), torch.no_grad(), round_factors("ieee"):
        held = None
        for rows, columns in _tiles(len(gram), size):
            if rows == columns:
                held = gradients(rows)
            assert held is not None  # a row of tiles begins on the diagonal
            others_here = held if rows == columns else gradients(columns)
            gram[rows, columns] = held @ others_here.T
            _mirror(gram, rows, columns)
            if advance is not None:
                advance(gram[rows, columns].numel() * (1 if rows == columns else 2))
        if unit:
            scale = _inverse_norm(gram.diagonal().clone())
            gram.mul_(scale[:, None]).mul_(scale)
    return gram


def compute_hidden(member: nn.Sequential, batch: Batch) -> Tensor:
    """Compute the activations of the last hidden layer, shape (B, w)."""
    with own_settings(), torch.no_grad(), round_factors("ieee"):
        return _activations(_linear_layers(member), batch)[-1]


def _linear_layers(member: nn.Sequential) -> list[nn.Linear]:
    layers = list(member)
    linear = [layer for layer in layers[::2] if isinstance(layer, nn.Linear)]
    is_mlp = (
        len(layers) >= 3
        and len(layers) % 2 == 1
        and len(linear) == len(layers) // 2 + 1
        and all(isinstance(layer, nn.ReLU) for layer in layers[1::2])
        and all(layer.bias is not None for layer in linear)
        and linear[-1].out_features == 2
    )
    if not is_mlp:
        said = ", ".join(type(layer).__name__ for layer in layers)
        raise GradientError(
            f"member must be Linear, ReLU, ... Linear with 2 outputs and biases, not {said}; "
            "compute_gram_of_module takes any module"
        )
    return linear


def _activations(linear: list[nn.Linear], batch: Batch) -> list[Tensor]:
    """Compute the outputs of each hidden layer; the code is looked up and not multiplied."""
    subtask, bits, _ = batch
    n_subtasks = linear[0].in_features - bits.shape[1]
    if n_subtasks < 1 or (len(subtask) and int(subtask.max()) >= n_subtasks):
        raise GradientError(
            f"batch must fit the {linear[0].in_features} inputs of the member, of which {bits.shape[1]} are "
            f"bits: subtasks must be below {max(n_subtasks, 0)}, as those of another task are not"
        )
    first = linear[0].weight.T
    rows = first[:n_subtasks].index_select(0, subtask) + linear[0].bias
    hidden = [add_product(rows, bits.to(first.dtype), first[n_subtasks:]).relu_()]
    for layer in linear[1:-1]:
        hidden.append(functional.linear(hidden[-1], layer.weight, layer.bias).relu_())
    return hidden


def _layers(
    linear: list[nn.Linear], batch: Batch, terms: Collection[Term], *, unit: bool, sign: Sign
) -> list[_Layer]:
    """Errors and inputs of each layer that counts, with errors scaled to unit gradients if asked for."""
    hidden = _activations(linear, batch)
    last = linear[-1]
    readout, offset = last.weight[1] - last.weight[0], last.bias[1] - last.bias[0]
    direction = 1 - 2 * batch.label.to(readout.dtype)  # of the margin, in which the loss grows
    margin = torch.addmv(offset, hidden[-1], readout)
    # As 1 - sigmoid(margin) the error of a label 1 would be rounded to 0 from a margin of 17 on.
    slope = direction if unit else direction * torch.sigmoid(direction * margin)
    errors = [slope[:, None] * readout * (hidden[-1] > 0)]
    for layer, before in zip(linear[-2:0:-1], hidden[-2::-1], strict=True):
        errors.insert(0, (errors[0] @ layer.weight) * (before > 0))
    # The two logits take opposite errors: their inner product is twice that of one.
    errors.append(math.sqrt(2) * slope[:, None])
    inputs = [batch.bits.to(readout.dtype), *hidden]
    layers = []
    for place, (error, before) in enumerate(zip(errors, inputs, strict=True)):
        is_first, is_last = place == 0, place == len(linear) - 1
        kept = error.abs() if sign == "free" else error
        if is_first:
            parts = [before] * ("bits" in terms) + [torch.ones_like(before[:, :1])] * ("bias" in terms)
            code = batch.subtask if "embedding" in terms else None
            if parts or code is not None:
                layers.append(_Layer(kept, torch.cat([*parts, before[:, :0]], dim=1), code))
        elif ("readout" if is_last else "hidden") in terms:
            layers.append(_Layer(kept, torch.cat([before, torch.ones_like(before[:, :1])], dim=1), None))
    if unit and layers:
        squares = [
            e.square().sum(1) * (a.square().sum(1) + (0 if code is None else 1)) for e, a, code in layers
        ]
        scale = _inverse_norm(torch.stack(squares).sum(0))[:, None]
        layers = [layer._replace(error=layer.error * scale) for layer in layers]
    return [_join(layer) for layer in layers]


def _join(layer: _Layer) -> _Layer:
    """Take an error of one number, as behind the readout, for a factor of the input: one product, not two."""
    if layer.error.shape[1] > 1 or layer.subtask is not None:
        return layer
    return _Layer(layer.error[:, :0], layer.inputs * layer.error, None)


def _add_product(tile: Tensor, layer: _Layer, rows: slice, columns: slice) -> None:
    """Add what one layer gives to a tile of the Gram matrix."""
    error, inputs, subtask = layer
    if not error.shape[1]:
        add_product_(tile, inputs[rows], inputs[columns].T)
        return
    similar = torch.mm(inputs[rows], inputs[columns].T)
    if subtask is not None:
        similar.add_(subtask[rows, None] == subtask[columns])
    tile.addcmul_(similar, torch.mm(error[rows], error[columns].T))


def _mirror(gram: Tensor, rows: slice, columns: slice) -> None:
    """Put a tile where its mirror image is; products are not symmetric in their last bits."""
    tile = gram[rows, columns]
    if rows == columns:
        tile.copy_(tile.triu() + tile.triu(1).T)
    else:
        gram[columns, rows] = tile.T


def _tiles(n: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Tiles on and right of the diagonal, row by row."""
    slices = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return ((rows, columns) for i, rows in enumerate(slices) for columns in slices[i:])


def _inverse_norm(square: Tensor) -> Tensor:
    """One over the root, and 0 of 0."""
    return torch.where(square > 0, square.rsqrt(), 0)
