"""Why there is no estimate. A mistake in the program is none of these, and shows its traceback."""


class NoEstimate(Exception):  # noqa: N818
    """Data from which something cannot be estimated; the two below say why. Catch this one."""


class TooFewPoints(NoEstimate, ValueError):  # noqa: N818
    """Points that are too few, or too much alike, to determine what was asked."""


class FitError(NoEstimate, RuntimeError):
    """A fit that did not come to an answer.

    Attributes
    ----------
    partial : object
        The result record as far as it got.
    """

    def __init__(self, message: str, partial: object) -> None:
        super().__init__(message)
        self.partial = partial
