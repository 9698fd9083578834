"""The strongest peer: all networks of a ladder at once in JAX, compiled, as its best user writes it.

Shapes: B samples, K subtasks, n bits, G networks, H = sum of widths.

What the subtask adds is a row that is gathered, the readout is a block-diagonal matrix, and the batch is
drawn inside of what is compiled. Slices of a batch follow one another in a scan, so that their hidden layer
may stay in cache, and so do steps, so that Python is seldom asked; parameters and moments are donated, so
that they are changed in place. `search` finds the fastest size of slice.
"""

# What overrides a method of Competitor is documented there.
# ruff: noqa: D102

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array, lax

from benchmarks.competitors import BITS, Competitor
from quanta.study.spec import UnitSpec
from quanta.tasks.seeds import derive_seed
from quanta.training.trainer import Trainer

SLICES = (500, 1000, 2000, 5000, 10_000, 20_000)
"""Sizes of slices, in samples, that are tried; those that do not divide a batch are left out."""

STEPS_A_CALL = 5

PLAIN = {"precision": "float32"}

Parameters = dict[str, Array]

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Of Adam, as torch has them."""


class Jax(Competitor):
    """All networks at once, compiled by XLA."""

    steps_a_call = STEPS_A_CALL

    def __init__(self, unit: UnitSpec, device: torch.device | str = "cpu") -> None:
        super().__init__(unit, device)
        jax.config.update("jax_default_device", jax.devices(self.device.type)[0])
        is_rounded = unit.training.precision == "tf32"
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if is_rounded else "highest")
        # Of the same weights; they are made on a CPU, which does not round.
        trainer = Trainer(unit.model_copy(update={"training": unit.training.model_copy(update=PLAIN)}))
        population, task = trainer.population, trainer.task
        self._membership = jnp.asarray(population.membership.numpy())
        names = ("embedding", "weight", "bias", "readout_weight", "readout_bias")
        self.parameters = {name: jnp.array(getattr(population, name).detach().numpy()) for name in names}
        # Each of its own memory, since that is given away.
        moments = [jax.tree.map(jnp.zeros_like, self.parameters) for _ in BETAS]
        self._state = (self.parameters, *moments, jnp.zeros((), jnp.int32))
        self._key = jax.random.key(derive_seed(unit.seed, "data") % 2**31, impl="rbg")
        self._cumulative = jnp.asarray(np.cumsum(task.frequencies)[:-1], jnp.float32)
        self._subsets = jnp.asarray(np.where(task.subsets >= 0, task.subsets, unit.task.n_bits))
        self._test_set = tuple(
            jnp.asarray(tensor.numpy())
            for tensor in task.sample_stratified(
                unit.evaluation.samples_per_subtask,
                torch.Generator().manual_seed(derive_seed(unit.seed, "evaluation")),
            )
        )
        self.use_slices(unit.training.batch_size)

    def use_slices(self, rows: int) -> None:
        """Compile for slices of a size, which has to divide the batch."""
        self.rows = rows
        self._steps = jax.jit(partial(self._take_steps, rows), donate_argnums=0)
        self._losses = jax.jit(self._measure)

    def search(self, clock: Callable[[Callable[[], None]], float]) -> None:
        size = self.unit.training.batch_size
        seconds = {}
        fitting = [rows for rows in SLICES if size % rows == 0] if self.device.type == "cpu" else []
        for rows in fitting or [size]:  # a GPU has no caches to fit into
            self.use_slices(rows)
            self.step()  # compiles
            seconds[rows] = clock(self.step)
        self.use_slices(min(seconds, key=lambda rows: seconds[rows]))

    def step(self) -> None:
        self._state, self._key = self._steps(self._state, self._key)
        jax.block_until_ready(self._state)
        self.parameters = self._state[0]

    def evaluate(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self._losses(self.parameters, *self._test_set)))

    def _take_steps(self, rows: int, state: Any, key: Array) -> tuple[Any, Array]:
        def step(carry: tuple[Any, Array], _: None) -> tuple[tuple[Any, Array], None]:
            state, key = carry
            key, now = jax.random.split(key)
            return (self.update(rows, state, self.draw(now)), key), None

        return lax.scan(step, (state, key), length=self.steps_a_call)[0]

    def draw(self, key: Array) -> tuple[Array, Array, Array]:
        """Draw a batch: subtask (B,), bits (B, n) uint8 and label (B,)."""
        size, n_bits = self.unit.training.batch_size, self.unit.task.n_bits
        of_subtask, of_bits = jax.random.split(key)
        subtask = jnp.searchsorted(self._cumulative, jax.random.uniform(of_subtask, (size,)), side="right")
        words = jax.random.bits(of_bits, (size, -(-n_bits // 32)), jnp.uint32)
        bits = (words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
        bits = bits.reshape(size, -1)[:, :n_bits].astype(jnp.uint8)
        own = jnp.take_along_axis(bits, self._subsets[subtask], axis=1, mode="fill", fill_value=0)
        return subtask, bits, own.sum(1) & 1

    def update(self, rows: int, state: Any, batch: tuple[Array, Array, Array]) -> Any:
        """Take one step of AdamW on a batch; the state is parameters, both moments and their count."""
        parameters, first, second, count = state
        size = len(batch[0])
        slices = [part.reshape(size // rows, rows, *part.shape[1:]) for part in batch]

        def add(total: Parameters, part: Any) -> tuple[Parameters, None]:
            found = jax.grad(self._loss)(parameters, *part)
            return jax.tree.map(jnp.add, total, found), None

        gradients, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, parameters), slices)
        gradients = jax.tree.map(lambda values: values / size, gradients)
        count = count + 1
        first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, first, gradients)
        second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, second, gradients)
        rate, decay = self.unit.training.learning_rate, self.unit.training.weight_decay

        def move(p: Array, m: Array, v: Array) -> Array:
            of_first, of_second = (1 - beta ** count.astype(p.dtype) for beta in BETAS)
            step = (m / of_first) / (jnp.sqrt(v / of_second) + EPSILON)
            return p * (1 - rate * decay) - rate * step

        return jax.tree.map(move, parameters, first, second), first, second, count

    def _margins(self, parameters: Parameters, subtask: Array, bits: Array) -> Array:
        weight, pair, offset = parameters["weight"], parameters["readout_weight"], parameters["readout_bias"]
        rows = (parameters["embedding"] + parameters["bias"])[subtask]
        hidden = jax.nn.relu(rows + bits.astype(weight.dtype) @ weight)
        return hidden @ (self._membership * (pair[1] - pair[0])[:, None]) + (offset[1] - offset[0])

    def _loss(self, parameters: Parameters, subtask: Array, bits: Array, label: Array) -> Array:
        """Sum over samples and networks of the cross-entropy in nats."""
        margin = self._margins(parameters, subtask, bits)
        return jax.nn.softplus((1 - 2 * label[:, None].astype(margin.dtype)) * margin).sum()

    def _measure(self, parameters: Parameters, subtask: Array, bits: Array, label: Array) -> Array:
        n_subtasks, n_samples = self.unit.task.n_subtasks, self.unit.evaluation.samples_per_subtask

        def one(part: tuple[Array, Array, Array]) -> Array:
            margin = self._margins(parameters, part[0], part[1])
            return jax.nn.softplus((1 - 2 * part[2][:, None].astype(margin.dtype)) * margin).mean(0)

        parts = [
            values.reshape(n_subtasks, n_samples, *values.shape[1:]) for values in (subtask, bits, label)
        ]
        return lax.map(one, tuple(parts)).T * BITS
