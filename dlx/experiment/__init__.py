"""Where config, numerics and store meet."""
