"""Which sweep a command means: the one it started before, or a new one."""

import json
from collections.abc import Mapping
from typing import Any

from dlx.errors import ConfigError
from dlx.store import NewSweep, Store, SweepRecord, claim_sweep, find_sweep, start_sweep


def take(store: Store, new: NewSweep) -> SweepRecord:
    """The sweep of this name, or without one of this description, held by this process; a new one if there is none.

    Raises `ConfigError` when the sweep of that name has another description, `BusyError` when another process runs it.
    """
    sweep_id, made = start_sweep(store, new)
    found = find_sweep(store, sweep_id)
    if made:
        return found
    if changed := _changed(found.config, new.config):
        raise ConfigError(
            f"sweep {found.id} ({found.name}) was started with another description: {'; '.join(changed)}; choose another --name"
        )
    claim_sweep(store, found.id, new.trials_total)
    return find_sweep(store, found.id)


def _changed(was: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Where two descriptions differ: `key was a, now b`."""
    found = []
    for key in [*was, *(key for key in now if key not in was)]:
        old, new = was.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _changed(old, new, f"{path}{key}.")
        elif old != new:
            found.append(f"{path}{key} was {json.dumps(old)}, now {json.dumps(new)}")
    return found
