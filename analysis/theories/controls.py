"""Worlds that are no theory: what a theory would make if learning did not go by frequency."""

from quanta.analysis.theories.protocol import Theory, World


def shuffled(theory: Theory) -> World:
    """Every seed learns the subtasks in an order of its own."""
    meaning = "quanta, but every seed learns them in a random order, whatever their frequency"
    return World("shuffled", meaning, theory, shuffled=True)


def uniform(theory: Theory) -> World:
    """All subtasks are equally frequent: the order is that of the scatter."""
    meaning = "quanta of equal frequency, in the order of their scatter; alpha is -1"
    return World("uniform", meaning, theory, uniform=True)
