"""What is raised about run directories."""

from quanta.tasks.errors import QuantaError


class StoreError(QuantaError):
    """A folder that is not the run directory it was taken for, or one that is damaged."""
