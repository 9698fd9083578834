"""The one data format, Curves, and its readers; no torch."""
