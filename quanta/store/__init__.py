"""What is on disk: run directories, manifests, locks, weights, checkpoints."""
