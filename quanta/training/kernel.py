"""The compiled fast path: gradients and margins of a ladder of one-hidden-layer MLPs on a CPU.

Shapes: B samples, K subtasks, n bits, H = sum of widths, G members.

Between the rows of the embedding and the readouts there are two large products, bits @ weight and its
gradient bitsᵀ @ dz. ``ladder.c`` takes a slice of samples and a block of columns through everything in one
pass, in the cache, and has two ways to multiply by bits that are cheaper than multiplying by floats.

*Tables* (``ladder_tables.h``, any processor). A product with bits is a sum of rows of weights, and four
bits at a time have only 16 sums. With T[j, v] the sum of the weights of those bits of nibble j that the
value v has, and v(b, j) the nibbles of sample b::

    bits @ weight          =  Σ_j T[j, v(b, j)]                      n/4 additions for n multiplications
    d T[j, v]              =  Σ of dz over the samples with v(b, j) = v
    d weight[4j + i]       =  Σ of d T[j, v] over the values v that have bit i

*Tiles* (``ladder_tiles.h``, processors with bfloat16 matrix tiles). These multiply bfloat16 and sum in
float32, sixteen times as fast as float32 itself. A bit is exact in bfloat16, and a float32 is the exact sum
of three bfloat16, so three such products are the product in float32::

    weight = w1 + w2 + w3,   bits @ weight = bits @ w1 + bits @ w2 + bits @ w3

and likewise for dz. With `bf16` only the first term is taken.

Both are exact but for the order of summation. The code is compiled by the C compiler of this machine when
it is first needed, for the processor it runs on, and kept in the user's cache folder; where it has none, by
that of the Python package ziglang. Where there is none at all, `Population` computes the same with torch,
more slowly.
"""

import ctypes
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from quanta.training.compilation import compile_ladder, processor

_REALS = {torch.float32: "float", torch.float64: "double"}
_BLOCK_BYTES = 128
"""Size of a block of columns in ladder.c: a whole number of vectors of any processor."""

_POINTERS = (
    "first_block",
    "first_column",
    "n_used",
    "subtask",
    "bits",
    "label",
    "embedding",
    "weight",
    "bias",
    "readout",
    "offset",
    "rows",
    "products",
    "d_rows",
    "d_products",
    "d_embedding",
    "d_weight",
    "d_readout",
    "d_offset",
    "margin",
)
_SIZES = (
    "n_samples",
    "n_subtasks",
    "n_bits",
    "n_members",
    "n_blocks",
    "n_columns",
    "n_threads",
    "bits_stride",
)


class _Ladder(ctypes.Structure):
    """The struct `ladder` of ladder.c."""

    _fields_ = [(name, ctypes.c_int64) for name in _SIZES] + [(name, ctypes.c_void_p) for name in _POINTERS]


class LadderKernel:
    """Memory and geometry for one ladder, and the compiled code to run on it.

    Parameters
    ----------
    widths : sequence of int
        Of the members.
    n_subtasks, n_bits : int
        K and n.
    dtype : torch.dtype
        float32 or float64.
    bf16 : bool, default False
        Round weights and errors to bfloat16 in the products.

    Raises
    ------
    OSError
        If there is no C compiler, or it fails, or there is no safe place for what it makes.

    Attributes
    ----------
    compiled_for : str
        The instructions that the code uses, such as "AVX2".
    """

    def __init__(
        self, widths: Sequence[int], n_subtasks: int, n_bits: int, dtype: torch.dtype, *, bf16: bool = False
    ) -> None:
        self._code = _load(_REALS[dtype], 1 if bf16 else 3)
        self.compiled_for: str = self._code.ladder_compiled_for().decode()
        self._dtype = dtype
        lanes = _BLOCK_BYTES // dtype.itemsize
        starts = np.cumsum([0, *widths])
        in_block = [
            np.arange(start, start + width, lanes) for start, width in zip(starts, widths, strict=False)
        ]
        first_column = np.concatenate(in_block)
        ends = np.repeat(starts[1:], [len(columns) for columns in in_block])
        self._geometry = [
            np.cumsum([0] + [len(columns) for columns in in_block], dtype=np.int64),
            first_column.astype(np.int64),
            np.minimum(ends - first_column, lanes).astype(np.int64),
        ]
        self._sizes = {
            "n_subtasks": n_subtasks,
            "n_bits": n_bits,
            "n_members": len(widths),
            "n_blocks": len(first_column),
            "n_columns": int(starts[-1]),
        }
        self._lanes = lanes
        self._buffers: dict[str, Tensor] = {}

    def gradients(
        self,
        subtask: Tensor,
        bits: Tensor,
        label: Tensor,
        parameters: dict[str, Tensor],
        n_threads: int,
    ) -> dict[str, Tensor]:
        """Gradients of every member's mean cross-entropy (nats) on a batch.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        bits : Tensor of uint8, shape (B, n)
        label : Tensor of uint8, shape (B,)
        parameters : dict of str to Tensor
            ``embedding`` (K, H), ``weight`` (n, H), ``bias`` (H,), ``readout`` (H,), ``offset`` (G,), and the
            contiguous tensors to write to: ``d_embedding`` and ``d_weight``.
        n_threads : int

        Returns
        -------
        dict of str to Tensor
            ``d_readout`` (H,) and ``d_offset`` (G,).

        Raises
        ------
        MemoryError
            If there is no room for activations; what was to be written to may hold anything.
        """
        H, G = self._sizes["n_columns"], self._sizes["n_members"]
        found = {
            "d_readout": torch.zeros(n_threads, H, dtype=self._dtype, device="cpu"),
            "d_offset": torch.zeros(n_threads, G, dtype=self._dtype, device="cpu"),
        }
        self._run({"subtask": subtask, "bits": bits, "label": label, **parameters, **found}, n_threads)
        return {name: parts.sum(0) for name, parts in found.items()}

    def margins(self, subtask: Tensor, bits: Tensor, parameters: dict[str, Tensor], n_threads: int) -> Tensor:
        """Margins of all members, shape (B, G); arguments as for `gradients`, nothing is written to."""
        margin = torch.empty(len(subtask), self._sizes["n_members"], dtype=self._dtype, device="cpu")
        self._run({"subtask": subtask, "bits": bits, **parameters, "margin": margin}, n_threads)
        return margin

    def _run(self, tensors: dict[str, Tensor], n_threads: int) -> None:
        self._check(tensors, n_threads)
        bits = tensors["bits"]
        if bits.stride(1) != 1:
            tensors["bits"] = bits = bits.contiguous()
        for name, tensor in tensors.items():
            if name != "bits" and not tensor.is_contiguous():
                tensors[name] = tensor.contiguous()
        self._grow_buffers(n_threads)
        pointers = {name: tensor.data_ptr() for name, tensor in (tensors | self._buffers).items()}
        places = zip(("first_block", "first_column", "n_used"), self._geometry, strict=True)
        pointers |= {name: array.ctypes.data for name, array in places}
        ladder = _Ladder(
            **self._sizes,
            **pointers,
            n_samples=len(bits),
            n_threads=n_threads,
            bits_stride=bits.stride(0),
        )
        if not self._code.ladder_run(ctypes.byref(ladder)):
            raise MemoryError(f"there is no memory for the activations that {n_threads} threads work on")

    def _check(self, tensors: dict[str, Tensor], n_threads: int) -> None:
        """Refuse what the compiled code would read or write out of bounds with."""
        if n_threads < 1:
            raise ValueError(f"n_threads must be at least 1, not {n_threads}")
        n_samples, n_subtasks = len(tensors["subtask"]), self._sizes["n_subtasks"]
        n_bits, H, G = self._sizes["n_bits"], self._sizes["n_columns"], self._sizes["n_members"]
        expected = {
            "subtask": (torch.int64, (n_samples,)),
            "bits": (torch.uint8, (n_samples, n_bits)),
            "label": (torch.uint8, (n_samples,)),
            "embedding": (self._dtype, (n_subtasks, H)),
            "weight": (self._dtype, (n_bits, H)),
            "bias": (self._dtype, (H,)),
            "readout": (self._dtype, (H,)),
            "offset": (self._dtype, (G,)),
            "d_embedding": (self._dtype, (n_subtasks, H)),
            "d_weight": (self._dtype, (n_bits, H)),
        }
        for name, tensor in tensors.items():
            dtype, shape = expected.get(name, (tensor.dtype, tensor.shape))
            if tensor.device.type != "cpu":
                raise ValueError(f"{name} must be on the cpu, not on {tensor.device}")
            if tensor.dtype != dtype or tensor.shape != shape:
                found = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise ValueError(f"{name} must be {dtype} of shape {tuple(shape)}, not {found}")
            if name.startswith("d_") and not tensor.is_contiguous():
                raise ValueError(f"{name} must be contiguous, since it is written to")
        if n_samples:
            low, high = (int(value) for value in tensors["subtask"].aminmax())
            if low < 0 or high >= n_subtasks:
                raise ValueError(f"subtask must be in 0..{n_subtasks - 1}, not {low}..{high}")

    def _grow_buffers(self, n_threads: int) -> None:
        """Make the working memory, zero where a block is padded; the gradients once for each thread."""
        if self._buffers and len(self._buffers["d_rows"]) >= n_threads:
            return
        K, Q, n = self._sizes["n_subtasks"], self._sizes["n_blocks"], self._sizes["n_bits"]
        weight_bytes, gradient_bytes = self._code.ladder_weight_bytes(n), self._code.ladder_gradient_bytes(n)
        # `working_memory` counts them.
        self._buffers = {
            "rows": torch.zeros(Q, K, self._lanes, dtype=self._dtype, device="cpu"),
            "products": torch.zeros(Q, weight_bytes, dtype=torch.uint8, device="cpu"),
            "d_rows": torch.zeros(n_threads, Q, K, self._lanes, dtype=self._dtype, device="cpu"),
            "d_products": torch.zeros(n_threads, Q, gradient_bytes, dtype=torch.uint8, device="cpu"),
        }


def working_memory(
    widths: Sequence[int], n_subtasks: int, n_bits: int, dtype: torch.dtype, n_threads: int, *, bf16: bool
) -> int:
    """Count the bytes that a `LadderKernel` works on besides parameters and activations.

    Parameters
    ----------
    widths, n_subtasks, n_bits, dtype, bf16
        As of a `LadderKernel`.
    n_threads : int
        Each has gradients of its own.

    Returns
    -------
    int
        0 where there is no compiled code.
    """
    try:
        code = _load(_REALS[dtype], 1 if bf16 else 3)
    except OSError:
        return 0
    n_blocks = sum(-(-width * dtype.itemsize // _BLOCK_BYTES) for width in widths)
    rows = n_subtasks * _BLOCK_BYTES
    once = rows + int(code.ladder_weight_bytes(n_bits))
    each = rows + int(code.ladder_gradient_bytes(n_bits))
    return n_blocks * (once + n_threads * each)


def why_not_compiled() -> str | None:
    """Say why compiled code is not to be had on this machine; None if it is."""
    try:
        _load("float", 3)
    except OSError as error:
        return str(error)
    return None


@functools.cache
def _load(real: str, n_terms: int) -> ctypes.CDLL:
    """Get the compiled code: with matrix tiles where this machine has them, else with tables."""
    if real == "float" and "amx_bf16" in processor().split():
        try:
            code = _compile(f"-DREAL={real}", f"-DTERMS={n_terms}", "-DTILES")
        except OSError:  # a compiler that does not know them
            code = None
        if code is not None and code.ladder_has_tiles():
            return code
    return _compile(f"-DREAL={real}", f"-DTERMS={n_terms}")


def _compile(*options: str) -> ctypes.CDLL:
    """Get the code that was compiled with some options."""
    code = ctypes.CDLL(str(compile_ladder(*options)))
    code.ladder_run.restype = ctypes.c_bool
    code.ladder_run.argtypes = [ctypes.POINTER(_Ladder)]
    code.ladder_compiled_for.restype = ctypes.c_char_p
    for size in (code.ladder_weight_bytes, code.ladder_gradient_bytes):
        size.restype = ctypes.c_int64
        size.argtypes = [ctypes.c_int64]
    return code
