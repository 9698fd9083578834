"""What shall be done: the sections of a study, its size, and the study itself; no torch."""
