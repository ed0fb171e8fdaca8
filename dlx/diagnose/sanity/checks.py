"""The checks in the order in which a person would look, and their run over one experiment."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax

from dlx import engine
from dlx.config import Experiment
from dlx.diagnose.sanity.baselines import baselines
from dlx.diagnose.sanity.checked import Checked, Checking
from dlx.diagnose.sanity.copies import duplicates, statistics
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.layers import layers
from dlx.diagnose.sanity.of_data import batch_size, exclusive_labels, labels, standardized
from dlx.diagnose.sanity.of_network import initial_loss, modes, output_activation, symmetry
from dlx.diagnose.sanity.of_training import (
    deterministic,
    learning_rate,
    loss_falls,
    overfits_one_batch,
    shuffled_labels,
    uses_its_input,
)
from dlx.diagnose.sanity.subject import Subject, subject_of
from dlx.errors import ConfigError, UsageError
from dlx.events import DataLoaded
from dlx.experiment.assemble import load_data, plan_for, resolve
from dlx.experiment.run import loaded
from dlx.experiment.session import device_failure
from dlx.tasks import Supervised


@dataclass(frozen=True)
class Check:
    """One look at an experiment."""

    name: str
    question: str
    run: Callable[[Subject], Finding]
    quick: bool
    """Whether it trains nothing and takes a second at most."""


CHECKS: tuple[Check, ...] = (
    Check("labels", "has every class or label enough examples?", labels, quick=True),
    Check("exclusive-labels", "one class of several, or several labels at once?", exclusive_labels, quick=True),
    Check("standardized", "do the inputs have mean 0 and deviation 1?", standardized, quick=True),
    Check("duplicates", "are held-out examples also training examples?", duplicates, quick=True),
    Check("statistics", "was anything computed from held-out examples?", statistics, quick=True),
    Check("batch-size", "are there enough steps of enough examples?", batch_size, quick=True),
    Check("initial-loss", "is the first loss that of guessing?", initial_loss, quick=True),
    Check("output-activation", "can the outputs be any number?", output_activation, quick=True),
    Check("modes", "is the network in evaluation the one that is trained?", modes, quick=True),
    Check("layers", "do activations and gradients keep their size?", layers, quick=True),
    Check("symmetry", "do the units of a layer become different ones?", symmetry, quick=False),
    Check("overfits-one-batch", "can the network learn a few examples by heart?", overfits_one_batch, quick=False),
    Check("loss-falls", "does the loss fall under this learning rate?", loss_falls, quick=False),
    Check("uses-its-input", "does it learn more than from blank inputs?", uses_its_input, quick=False),
    Check("shuffled-labels", "is validation left to chance by shuffled targets?", shuffled_labels, quick=False),
    Check("deterministic", "do two trainings give the same weights?", deterministic, quick=False),
    Check("learning-rate", "is the learning rate near the one that a range test recommends?", learning_rate, quick=False),
    Check("baselines", "what does a network have to beat?", baselines, quick=False),
)

EVEN_SO = ("layers", "baselines")
"""Checks behind `initial-loss` that tell something even if the first loss is no number."""


def examine(
    config: Experiment, *, only: frozenset[str] | None = None, quick: bool = False
) -> Iterator[DataLoaded | Checking | Checked]:
    """Runs the checks (those of `only`, the quick ones of them) on an experiment, and says what each found as it ends.

    Raises `UsageError` for a name that no check has, and whatever training raises before its first step.
    """
    chosen = chosen_checks(only, quick=quick)
    engine.configure()
    dataset = load_data(config)
    yield loaded(dataset)
    subject = subject_of(resolve(config, dataset), dataset)
    task, _ = plan_for(subject.config, dataset)  # raises what does not fit before anything is said
    if not isinstance(task, Supervised):
        kind = subject.config.task.kind if subject.config.task else ""
        raise ConfigError(
            f"task.kind={kind} does not learn from labelled examples: there are no checks for it; see dlx gradcheck"
        )
    broken = False
    for check in chosen:
        yield Checking(check.name)
        began = time.perf_counter()
        if broken and check.name not in EVEN_SO:
            finding = Finding("skip", "the first loss is no number: see initial-loss")
        else:
            finding = _found(check, subject)
        broken |= check.run is initial_loss and _no_number(finding)
        yield Checked(check.name, check.question, finding, time.perf_counter() - began)


def _found(check: Check, subject: Subject) -> Finding:
    try:
        return check.run(subject)
    except jax.errors.JaxRuntimeError as error:
        raise device_failure(error) from error


def _no_number(finding: Finding) -> bool:
    """Whether this is what `initial_loss` finds of a network whose first loss is NaN or infinite."""
    loss = finding.numbers["loss"]
    return loss is None or not math.isfinite(loss)


def chosen_checks(only: frozenset[str] | None, *, quick: bool) -> tuple[Check, ...]:
    """The checks of these names (all for None), in order. Raises `UsageError` for a name that there is not."""
    names = [check.name for check in CHECKS]
    if unknown := sorted((only or frozenset()) - {*names}):
        raise UsageError(f"there is no check {unknown[0]!r}; there are {', '.join(names)}")
    chosen = tuple(check for check in CHECKS if (only is None or check.name in only) and (check.quick or not quick))
    if not chosen:
        raise UsageError(f"--quick leaves none of {', '.join(sorted(only or ()))}: leave it out")
    return chosen
