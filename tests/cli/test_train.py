"""`dlx train` from the outside."""

import json

import numpy as np
import pytest

from dlx.store import find_run, open_store


def test_a_recipe_trains_and_says_how_well(dlx, tiny):
    result = dlx("train", *tiny)
    assert result.code == 0
    assert result.out == "", "people read stderr; stdout is for programs"
    assert "data digits: 1,298 train, 229 validation, 270 test" in result.err
    assert "completed: trained 40 steps" in result.err
    for split in ("train", "validation", "test"):
        assert f"\n{split}" in result.err
    assert "no overfitting to speak of" in result.err or "overfitting (above" in result.err


def test_json_is_one_object_on_stdout(dlx, tiny):
    result = dlx("train", *tiny, "--json")
    tree = json.loads(result.out)
    assert tree["status"] == "completed"
    assert 0 < tree["metrics"]["test/accuracy"] <= 1
    assert tree["steps"] == 40
    assert {"import", "compile", "train"} <= tree["seconds"].keys()
    assert tree["path"].endswith(f"results/runs/{tree['run']}")
    assert "by validation/accuracy" in result.err, "what people read is not lost"


def test_quiet_is_quiet(dlx, tiny):
    assert dlx("train", *tiny, "-q").err == ""


def test_the_summary_in_the_store_is_what_was_printed(dlx, tiny):
    tree = json.loads(dlx("train", *tiny, "--json", "-q", "--name", "first-try").out)
    with open_store() as store:
        record = find_run(store, "first-try")
    assert record.id == tree["run"]
    assert {k: v for k, v in record.metrics.items() if k in tree["metrics"]} == tree["metrics"]
    assert record.config["model"]["hidden"] == [8]
    assert record.command.startswith("dlx train digits-mlp")
    assert record.environment["packages"]["jax"]
    assert (record.path / "config.yaml").exists()
    assert json.loads((record.path / "preprocessing.json").read_text())["classes"] == [str(d) for d in range(10)]


def test_a_yaml_file_with_overrides(dlx, tmp_path):
    (tmp_path / "my.yaml").write_text("data: {kind: digits}\nmodel: {kind: linear}\ntrain: {duration: 9 epochs}\n")
    tree = json.loads(dlx("train", "my.yaml", "train.duration=2000 steps", "train.duration=5 steps", "--json", "-q").out)
    assert tree["steps"] == 5, "the last override holds"


def csv(tmp_path, rows=300):
    generator = np.random.Generator(np.random.Philox(2))
    lines = ["age,city,score,label"]
    for _ in range(rows):
        age, city = generator.integers(18, 80), generator.choice(["Berne", "Oslo", "Quito"])
        lines.append(f"{age},{city},{age * 2 + generator.normal():.3f},{'old' if age > 45 else 'young'}")
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")


def test_a_table_needs_no_config_and_says_what_was_inferred(dlx, tmp_path):
    csv(tmp_path)
    result = dlx("train", "--data", "people.csv", "--target", "label", "train.duration=40 epochs", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["metrics"]["test/accuracy"] > 0.8
    assert "the target label is taken for 2 classes (old, young)" in result.err
    assert "data people: 204 train, 36 validation, 60 test" in result.err
    with open_store() as store:
        assert find_run(store, "latest").config["task"]["kind"] == "classify"


def test_a_numeric_target_is_a_regression_in_its_own_units(dlx, tmp_path):
    csv(tmp_path)
    result = dlx("train", "--data", "people.csv", "--target", "score", "train.duration=20 epochs", "--json", "-q")
    metrics = json.loads(result.out)["metrics"]
    assert metrics["test/rmse"] < 20, "the target spreads over 36"
    assert metrics["test/r2"] > 0.8


def test_several_targets_of_zero_and_one_are_labels(dlx, tmp_path):
    generator = np.random.Generator(np.random.Philox(4))
    x = generator.normal(size=(200, 2))
    rows = [f"{a},{b},{int(a > 0)},{int(b > 0)}" for a, b in x]
    (tmp_path / "labels.csv").write_text("\n".join(["a,b,up,right", *rows]))
    result = dlx(
        "train", "--data", "labels.csv", "--target", "up", "--target", "right", "train.duration=5 epochs", "--json", "-q"
    )
    assert json.loads(result.out)["metrics"]["test/subset_accuracy"] > 0.5, result.err


def test_a_network_and_data_of_ones_own(dlx, tmp_path):
    (tmp_path / "net.py").write_text(
        "from flax import nnx\nimport dlx.nn\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, in_features, out_features, *, rngs, width=4, rate=0.1):\n"
        "        self.hidden = nnx.Linear(in_features, width, rngs=rngs)\n"
        "        self.norm = nnx.BatchNorm(width, rngs=rngs)\n"
        "        self.drop = dlx.nn.Dropout(rate, rngs=rngs)\n"
        "        self.out = nnx.Linear(width, out_features, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.out(self.drop(nnx.relu(self.norm(self.hidden(x)))))\n"
    )
    (tmp_path / "data.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    x = np.random.default_rng(0).normal(size=(300, 3)).astype('float32')\n"
        "    return x, (x.sum(1) > 0).astype(int)\n"
    )
    result = dlx(
        "train",
        "--data",
        "data.py:load",
        "--model",
        "net.py:Net",
        "model.args.width=16",
        "train.duration=60 epochs",
        "--json",
        "-q",
    )
    assert result.code == 0, result.err
    tree = json.loads(result.out)
    assert tree["metrics"]["test/accuracy"] > 0.8
    with open_store() as store:
        config = find_run(store, "latest").config
    assert config["model"]["args"] == {"width": 16}
    assert config["model"]["target"] == f"{tmp_path}/net.py:Net", "absolute, so that the run resumes from any folder"


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("model", ["mlp", "convnet"])
def test_precision(dlx, precision, model):
    shape = "model.hidden=[16]" if model == "mlp" else "model.channels=[8]"
    arguments = (f"model.kind={model}", shape, "train.duration=8 epochs", f"train.precision={precision}")
    tree = json.loads(dlx("train", "digits-mlp", *arguments, "--json", "-q").out)
    assert tree["metrics"]["test/accuracy"] > 0.6


def test_full_batches_with_lbfgs(dlx):
    arguments = ("model.kind=linear", "optimizer.kind=lbfgs", "train.batch_size=full", "schedule.kind=constant")
    tree = json.loads(dlx("train", "digits-mlp", *arguments, "train.duration=30 steps", "optimizer.lr=1", "--json", "-q").out)
    assert tree["metrics"]["test/accuracy"] > 0.9


def test_augmented_images(dlx):
    changes = "data.augment=[{kind: shift, pixels: 1}, {kind: noise, std: 0.1}]"
    assert dlx("train", "digits-mlp", changes, "train.duration=5 steps", "-q").code == 0


def test_max_time_saves_and_the_rest_can_follow(dlx, tiny):
    first = dlx("train", *tiny, "--name", "long", "--max-time", "0.001 s", "--json", "-q")
    tree = json.loads(first.out)
    assert (first.code, tree["status"]) == (75, "interrupted")
    assert "--max-time was used up" in tree["message"]
    assert tree["steps"] < 40
    second = json.loads(dlx("train", "--resume", "long", "--json", "-q").out)
    assert (second["run"], second["status"], second["steps"]) == (tree["run"], "completed", 40)


def test_auto_resume_of_a_complete_run_says_so_and_leaves_with_0(dlx, tiny):
    for message in ("completed: trained 40 steps", "trained 40 steps (earlier: there is nothing left to do)"):
        result = dlx("train", *tiny, "--name", "nightly", "--resume", "auto")
        assert result.code == 0
        assert message in result.err


def test_a_dry_run_trains_nothing_and_stores_nothing(dlx, tiny, tmp_path):
    result = dlx("train", *tiny, "--dry-run")
    assert result.code == 0
    for text in (
        "hidden/0/linear",
        "40 steps of 64 examples",
        "best by validation/accuracy",
        "compiled in",
        "nothing was trained",
    ):
        assert text in result.out
    tree = json.loads(dlx("train", *tiny, "--dry-run", "--json").out)
    assert tree["parameters"] == 64 * 8 + 2 * 8 + 8 * 10 + 10
    assert tree["memory_bytes"] > 0
    assert not (tmp_path / "results").exists()


def test_the_python_api_is_the_same_run(tmp_path):
    import dlx

    run = dlx.train("digits-mlp", overrides={"train.duration": "40 steps", "model.hidden": [8]}, name="api")
    assert run.status == "completed"
    assert run.metrics["test/accuracy"] > 0.3
    assert run.name == "api"
