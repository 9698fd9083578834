"""The version of quanta, here alone."""

__version__ = "0.1.0"
