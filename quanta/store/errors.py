"""What is raised about run directories."""


class StoreError(ValueError):
    """A folder that is not the run directory it was taken for, or one that is damaged."""
