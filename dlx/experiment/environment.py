"""What a run's numbers depend on beside its config: versions, device, command, source code."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlx.engine import describe_device
from dlx.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "pandas")
DIFF_LIMIT = 1_000_000
"""A longer diff (in characters) is cut: it is data, not source."""


def command_line() -> str:
    """The command that started this process, as one would type it."""
    return shlex.join(["dlx", *sys.argv[1:]]) if Path(sys.argv[0]).name in ("dlx", "__main__.py") else shlex.join(sys.argv)


def capture() -> dict[str, Any]:
    """Versions, device, host and folder, and the variables that steer JAX."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "folder": str(Path.cwd()),
        "device": describe_device(),
        "packages": {"dlx": __version__, **{name: version(name) for name in PACKAGES}},
        "variables": {k: v for k, v in os.environ.items() if k.startswith(("XLA_", "JAX_", "DLX_", "CUDA_VISIBLE", "TPU_"))},
    }


def git_state() -> tuple[dict[str, Any] | None, str]:
    """The commit of the current folder and whether its tree is dirty (None outside a repository), and the dirty diff."""
    commit = _run("rev-parse", "HEAD")
    if commit is None:
        return None, ""
    diff = _run("diff", "HEAD") or ""
    return {"commit": commit.strip(), "dirty": bool(diff.strip())}, diff[:DIFF_LIMIT]


def _run(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here, or a huge tree: the record says so by having none
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
