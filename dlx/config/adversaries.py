"""What an experiment of a generator and a critic must not be: sentences for those who write one."""

from dlx.config.adversarial_model import AdversaryCommon
from dlx.config.adversarial_task import RivalsCommon, WassersteinGp
from dlx.config.model import ModelConfig
from dlx.config.optimizer import OptimizerConfig
from dlx.config.schedule import ScheduleConfig
from dlx.config.task import TaskConfig
from dlx.config.train import Train

CANNOT = ("lbfgs", "rprop")
"""Optimizers that need the same loss at every step, which the other player does not leave."""


def unfit_adversaries(
    task: TaskConfig | None,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    schedule: ScheduleConfig,
    train: Train,
) -> str | None:
    """What does not fit in an experiment of two players, in a sentence; None for one that is well, or of another task."""
    if not isinstance(task, RivalsCommon):
        return None
    if isinstance(train.batch_size, int) and train.batch_size % task.critic_steps:
        return (
            f"task.critic_steps={task.critic_steps} divides each batch into as many parts: make train.batch_size={train.batch_size} "
            "a multiple of it"
        )
    if schedule.kind == "schedule-free":
        return f"schedule schedule-free averages one player's weights, and task {task.kind} has two: use averaging.kind=ema"
    if optimizer.kind in CANNOT:
        return f"optimizer {optimizer.kind} needs the same loss at every step, and task {task.kind} has two players: use adam"
    if optimizer.kind == "polyak_sgd":
        return (
            f"optimizer polyak_sgd goes by how far the loss is above its lowest value, and in task {task.kind} nothing says how low "
            "either player's can be: use adam"
        )
    gp = isinstance(vars(task)["loss"], WassersteinGp)
    if gp and isinstance(model, AdversaryCommon) and model.critic_normalization == "batch":
        return (
            "task.loss.kind=wasserstein-gp needs a critic that judges each image by itself: set model.critic_normalization to layer "
            "or none"
        )
    return None
