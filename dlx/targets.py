"""The user's own Python: `net.py:Net` (a file) or `package.module:Net` (an importable module)."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from dlx.errors import ConfigError, MissingInputError, RunFailedError


def load_target(target: str) -> Any:
    """The object that `file.py:name` or `package.module:name` means.

    Raises `ConfigError` when the text has no colon or the name is not in the module, `MissingInputError` when the file
    or module is not there, `RunFailedError` when the module raises while it is imported.
    """
    module_name, colon, name = target.rpartition(":")
    if not colon or not module_name or not name.isidentifier():
        raise ConfigError(f"target {target!r}: write file.py:name or package.module:name")
    module = (
        _from_file(Path(module_name).expanduser(), target) if module_name.endswith(".py") else _by_name(module_name, target)
    )
    if name not in vars(module):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ConfigError(f"target {target!r}: {module_name} has no {name!r}; it has {', '.join(public) or 'nothing'}")
    return vars(module)[name]


def _from_file(path: Path, target: str) -> Any:
    if not path.is_file():
        raise MissingInputError(f"target {target!r}: there is no file {path}")
    path = path.resolve()
    # One module per file and content, so that a file edited between two runs of one process is read again.
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    name = f"dlx_target_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"target {target!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # so that the user's file can import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RunFailedError(f"target {target!r}: {path} raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _by_name(module_name: str, target: str) -> Any:
    sys.path.insert(0, "")  # a console script's path does not hold the current folder; `python -m` does
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise MissingInputError(f"target {target!r}: no module named {error.name!r} can be imported") from error
        raise RunFailedError(f"target {target!r}: importing {module_name} raised {error}") from error
    except Exception as error:
        raise RunFailedError(f"target {target!r}: importing {module_name} raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove("")
