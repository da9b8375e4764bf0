"""What a package adds to gfopt: a file for each thing, and a line in pyproject.toml."""
