"""What a theory expects of the mean loss along an axis, its constants fitted to what was learned."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.axes import Axis
from quanta.analysis.theories.protocol import RESOURCES, Theory
from quanta.analysis.verdict.predictions import observe
from quanta.analysis.verdict.statistics import Statistics

Array = NDArray[np.float64]

Expected = Mapping[str, Callable[[Array], Array]]
"""What theories expect: by its name, a function from places along an axis to the mean loss in bits."""


def expect_loss(statistics: Statistics, axis: Axis, *theories: type[Theory]) -> Expected:
    """Fit the constants of theories to times and counts, and predict the mean loss from them.

    Nothing is fitted to the loss, and subtasks do not scatter about the law.

    Parameters
    ----------
    statistics : Statistics
    axis : Axis
        A resource; the others are held at their largest, as in the trace.
    *theories : type of Theory

    Returns
    -------
    mapping of str to callable
        By the names of the theories. Without those that do not speak of the resource. A function is NaN where
        a constant is not known.
    """
    left, varied = statistics.base.left, RESOURCES[axis.name]
    largest = {
        "n_parameters": float(left.n_parameters[-1]),
        "step": float(left.last_step[-1, :, -1].min()),
        "n_examples": float(left.n_train[-1]),
    }
    observed, mass = observe(statistics.here), left.frequency * left.chance

    def function(theory: type[Theory]) -> Callable[[Array], Array]:
        fitted = theory.fit(observed)
        fixed = {name: at for name, at in largest.items() if name in theory.resources and np.isfinite(at)}

        def loss(x: Array) -> Array:
            return np.asarray(fitted.left(left.frequency, **fixed | {varied: x}) @ mass)

        return loss

    return {f"{theory.name} theory": function(theory) for theory in theories if varied in theory.resources}
