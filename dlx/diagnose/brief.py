"""An experiment as a diagnosis trains it: for a few steps."""

from dlx.config import Experiment
from dlx.config.averaging import NoAveraging
from dlx.config.duration import Duration
from dlx.config.schedule import ScheduleConfig


def briefly(config: Experiment, schedule: ScheduleConfig, steps: int, every: int, seed: int) -> Experiment:
    """The experiment for so many steps under another schedule, its raw weights scored every so many; `seed` is added to its own."""
    train = config.train.model_copy(
        update={
            "duration": Duration(steps, "steps"),
            "evaluate_every": Duration(every, "steps"),
            "patience": None,
            "monitor": None,
            "seed": (config.train.seed + seed) % 2**32,
        }
    )
    return config.model_copy(update={"train": train, "schedule": schedule, "averaging": NoAveraging(), "replay": ()})
