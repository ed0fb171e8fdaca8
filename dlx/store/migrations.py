"""The history of the schema: what each version changed, never edited once released. `tables` is the newest state.

A change of the schema is a new function at the end of `MIGRATIONS`. Each is applied in one transaction together with
its row in `dlx_migrations`, so that a store is always at exactly one version, whenever the power goes.
Optuna's tables live beside these and are Optuna's business.
"""

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, inspect, text

_LOCK: Final = 0x646C78  # "dlx": the key of the PostgreSQL advisory lock that a migration holds


def schema_version(connection: Connection) -> int:
    """The number of migrations this database has seen; 0 for one that holds nothing of dlx."""
    if not inspect(connection).has_table("dlx_migrations"):
        return 0
    return connection.execute(text("SELECT COALESCE(MAX(version), 0) FROM dlx_migrations")).scalar_one()


def migrate_once(connection: Connection) -> None:
    """Applies the next migration, if there is one, and records it. `connection` is inside a write transaction."""
    if connection.dialect.name == "postgresql":  # SQLite's write transaction has already locked everybody else out
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    version = schema_version(connection)  # again, under the lock: another process may have been faster
    if version >= NEWEST:
        return
    if version == 0:
        connection.execute(text("CREATE TABLE dlx_migrations (version BIGINT PRIMARY KEY, applied DOUBLE PRECISION NOT NULL)"))
    MIGRATIONS[version](connection)
    connection.execute(
        text("INSERT INTO dlx_migrations (version, applied) VALUES (:version, :now)"),
        {"version": version + 1, "now": time.time()},
    )


def _create_runs(connection: Connection) -> None:
    """Version 1: runs, their metrics, and the stretches in which they ran."""
    # A table that is its own index: a curve is one contiguous read, and each key is stored once.
    clustered = "WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    statements = (
        """CREATE TABLE dlx_runs (
            id TEXT PRIMARY KEY, name TEXT, status TEXT NOT NULL, message TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION, heartbeat DOUBLE PRECISION NOT NULL,
            step BIGINT NOT NULL, epoch BIGINT NOT NULL, steps_total BIGINT NOT NULL, steps_per_epoch BIGINT NOT NULL,
            lanes BIGINT NOT NULL, lane BIGINT NOT NULL, monitor TEXT NOT NULL, direction TEXT NOT NULL,
            host TEXT NOT NULL, pid BIGINT NOT NULL, process_space TEXT NOT NULL, process_started BIGINT NOT NULL,
            metrics TEXT NOT NULL, seconds TEXT NOT NULL,
            config TEXT NOT NULL, command TEXT NOT NULL, environment TEXT NOT NULL)""",
        "CREATE INDEX dlx_runs_created ON dlx_runs (created)",
        "CREATE INDEX dlx_runs_name ON dlx_runs (name, created)",
        f"""CREATE TABLE dlx_metrics (
            run_id TEXT NOT NULL REFERENCES dlx_runs (id) ON DELETE CASCADE, name TEXT NOT NULL, step BIGINT NOT NULL,
            value DOUBLE PRECISION, PRIMARY KEY (run_id, name, step)) {clustered}""",
        f"""CREATE TABLE dlx_segments (
            run_id TEXT NOT NULL REFERENCES dlx_runs (id) ON DELETE CASCADE, number BIGINT NOT NULL,
            started DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION, from_step BIGINT NOT NULL, to_step BIGINT,
            host TEXT NOT NULL, pid BIGINT NOT NULL, device TEXT NOT NULL, outcome TEXT,
            PRIMARY KEY (run_id, number)) {clustered}""",
    )
    for statement in statements:
        connection.execute(text(statement))


def _create_sweeps(connection: Connection) -> None:
    """Version 2: sweeps and their trials. A trial outlives its run: what it found is never asked for again."""
    statements = (
        """CREATE TABLE dlx_sweeps (
            id TEXT PRIMARY KEY, name TEXT, status TEXT NOT NULL, message TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION, heartbeat DOUBLE PRECISION NOT NULL,
            trials_total BIGINT, monitor TEXT NOT NULL, direction TEXT NOT NULL,
            host TEXT NOT NULL, pid BIGINT NOT NULL, process_space TEXT NOT NULL, process_started BIGINT NOT NULL,
            seconds TEXT NOT NULL, config TEXT NOT NULL, command TEXT NOT NULL)""",
        "CREATE INDEX dlx_sweeps_created ON dlx_sweeps (created)",
        """CREATE TABLE dlx_trials (
            sweep TEXT NOT NULL REFERENCES dlx_sweeps (id) ON DELETE CASCADE, number BIGINT NOT NULL,
            run_id TEXT REFERENCES dlx_runs (id) ON DELETE SET NULL, status TEXT, value DOUBLE PRECISION,
            message TEXT, params TEXT NOT NULL, PRIMARY KEY (sweep, number))""",
        "CREATE INDEX dlx_trials_run ON dlx_trials (run_id)",
    )
    for statement in statements:
        connection.execute(text(statement))


def _add_workers(connection: Connection) -> None:
    """Version 3: several processes work on a sweep, and a trial is one run for each of its seeds."""
    statements = (
        """CREATE TABLE dlx_workers (
            sweep TEXT NOT NULL REFERENCES dlx_sweeps (id) ON DELETE CASCADE, number BIGINT NOT NULL,
            host TEXT NOT NULL, pid BIGINT NOT NULL, process_space TEXT NOT NULL, process_started BIGINT NOT NULL,
            heartbeat DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION,
            PRIMARY KEY (sweep, number))""",
        """INSERT INTO dlx_workers SELECT id, 0, host, pid, process_space, process_started, heartbeat, created,
            CASE WHEN status = 'running' THEN NULL ELSE heartbeat END FROM dlx_sweeps""",
        *(
            f"ALTER TABLE dlx_sweeps DROP COLUMN {name}"
            for name in ("host", "pid", "process_space", "process_started", "heartbeat")
        ),
        """CREATE TABLE dlx_trials_3 (
            sweep TEXT NOT NULL REFERENCES dlx_sweeps (id) ON DELETE CASCADE, number BIGINT NOT NULL, seed BIGINT NOT NULL,
            run_id TEXT REFERENCES dlx_runs (id) ON DELETE SET NULL, worker BIGINT, status TEXT, value DOUBLE PRECISION,
            others TEXT NOT NULL, curve TEXT NOT NULL, message TEXT, params TEXT NOT NULL, notes TEXT NOT NULL,
            PRIMARY KEY (sweep, number, seed))""",
        """INSERT INTO dlx_trials_3
            SELECT sweep, number, 0, run_id, 0, status, value, '[]', '{}', message, params, '{}' FROM dlx_trials""",
        "DROP TABLE dlx_trials",
        "ALTER TABLE dlx_trials_3 RENAME TO dlx_trials",
        "CREATE INDEX dlx_trials_run ON dlx_trials (run_id)",
    )
    for statement in statements:
        connection.execute(text(statement))


MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (_create_runs, _create_sweeps, _add_workers)
NEWEST: Final = len(MIGRATIONS)
