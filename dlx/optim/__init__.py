"""Optimizers, schedules and penalties, built from configs inside the traced function."""

from dlx.optim.averaging import advance_average as advance_average
from dlx.optim.averaging import averaged as averaged
from dlx.optim.averaging import averages as averages
from dlx.optim.averaging import averaging_rate as averaging_rate
from dlx.optim.averaging import check_averaging as check_averaging
from dlx.optim.averaging import needs_statistics as needs_statistics
from dlx.optim.averaging import start_average as start_average
from dlx.optim.optimizers import build_optimizer as build_optimizer
from dlx.optim.optimizers import without_momentum as without_momentum
from dlx.optim.regularization import is_weight as is_weight
from dlx.optim.regularization import penalty as penalty
from dlx.optim.schedules import Schedule as Schedule
from dlx.optim.schedules import build_momentum as build_momentum
from dlx.optim.schedules import build_schedule as build_schedule
from dlx.optim.schedules import check_schedule as check_schedule
