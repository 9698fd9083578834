"""Train ladders of MLPs on multitask sparse parity and keep their learning curves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
