"""Learning problems: update rules, losses, metrics. One problem per file; `build_task` is the one match."""

from typing import assert_never

from dlx.config.task import Adversarial as AdversarialConfig
from dlx.config.task import (
    Belief,
    Boltzmann,
    Classify,
    Language,
    Multilabel,
    Perceptron,
    Reconstruct,
    Regress,
    Seq2Seq,
    TaskConfig,
    Variational,
)
from dlx.config.task import Cycle as CycleConfig
from dlx.config.task import Stacked as StackedConfig
from dlx.data import Spec, TargetKind
from dlx.errors import ConfigError
from dlx.tasks.adversarial import Adversarial
from dlx.tasks.belief import GreedyPretraining
from dlx.tasks.boltzmann import ContrastiveDivergence
from dlx.tasks.classification import Classification, Multilabelling
from dlx.tasks.cycle import Cycle
from dlx.tasks.language import LanguageModelling as LanguageModelling
from dlx.tasks.network import in_features as in_features
from dlx.tasks.perceptron import PerceptronLearning, PerceptronRule
from dlx.tasks.reconstruction import Reconstruction
from dlx.tasks.regression import Regression
from dlx.tasks.seq2seq import SequenceToSequence as SequenceToSequence
from dlx.tasks.stacked import Stacked
from dlx.tasks.state import Asked as Asked
from dlx.tasks.state import Batch as Batch
from dlx.tasks.state import Concluding as Concluding
from dlx.tasks.state import Examined as Examined
from dlx.tasks.state import Generative as Generative
from dlx.tasks.state import LearnerState as LearnerState
from dlx.tasks.state import Sums as Sums
from dlx.tasks.state import Task as Task
from dlx.tasks.state import Watchful as Watchful
from dlx.tasks.supervised import Supervised as Supervised
from dlx.tasks.variational import VariationalInference


def build_task(config: TaskConfig, spec: Spec, total_steps: int, steps_per_epoch: int) -> Task:
    """The task of a config on data of a given spec. Raises `ConfigError` when the two do not fit."""
    if (kind := target_kind(config)) is not None and kind != spec.target:
        raise ConfigError(
            f"task.kind is {config.kind}, but the target {', '.join(spec.target_names)} holds {_words(spec.target)}"
        )
    match config:
        case Classify():
            return Supervised(Classification(config, spec), spec, total_steps, steps_per_epoch)
        case Multilabel():
            return Supervised(Multilabelling(config, spec), spec, total_steps, steps_per_epoch)
        case Regress():
            return Supervised(Regression(config, spec), spec, total_steps, steps_per_epoch)
        case Language():
            return LanguageModelling(config, spec, total_steps, steps_per_epoch)
        case Seq2Seq():
            return SequenceToSequence(config, spec, total_steps, steps_per_epoch)
        case Reconstruct():
            return Reconstruction(spec, total_steps, steps_per_epoch)
        case Variational():
            return VariationalInference(config, spec, total_steps, steps_per_epoch)
        case Boltzmann():
            return ContrastiveDivergence(spec, total_steps, steps_per_epoch)
        case Belief():
            return GreedyPretraining(spec, total_steps, steps_per_epoch)
        case Perceptron():
            return PerceptronLearning(PerceptronRule(), spec, total_steps, steps_per_epoch)
        case AdversarialConfig():
            return Adversarial(config, spec, total_steps, steps_per_epoch)
        case StackedConfig():
            return Stacked(config, spec, total_steps, steps_per_epoch)
        case CycleConfig():
            return Cycle(config, spec, total_steps, steps_per_epoch)
    assert_never(config)


def target_kind(config: TaskConfig) -> TargetKind | None:
    """The kind of target that a task needs; None for one that learns without any."""
    match config:
        case Classify() | Perceptron():
            return "class"
        case Multilabel():
            return "labels"
        case Regress():
            return "number"
        case Language() | Seq2Seq():
            return "tokens"
        case Variational(conditional=True):
            return "class"
        case Reconstruct() | Variational():
            return None
        case Boltzmann() | Belief():
            return None
        case AdversarialConfig():
            return "class" if config.conditional else None
        case StackedConfig():
            return "class"
        case CycleConfig():
            return None
    assert_never(config)


def default_task(target: TargetKind) -> TaskConfig:
    """The task that suits a target, for experiments that name none."""
    match target:
        case "class":
            return Classify()
        case "labels":
            return Multilabel()
        case "number":
            return Regress()
        case "tokens" | "none":
            raise ConfigError(f"the data holds {_words(target)}: name the task with task.kind=...")
    assert_never(target)


def _words(target: TargetKind) -> str:
    match target:
        case "class":
            return "one class of several: use task.kind=classify"
        case "labels":
            return "several labels of 0 and 1: use task.kind=multilabel"
        case "number":
            return "numbers: use task.kind=regress"
        case "tokens":
            return "sequences of tokens: use task.kind=language for one text, task.kind=seq2seq for pairs"
        case "none":
            return "nothing to predict: use a task that learns without, such as task.kind=reconstruct"
    assert_never(target)
