"""How fast a step of training is, against other ways to take it: ``python -m benchmarks``."""
