"""JSON that every reader takes: a number that is not finite is null, because JSON has no other word for it."""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(tree: Any) -> str:
    """The text of a tree of plain values, on one line."""
    return json.dumps(_finite(tree), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {str(k): _finite(v) for k, v in value.items()}
        case list() | tuple():
            return [_finite(v) for v in value]
    return value
