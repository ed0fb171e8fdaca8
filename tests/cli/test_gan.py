"""Two players under the commands that every task has."""

import json

import pytest

GAN = """
task:      {kind: adversarial, conditional: true}
data:      {kind: digits, limit: 64, standardize: false}
model:     {kind: gan, latent: 3, hidden: [6], critic_hidden: [5]}
optimizer: {kind: adam, lr: 1.0e-3, b1: 0.5}
train:     {duration: 8 steps, batch_size: 16, evaluate_every: 4 steps}
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "gan.yaml").write_text(GAN)
    return "gan.yaml"


def test_a_run_chooses_by_its_frechet_distance(dlx, recipe):
    assert dlx("train", recipe, "-q").code == 0
    run = json.loads(dlx("runs", "show", "latest", "--json").out)
    assert run["status"] == "completed"
    assert {"test/frechet_pixels", "test/diversity", "test/critic_accuracy"} <= run["metrics"].keys()


def test_gradcheck_finds_both_players_right(dlx, recipe):
    result = dlx("gradcheck", recipe)
    assert result.code == 0
    assert "critic/verdict/score/kernel" in result.out
    assert "generator/output/kernel" in result.out


def test_a_range_test_and_a_sweep_of_both_players(dlx, recipe):
    assert dlx("lr-find", recipe).code == 0
    result = dlx("sweep", recipe, "task.critic_lr_ratio=interval(0.5, 2)", "--trials", "2", "-q")
    assert result.code == 0, result.err


def test_a_task_without_unit_pixels_is_told_what_to_set(dlx, recipe):
    result = dlx("train", recipe, "data.standardize=true")
    assert result.code != 0
    assert "set data.standardize=false" in result.err
