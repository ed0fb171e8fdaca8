"""What dlx remembers: runs, their metrics and their ends, in SQLite or PostgreSQL. Nothing here knows JAX or a screen."""

from dlx.store.database import DEFAULT_URL as DEFAULT_URL
from dlx.store.database import Store as Store
from dlx.store.database import open_store as open_store
from dlx.store.records import RunRecord as RunRecord
from dlx.store.records import RunSummary as RunSummary
from dlx.store.records import Segment as Segment
from dlx.store.records import curves as curves
from dlx.store.records import find_named as find_named
from dlx.store.records import find_run as find_run
from dlx.store.records import list_runs as list_runs
from dlx.store.runs import NewRun as NewRun
from dlx.store.runs import RunUpdate as RunUpdate
from dlx.store.runs import check_name as check_name
from dlx.store.runs import claim_run as claim_run
from dlx.store.runs import delete_run as delete_run
from dlx.store.runs import finish_run as finish_run
from dlx.store.runs import heartbeat as heartbeat
from dlx.store.runs import record as record
from dlx.store.runs import rename_run as rename_run
from dlx.store.runs import rewind_run as rewind_run
from dlx.store.runs import start_run as start_run
