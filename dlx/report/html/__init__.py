"""A run, a sweep or several runs as one self-contained HTML page: no network, no script, nothing beside the file."""
