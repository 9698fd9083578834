"""Ready-made studies, as TOML files."""
