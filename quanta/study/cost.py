"""How much arithmetic training a unit takes, told from what it is.

Shapes: B samples, K subtasks, n bits, H sum of widths.
"""

import numpy as np

from quanta.study.spec import UnitSpec


def count_flops(unit: UnitSpec, n_steps: int | None = None) -> float:
    """Count the floating-point operations of the products that training and evaluating a unit takes.

    Parameters
    ----------
    unit : UnitSpec
    n_steps : int, optional
        Of its first steps alone, with the evaluations until then.

    Returns
    -------
    float
        Two for each weight and sample forward, two for the weight's gradient, and two for the error that a
        layer hands down, which the first one does not. The embedding is looked up, which takes none.

    References
    ----------
    The usual 6 N B a step (Kaplan et al. 2020, arXiv:2001.08361) counts the first layer as any other, and
    codes as if they were multiplied.
    """
    widths, n_layers = unit.population.widths, unit.population.n_hidden_layers
    first = unit.task.n_bits * sum(widths)
    later = sum((n_layers - 1) * width**2 + 2 * width for width in widths)
    n_steps = unit.training.steps if n_steps is None else n_steps
    n_trained = n_steps * unit.training.batch_size
    n_evaluations = int(np.searchsorted(unit.evaluation_steps, n_steps, side="right"))
    n_measured = n_evaluations * unit.task.n_subtasks * unit.evaluation.samples_per_subtask
    return float(n_trained * (4 * first + 6 * later) + n_measured * 2 * (first + later))
