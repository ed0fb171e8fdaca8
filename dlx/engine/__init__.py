"""Lanes, programs, cohorts: the numerics that every command shares."""

from dlx.engine.checkpoint import newest_checkpoint as newest_checkpoint
from dlx.engine.checkpoint import newest_step as newest_step
from dlx.engine.checkpoint import write_atomically as write_atomically
from dlx.engine.cohort import RAW as RAW
from dlx.engine.cohort import TRAIN_SAMPLE as TRAIN_SAMPLE
from dlx.engine.cohort import Cohort as Cohort
from dlx.engine.cohort import Plan as Plan
from dlx.engine.cohort import Progress as Progress
from dlx.engine.cohort import park_lanes as park_lanes
from dlx.engine.cohort import save_lanes as save_lanes
from dlx.engine.feed import make_feed as make_feed
from dlx.engine.lanes import register_configs as register_configs
from dlx.engine.lanes import stack as stack
from dlx.engine.lanes import structure as structure
from dlx.engine.placement import Placement as Placement
from dlx.engine.placement import choose_placement as choose_placement
from dlx.engine.placement import configure as configure
from dlx.engine.placement import describe_device as describe_device
from dlx.engine.placement import devices as devices
from dlx.engine.placement import lanes_for as lanes_for
from dlx.engine.placement import memory_limit as memory_limit
from dlx.engine.program import Program as Program
from dlx.engine.program import Shapes as Shapes
from dlx.engine.program import convolves as convolves
