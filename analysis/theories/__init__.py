"""What ought to happen: one file a theory, all behind one protocol."""
