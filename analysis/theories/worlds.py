"""Worlds with a known answer, so that a claim can be tried on all of them.

Some hold to the Quantization Hypothesis and the others break it in one way each. Constants are about those of
the demo's networks.
"""

from quanta.analysis.theories.controls import shuffled, uniform
from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.protocol import World
from quanta.analysis.theories.quanta import Quanta
from quanta.analysis.theories.smooth import Smooth
from quanta.analysis.theories.spectral import Spectral

UNLEARNED = 1.01
"""Loss in bits of what is not learned: a network is a little too sure of its guesses."""
RESIDUE = 1e-3
"""Loss in bits of what is learned; in the demo from 0.0003 to 0.01."""
LEARNED = 0.1
"""Loss in bits below which a subtask is learned, at its learning time."""
LEFT = (LEARNED - RESIDUE) / (UNLEARNED - RESIDUE)
"""Share that is left there."""

LEARNING_TIME = 32.0
"""S_k p_k in steps. In the demo it is 60; at 32 a third of the 64 subtasks is learned in 6000 steps."""
SERIAL_TIME = 285.0
"""Steps from one subtask to the next under serial learning: as many in 6000 steps."""
PARAMETERS_PER_SUBTASK = 550.0
"""N / n. At the widest there is room for 23, a little more than there is time for: what is not learned there
was too late, while n follows N at all other widths."""
SMOOTH_TIME, SMOOTH_ROOM = 6.0, 110.0
"""Steps and parameters at which the smooth law begins; the first subtask is then learned at the widest."""

_QUANTA = Multilinear(LEARNING_TIME, PARAMETERS_PER_SUBTASK, tau=LEFT)

WORLDS = {
    world.name: world
    for world in (
        World(
            "ideal",
            "quanta: subtask k is learned in one step, at S_k ∝ 1/p_k, and their number n ∝ N",
            Quanta(LEARNING_TIME, PARAMETERS_PER_SUBTASK),
        ),
        World(
            "sigmoid",
            "quanta learned at the same times, in drops of finite width (arXiv:2404.17563)",
            _QUANTA,
        ),
        World(
            "domino",
            "quanta learned one after another: S_k ∝ k, which is p_k^(-1/(1+alpha)) (arXiv:2501.12391)",
            Domino(SERIAL_TIME, PARAMETERS_PER_SUBTASK, tau=LEFT),
        ),
        World(
            "spectral",
            "no quanta: one spectral filter learns all modes gradually; a power law in the mean loss",
            Spectral(LEARNING_TIME, PARAMETERS_PER_SUBTASK, tau=LEFT),
        ),
        World(
            "smooth",
            "no quanta: all subtasks improve together, by one power law in N and S",
            Smooth(SMOOTH_TIME, SMOOTH_ROOM),
        ),
        shuffled(_QUANTA),
        uniform(_QUANTA),
    )
}
"""By name, in the order of `quanta simulate --list`."""


def true_exponents(world: str, alpha: float) -> dict[str, float | None]:
    """Exponents that a world was made with.

    Parameters
    ----------
    world : str
        One of `WORLDS`.
    alpha : float
        Quanta exponent α.

    Returns
    -------
    dict
        `beta`, of S_k ∝ p_k^-beta, and `gamma`, of n ∝ N^gamma where room and not time is the limit. None
        where the world has no such law.

    Raises
    ------
    ValueError
        If there is no such world.
    """
    return find_world(world).exponents(alpha)


def find_world(name: str) -> World:
    """Return the world of a name; raises ValueError, with the names that there are, for any other."""
    if name not in WORLDS:
        raise ValueError(f"world must be one of {', '.join(WORLDS)}, not {name!r}")
    return WORLDS[name]
