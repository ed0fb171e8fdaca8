"""Which models each task teaches."""

import pytest

from dlx.config import load_experiment
from dlx.config.experiment import kinds
from dlx.config.teaches import TEACHES
from dlx.errors import ConfigError


def test_every_task_says_what_it_teaches_and_every_model_is_taught() -> None:
    assert set(TEACHES) == set(kinds("task"))
    assert {model for models in TEACHES.values() for model in models} == set(kinds("model"))


@pytest.mark.parametrize(
    ("task", "model", "said"),
    [
        ("classify", "rbm", "set model.kind to linear, mlp, convnet, lenet5, rnn or python, or task.kind=boltzmann"),
        ("belief", "rbm", "set model.kind=dbn, or task.kind=boltzmann"),
        ("adversarial", "stackgan", "set model.kind to dcgan, gan or python, or task.kind=stacked"),
        (
            "vae",
            "rnn",
            "set model.kind to vae or python, or task.kind to classify, multilabel, regress, perceptron or language",
        ),
    ],
)
def test_what_does_not_suit_is_told_with_what_does(task: str, model: str, said: str) -> None:
    tree = {"task": {"kind": task}, "model": {"kind": model}, "data": {"kind": "digits", "standardize": False}}
    with pytest.raises(ConfigError) as refused:
        load_experiment(tree)
    assert f"task {task} does not suit model {model}: {said}" in str(refused.value)
