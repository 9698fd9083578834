"""A ladder of MLPs trained as one network.

Shapes: B samples, K subtasks, n bits, G members, w_g width of member g, H = sum of widths.

The members see the same batches, so their first layers stand side by side as columns of one matrix. The
one-hot subtask code times its weights is a row of those weights, so it is looked up instead of multiplied::

    h = relu(embedding[subtask] + bits @ weight + bias)       (B, H)
    margin[:, g] = h[:, columns of g] @ readout of g          (B, G)

Each member is the MLP of the paper with two logits; as cross-entropy depends on their difference alone, only
the difference, the *margin* (log-odds of label 1), is computed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from quanta.training import gather
from quanta.training.blocks import group_members
from quanta.training.kernel import KERNEL_VERSION, LadderKernel
from quanta.training.products import add_product, add_product_

SLICE_ROWS = 512
"""Samples worked on at a time on a CPU, so that their activations stay in cache."""

BLOCK_COLUMNS = 512
"""Hidden units worked on at a time on a CPU, for the same reason; a wider member is a block of its own."""

DTYPES = (torch.float32, torch.float64)
"""Types of parameters: in float16 the gradient of one sample in many would be rounded to nothing."""


class Population(nn.Module):
    """MLPs of several widths on the same input, each trained as if it were alone.

    Parameters
    ----------
    widths : sequence of int
        Hidden units a layer of each member, distinct.
    n_subtasks, n_bits : int
        K and n of the task.
    n_hidden_layers : int, default 1
        Hidden layers of each member. One is the fast path.
    dtype : torch.dtype, default float32
        Type of parameters and activations: float32 or float64.
    device : torch.device or str, default "cpu"
        Where the parameters live.
    bf16 : bool, default False
        Round weights and errors to bfloat16 in the two products with the bits, which are exact in it.
        Parameters, sums and everything else stay as they are. Only for one hidden layer in float32.
    generator : torch.Generator, optional
        On `device`; decides the initial weights, which follow the law of `torch.nn.Linear`: uniform within
        1/sqrt(fan-in), weights and biases alike.

    Attributes
    ----------
    n_threads : int
        Threads of the compiled code; at first as many as torch uses.

    Notes
    -----
    On a CPU, with one hidden layer and where there is a C compiler, it computes with the compiled code of
    `quanta.training.kernel`, which is faster, and equal but for rounding.
    """

    def __init__(
        self,
        widths: Sequence[int],
        n_subtasks: int,
        n_bits: int,
        n_hidden_layers: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.bf16 = bf16
        self.widths = tuple(widths)
        self.n_subtasks = n_subtasks
        self.n_bits = n_bits
        self.n_hidden_layers = n_hidden_layers
        self._check_dtype(dtype)
        self.n_threads = torch.get_num_threads()

        def uniform(*shape: int, fan_in: int) -> Tensor:
            values, bound = torch.empty(shape, dtype=dtype, device=device), fan_in**-0.5
            # On meta, which has no values, torch would load its compiler to draw them, or to join tensors.
            return values if values.is_meta else values.uniform_(-bound, bound, generator=generator)

        def beside(pairs: list[Tensor]) -> Tensor:
            n_columns = sum(pair.shape[1] for pair in pairs)
            return pairs[0].new_empty(2, n_columns) if pairs[0].is_meta else torch.cat(pairs, dim=1)

        total = sum(self.widths)
        n_inputs = n_subtasks + n_bits
        self.embedding = nn.Parameter(uniform(n_subtasks, total, fan_in=n_inputs))
        self.weight = nn.Parameter(uniform(n_bits, total, fan_in=n_inputs))
        self.bias = nn.Parameter(uniform(total, fan_in=n_inputs))
        deeper = [w for _ in range(n_hidden_layers - 1) for w in self.widths]  # layer by layer
        self.hidden_weight = nn.ParameterList(uniform(w, w, fan_in=w) for w in deeper)
        self.hidden_bias = nn.ParameterList(uniform(w, fan_in=w) for w in deeper)
        self.readout_weight, self.readout_bias = (
            nn.Parameter(beside([uniform(2, n, fan_in=w) for n, w in zip(columns, self.widths, strict=True)]))
            for columns in (self.widths, [1] * len(self.widths))
        )
        membership = torch.zeros(total, len(self.widths), dtype=dtype, device=device)
        for column, rows in enumerate(torch.split(membership, list(self.widths))):
            rows[:, column] = 1
        self.membership: Tensor
        self.register_buffer("membership", membership, persistent=False)
        self._choose_path()

    def _check_dtype(self, dtype: torch.dtype) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be {' or '.join(map(str, DTYPES))}, not {dtype}")
        if self.bf16 and (self.n_hidden_layers > 1 or dtype != torch.float32):
            raise ValueError(
                f"bf16 must have one hidden layer in float32, not {self.n_hidden_layers} in {dtype}"
            )

    def _choose_path(self) -> None:
        """Choose how to compute, by the type of the parameters and where they are."""
        self._kernel = self._load_kernel()
        on_cpu = self.weight.device.type == "cpu"
        self._blocks = group_members(self.widths, BLOCK_COLUMNS if on_cpu else sum(self.widths))
        self._most_columns = max(block.columns.stop - block.columns.start for block in self._blocks)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Change the type of all parameters or move them, as `to`, `double` and `cuda` do."""
        self._check_dtype(fn(torch.zeros(1, dtype=self.weight.dtype, device=self.weight.device)).dtype)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._choose_path()
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Compiled code cannot be copied or written to a file, and may not be there where that is read.
        return {name: value for name, value in self.__dict__.items() if name != "_kernel"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._choose_path()

    def forward(self, subtask: Tensor, bits: Tensor) -> Tensor:
        """Margins of all members.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        bits : Tensor of uint8, shape (B, n)

        Returns
        -------
        Tensor, shape (B, G)
            Log-odds of label 1, in nats.
        """
        rows = gather.look_up(self.embedding + self.bias, subtask)
        hidden = add_product(rows, bits.to(rows.dtype), self._product_term(self.weight)).relu()
        n_members = len(self.widths)
        for start in range(0, len(self.hidden_weight), n_members):
            layer = slice(start, start + n_members)
            parts = zip(
                torch.split(hidden, list(self.widths), dim=1),
                self.hidden_weight[layer],
                self.hidden_bias[layer],
                strict=True,
            )
            hidden = torch.cat([add_product(b, h, w).relu() for h, w, b in parts], dim=1)
        return add_product(_difference(self.readout_bias), hidden, self._readout())

    def predict(self, subtask: Tensor, bits: Tensor) -> Tensor:
        """Margins of all members without gradients: as `forward`, by the fastest way there is."""
        with torch.no_grad():
            if self._kernel is not None:
                return self._kernel.margins(subtask, bits, self._kernel_parameters(), self.n_threads)
            slices = _slices(len(subtask), subtask.device)
            return torch.cat([self(subtask[rows], bits[rows]) for rows in slices])

    def compute_gradients(self, subtask: Tensor, bits: Tensor, label: Tensor) -> None:
        """Set every parameter's ``grad`` to that of its member's mean cross-entropy (nats) on the batch.

        The gradient of the sum over members is that of each, since they share no parameter.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        bits : Tensor of uint8, shape (B, n)
        label : Tensor of uint8, shape (B,)
        """
        self._make_gradients()
        if self._kernel is not None:
            self._compute_gradients_compiled(self._kernel, {"subtask": subtask, "bits": bits, "label": label})
            return
        for parameter in self.parameters():
            _gradient(parameter).zero_()
        if self.n_hidden_layers == 1:
            self._compute_gradients_by_hand(subtask, bits, label)
        else:
            for rows in _slices(len(subtask), subtask.device):
                margin = self(subtask[rows], bits[rows])
                target = label[rows, None].to(margin.dtype).expand_as(margin)
                loss = functional.binary_cross_entropy_with_logits(margin, target, reduction="sum")
                (loss / len(subtask)).backward()  # type: ignore[no-untyped-call]

    def compute_gradients_packed(self, subtask: Tensor, packed: Tensor, own_bits: Tensor) -> None:
        """As `compute_gradients`, without unpacking the bits: only where `is_compiled`.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        packed : Tensor of uint8, shape (B, P)
            As `MultitaskSparseParity.draw_packed` makes them.
        own_bits : Tensor of uint8, shape (K, P)
            Those of each subtask, whose parity is the label.

        Raises
        ------
        RuntimeError
            If there is no compiled code.
        """
        if self._kernel is None:
            raise RuntimeError("packed bits need compiled code; compute_gradients does without")
        self._make_gradients()
        batch = {"subtask": subtask, "packed": packed, "own": own_bits}
        self._compute_gradients_compiled(self._kernel, batch)

    def _make_gradients(self) -> None:
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    @torch.no_grad()
    def _compute_gradients_compiled(self, kernel: LadderKernel, batch: dict[str, Tensor]) -> None:
        gradients = {name: _gradient(parameter) for name, parameter in self._kernel_parameters().items()}
        results = {f"d_{name}": gradient.contiguous() for name, gradient in gradients.items()}
        kernel.gradients(batch, self._kernel_parameters() | results, self.n_threads)
        for name, gradient in gradients.items():
            if gradient is not results[f"d_{name}"]:  # it was not contiguous
                gradient.copy_(results[f"d_{name}"])

    def _kernel_parameters(self) -> dict[str, Tensor]:
        first: dict[str, Tensor] = {"embedding": self.embedding, "weight": self.weight, "bias": self.bias}
        return first | {"readout": self.readout_weight, "offset": self.readout_bias}

    def _load_kernel(self) -> LadderKernel | None:
        """Get the compiled fast path, where it applies and there is a compiler."""
        if self.weight.device.type != "cpu" or self.n_hidden_layers > 1:
            return None
        try:
            return LadderKernel(self.widths, self.n_subtasks, self.n_bits, self.weight.dtype, bf16=self.bf16)
        except OSError:
            return None

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled fast path is used."""
        return self._kernel is not None

    @property
    def kernel_version(self) -> int | None:
        """The version of the compiled fast path where it may be used; else None."""
        on_cpu = self.weight.device.type == "cpu"
        return KERNEL_VERSION if on_cpu and self.n_hidden_layers == 1 else None

    @property
    def compiled_for(self) -> str:
        """The instructions that the compiled fast path uses, such as "AVX2"; "none" where torch computes."""
        return "none" if self._kernel is None else self._kernel.compiled_for

    @torch.no_grad()
    def _compute_gradients_by_hand(self, subtask: Tensor, bits: Tensor, label: Tensor) -> None:
        """Compute the gradients of one hidden layer without autograd.

        With R the block-diagonal (H, G) readout, and everything in slices of rows and blocks of columns::

            δ  = (sigmoid(margin) − label) / B        (B, G)
            dRᵀ = δᵀ h                                only its blocks are kept
            dz = [h > 0] ⊙ (δ Rᵀ)                     (B, H)
            d weight = bitsᵀ dz,   d embedding[k] = Σ of dz over samples of k

        Every sample has one subtask, so the gradient of `bias` is the sum of d embedding over k. The two
        logits take opposite gradients.
        """
        embedding = self.embedding + self.bias
        readout, offset = self._readout(), _difference(self.readout_bias)
        weight = self._product_term(self.weight)
        d_embedding, d_weight = _gradient(self.embedding), _gradient(self.weight)
        d_readout, d_offset = torch.zeros_like(readout.T), torch.zeros_like(offset)
        # One pair of buffers for all slices and blocks: fresh memory costs more than the arithmetic on it.
        largest = _slice_rows(len(subtask), subtask.device) * self._most_columns
        buffers = embedding.new_empty(2, largest)
        for rows in _slices(len(subtask), subtask.device):
            codes, inputs = subtask[rows], bits[rows].to(embedding.dtype)
            target = label[rows, None].to(embedding.dtype)
            for block in self._blocks:
                columns, members = block.columns, block.members
                own_readout = readout[columns, members]
                h, dz = buffers[:, : len(codes) * len(own_readout)].view(2, len(codes), len(own_readout))
                torch.index_select(embedding[:, columns], 0, codes, out=h)
                add_product_(h, inputs, weight[:, columns]).relu_()
                margin = add_product(offset[members], h, own_readout)
                delta = margin.sigmoid_().sub_(target).div_(len(subtask))
                add_product_(d_readout[members, columns], delta.T, h)
                d_offset[members] += delta.sum(0)
                torch.mm(delta, own_readout.T, out=dz).mul_(h.sign_())
                add_product_(d_weight[:, columns], inputs.T, self._product_term(dz))
                gather.add_rows_(d_embedding[:, columns], codes, dz)
        torch.sum(d_embedding, 0, out=_gradient(self.bias))
        _set_opposite(_gradient(self.readout_weight), (d_readout.T * self.membership).sum(1))
        _set_opposite(_gradient(self.readout_bias), d_offset)

    def _product_term(self, values: Tensor) -> Tensor:
        """Values as they enter a product with the bits."""
        return values.bfloat16().to(values.dtype) if self.bf16 else values

    def _readout(self) -> Tensor:
        """Block-diagonal readout R, shape (H, G)."""
        return self.membership * _difference(self.readout_weight)[:, None]

    def member(self, width: int) -> nn.Sequential:
        """Copy one member out as a plain network on the dense input.

        Parameters
        ----------
        width : int
            One of `widths`.

        Returns
        -------
        nn.Sequential
            ``Linear(K + n, w), ReLU, [Linear(w, w), ReLU, ...] Linear(w, 2)``.

        Raises
        ------
        ValueError
            If there is no member of that width.
        """
        if width not in self.widths:
            raise ValueError(f"width must be one of {self.widths}, not {width}")
        index = self.widths.index(width)
        start = sum(self.widths[:index])
        columns = slice(start, start + width)
        first = torch.cat([self.embedding[:, columns], self.weight[:, columns]]).T
        layers = [(first, self.bias[columns])]
        for place in range(index, len(self.hidden_weight), len(self.widths)):
            layers.append((self.hidden_weight[place].T, self.hidden_bias[place]))
        layers.append((self.readout_weight[:, columns], self.readout_bias[:, index]))
        modules: list[nn.Module] = []
        for weight, bias in layers:
            linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype, device=weight.device)
            with torch.no_grad():
                linear.weight.copy_(weight)
                linear.bias.copy_(bias)
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1])


def count_parameters(width: int, n_subtasks: int, n_bits: int, n_hidden_layers: int = 1) -> int:
    """Count the parameters N of one member; 603 · width + 2 at the sizes of the paper.

    Parameters
    ----------
    width, n_subtasks, n_bits, n_hidden_layers : int

    Returns
    -------
    int
    """
    first = (n_subtasks + n_bits + 1) * width
    deeper = (n_hidden_layers - 1) * (width + 1) * width
    return first + deeper + 2 * width + 2


def _slice_rows(n_rows: int, device: torch.device) -> int:
    """Rows worked on at a time: few for the cache of a CPU, all elsewhere."""
    return min(n_rows, SLICE_ROWS) if device.type == "cpu" else n_rows


def _slices(n_rows: int, device: torch.device) -> Iterator[slice]:
    size = _slice_rows(n_rows, device)
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def _difference(pair: Tensor) -> Tensor:
    """Logit of label 1 minus logit of label 0."""
    return pair[1] - pair[0]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # compute_gradients made it
    return parameter.grad


def _set_opposite(pair: Tensor, gradient: Tensor) -> None:
    torch.stack([-gradient, gradient], out=pair)
