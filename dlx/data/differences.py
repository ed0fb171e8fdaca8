"""How the columns of new data differ from those that a network learned from, in words."""

from collections.abc import Iterable, Sequence

from dlx.data.encoder import nearest
from dlx.errors import first_of

_SHOWN = 8


def missing_columns(needed: Iterable[str], present: Sequence[str]) -> str:
    """`it has no column 'age' (did you mean 'Age'?)`, for all that are missing; nothing if none is.

    Only columns that are not needed themselves are named as likely.
    """
    wanted = list(needed)
    missing = [name for name in wanted if name not in present]
    if not missing:
        return ""
    spare = [name for name in present if name not in wanted]
    shown = first_of([f"{name!r}{_likely(name, spare)}" for name in missing], _SHOWN)
    there = ", ".join(present[:_SHOWN]) + (", ..." if len(present) > _SHOWN else "")
    return f"it has no column{'s' if len(missing) > 1 else ''} {shown}; its columns are {there}"


def _likely(name: str, spare: Sequence[str]) -> str:
    said = nearest(name, spare)
    return f" ({said.removeprefix(': ')})" if "did you mean" in said else ""
