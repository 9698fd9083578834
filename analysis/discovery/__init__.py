"""Clusters of samples by what they would have a network learn, held against the true subtasks."""
