"""Pruners as they are written in a sweep file: Optuna's names and defaults, and what is refused."""

import optuna
import pytest
from pydantic import TypeAdapter, ValidationError

from dlx.config.pruner import (
    HalvingPruner,
    HyperbandPruner,
    MedianPruner,
    NoPruner,
    PatientPruner,
    PercentilePruner,
    PrunerConfig,
    ThresholdPruner,
)

READ = TypeAdapter(PrunerConfig)


@pytest.mark.parametrize(
    ("written", "pruner"),
    [
        ({"kind": "none"}, NoPruner()),
        ({"kind": "median", "startup_trials": 0}, MedianPruner(startup_trials=0, warmup_steps=0, interval_steps=1)),
        ({"kind": "percentile"}, PercentilePruner(percentile=25.0, startup_trials=5, warmup_steps=0, interval_steps=1)),
        (
            {"kind": "successive_halving", "min_resource": 2},
            HalvingPruner(min_resource=2, reduction_factor=3, min_early_stopping_rate=0),
        ),
        ({"kind": "hyperband", "reduction_factor": 4}, HyperbandPruner(min_resource=None, reduction_factor=4)),
        ({"kind": "threshold", "upper": 1}, ThresholdPruner(lower=None, upper=1.0, warmup_steps=0, interval_steps=1)),
        ({"kind": "patient", "patience": 3}, PatientPruner(wrapped=NoPruner(), patience=3, min_delta=0.0)),
        ({"kind": "patient", "patience": 3, "wrapped": {"kind": "median"}}, PatientPruner(wrapped=MedianPruner(), patience=3)),
    ],
)
def test_what_is_written_is_what_is_meant(written, pruner):
    assert READ.validate_python(written) == pruner
    assert READ.validate_json(READ.dump_json(pruner)) == pruner


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"kind": "threshold"}, "there is no limit: write lower, upper or both"),
        ({"kind": "threshold", "lower": 2, "upper": 1}, "lower is 2.0 and upper is 1.0: lower must be below upper"),
        ({"kind": "threshold", "lower": 1, "upper": 1}, "lower must be below upper"),
        ({"kind": "threshold", "lower": float("nan")}, "should be a finite number"),
        ({"kind": "percentile", "percentile": 0}, "should be greater than 0"),
        ({"kind": "percentile", "percentile": 100}, "should be less than 100"),
        ({"kind": "median", "interval_steps": 0}, "should be greater than or equal to 1"),
        ({"kind": "median", "warmup_steps": -1}, "should be greater than or equal to 0"),
        ({"kind": "successive_halving", "reduction_factor": 1}, "should be greater than or equal to 2"),
        ({"kind": "successive_halving", "min_resource": 0}, "should be greater than or equal to 1"),
        ({"kind": "successive_halving", "min_early_stopping_rate": -1}, "should be greater than or equal to 0"),
        ({"kind": "hyperband", "reduction_factor": 1}, "should be greater than or equal to 2"),
        ({"kind": "hyperband", "min_early_stopping_rate": 1}, "Extra inputs are not permitted"),
        ({"kind": "patient"}, "Field required"),
        ({"kind": "patient", "patience": -1}, "should be greater than or equal to 0"),
        ({"kind": "patient", "patience": 1, "min_delta": -0.1}, "should be greater than or equal to 0"),
        ({"kind": "patient", "patience": 1, "wrapped": {"kind": "patient", "patience": 1}}, "Input tag 'patient' found"),
        ({"kind": "asha"}, "Input tag 'asha' found"),
    ],
)
def test_what_is_no_pruner(written, sentence):
    with pytest.raises(ValidationError) as caught:
        READ.validate_python(written)
    assert sentence in str(caught.value)


def test_defaults_are_optunas():
    """But for `reduction_factor` of successive halving, 3 as in Hyperband and the papers, and what depends on the length."""
    median, percentile = MedianPruner(), PercentilePruner()
    # Optuna's first arguments in order: percentile (no default there), n_startup_trials, n_warmup_steps, interval_steps.
    assert optuna.pruners.MedianPruner.__init__.__defaults__ == (
        median.startup_trials,
        median.warmup_steps,
        median.interval_steps,
    )
    assert optuna.pruners.PercentilePruner.__init__.__defaults__ == (
        percentile.startup_trials,
        percentile.warmup_steps,
        percentile.interval_steps,
    )
    assert optuna.pruners.ThresholdPruner.__init__.__defaults__ == (None, None, 0, 1)
