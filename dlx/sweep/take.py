"""Which sweep a command means: the one it started before, or a new one."""

from dlx.config.load import differences
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
    if changed := differences(found.config, new.config):
        raise ConfigError(
            f"sweep {found.id} ({found.name}) was started with another description: {'; '.join(changed)}; choose another --name"
        )
    claim_sweep(store, found.id, new.trials_total)
    return find_sweep(store, found.id)
