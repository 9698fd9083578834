"""Detect when subtasks are learned and in which order; check whether the loss follows from their count."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
