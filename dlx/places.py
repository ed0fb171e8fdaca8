"""Where dlx keeps what it can make again: downloads and compiled programs. `DLX_CACHE` moves it."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder for one kind of cached thing (`"data"`, `"xla"`), inside the user's cache folder. Not created here."""
    root = os.environ.get("DLX_CACHE")
    if root:
        return Path(root).expanduser() / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "dlx" / kind
