"""What the tensors of a task file are, for whoever reads it with other tools.

Shapes: K subtasks, B samples, n bits. Everything counts from 0. A file with other words is of another format.
"""

TENSORS = {
    "subsets": (
        "int64, shape (K, largest k): row i has the bits of subtask i in increasing order, counted from 0; "
        "-1 fills up the rows of smaller subsets"
    ),
    "frequencies": "float64, shape (K,): the probability of subtask i, most frequent first; they sum to 1",
    "subtask": "int64, shape (B,): which subtask a sample is of, counted from 0: a row of subsets",
    "bits": (
        "uint8, shape (B, ceil(n / 8)): the n bits of a sample, 8 in a byte, lowest first: bit j is "
        "(bits[:, j // 8] >> j % 8) & 1, as numpy.unpackbits(bits, axis=1, count=n, bitorder='little') "
        "gives it; what fills up the last byte is 0"
    ),
    "label": "uint8, shape (B,): the parity of the subtask's bits: 1 if an odd number of them are 1, else 0",
}
"""Each tensor to its type, its shape and its meaning; those from `subtask` on come with a sample."""

METADATA = {
    "format": "name and version of this layout",
    "spec": (
        "JSON: n_subtasks K, n_bits n, k (one number, or one a subtask), alpha (the quanta exponent; the "
        'Zipf exponent is 1 + alpha; or "uniform") and offset; probabilities fall as '
        "(i + 1 + offset)^-(1 + alpha)"
    ),
    "seed": "decides the subsets",
    "sample_seed": "with seed, decides the sample, where there is one",
    "tensors": "JSON: what each tensor is, in these words",
}
"""Each key of the file's metadata, all of them texts, to its meaning."""
