"""The base of this package's errors, and how they stay on one line."""


class QuantaError(ValueError):
    """Something given to the package, a file or a setting, that is not as it must be; one line says how.

    Commands print the line. Any other ValueError is a mistake in the program, and shows its traceback.
    """


def printable(text: str) -> str:
    """Write what a terminal would do more with than show it, such as line ends, as Python writes it.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
