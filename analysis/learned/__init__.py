"""What did happen: what was learned, when, in which order and how sharply; no theory, no verdict."""
