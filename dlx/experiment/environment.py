"""What a run's numbers depend on beside its config: versions, device, command, source code."""

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlx.config import Experiment
from dlx.engine import describe_device
from dlx.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "pandas")
_PASSWORD = re.compile(r"(://[^\s:/@]+:)[^\s/]+@")
DIFF_LIMIT = 1_000_000
"""A longer diff (in characters) is cut: it is data, not source."""


def command_line() -> str:
    """The command that started this process, as one would type it; a password in a store's URL is not kept."""
    own = Path(sys.argv[0]).name in ("dlx", "__main__.py")
    return _PASSWORD.sub(r"\1***@", shlex.join(["dlx" if own else sys.argv[0], *sys.argv[1:]]))


def capture() -> dict[str, Any]:
    """Versions, device, host and folder, and the variables that steer JAX."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "folder": str(Path.cwd()),
        "device": describe_device(),
        "packages": {"dlx": __version__, **{name: version(name) for name in PACKAGES}},
        "variables": {k: v for k, v in os.environ.items() if k.startswith(("XLA_", "JAX_", "CUDA_VISIBLE", "TPU_"))},
    }


def git_state() -> tuple[dict[str, Any] | None, str]:
    """The commit of the current folder (None outside a repository), and the uncommitted changes.

    `dirty` is null where git did not answer in time, as in a huge tree.
    """
    commit = _run("rev-parse", "HEAD")
    if commit is None:
        return None, ""
    diff = _run("diff", "HEAD")
    return {"commit": commit.strip(), "dirty": None if diff is None else bool(diff.strip())}, (diff or "")[:DIFF_LIMIT]


def sources(config: Experiment) -> dict[str, str]:
    """A digest of each file of the user's own code that the config names: its network, its data loader."""
    found: dict[str, str] = {}
    for section in (config.model, config.data):
        file, colon, _ = str(vars(section).get("target", "")).rpartition(":")
        if section.kind == "python" and colon and Path(file).is_file():
            found[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return found


def _run(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here, or it takes too long
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
