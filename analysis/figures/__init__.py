"""One function a figure: ``(data, ax=None) -> Axes``."""
