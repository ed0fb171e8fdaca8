"""The commands of the README on real data: each must reach what a plain baseline reaches."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.optimized


def train(*arguments: str) -> dict[str, float]:
    """The metrics of one `dlx train`, in a process of its own as a user's is."""
    command = [sys.executable, "-m", "dlx", "train", *arguments, "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["metrics"]


def test_digits_with_no_argument_at_all():
    assert train()["test/accuracy"] >= 0.97


@pytest.mark.slow
def test_adult_as_uci_publishes_it(real_data):
    assert train("adult", f"data.path={real_data('adult')}")["test/accuracy"] >= 0.850, "logistic regression has 0.853"


@pytest.mark.slow
def test_titanic_without_a_config(real_data):
    metrics = train("--data", str(real_data("titanic/titanic.csv")), "--target", "Survived")
    assert metrics["test/accuracy"] >= 0.75, "one split of 178 rows; five seeds average above 0.78"


@pytest.mark.slow
def test_california_housing_without_a_config(real_data):
    path = str(real_data("california-housing/housing.csv.gz"))
    metrics = train("--data", path, "--target", "median_house_value")
    assert metrics["test/rmse"] <= 55_000, "dollars; linear regression has 70,061"
    assert metrics["test/r2"] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "folder", "accuracy"),
    [("mnist-mlp", "mnist", 0.96), ("fashion-mlp", "fashion-mnist", 0.85)],
)
def test_two_epochs_of_idx_images(real_data, recipe, folder, accuracy):
    metrics = train(recipe, f"data.path={real_data(folder)}", "train.duration=2 epochs")
    assert metrics["test/accuracy"] >= accuracy


@pytest.mark.slow
def test_a_convolutional_network_learns(real_data):
    metrics = train(
        "fashion-cnn",
        f"data.path={real_data('fashion-mnist')}",
        "data.limit=4000",
        "train.duration=4 epochs",
        "model.channels=[16,32]",
    )
    assert metrics["test/accuracy"] >= 0.78
