"""The base of this package's errors."""


class QuantaError(ValueError):
    """Something given to the package, a file or a setting, that is not as it must be; one line says how.

    Commands print the line. Any other ValueError is a mistake in the program, and shows its traceback.
    """
