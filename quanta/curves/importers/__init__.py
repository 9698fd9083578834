"""Readers of what other programs leave behind: each makes Curves of it, and runs none of it."""
