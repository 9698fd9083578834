"""Train one unit: the population, the compiled kernel, the trainer; writes nothing."""
