"""Config files, and the sentences that wrong ones get: file, line, key, what was found, what is allowed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dlx.config import Experiment, kinds, load_experiment, parse_override
from dlx.config.load import find_recipe, parse_yaml, recipes, to_yaml
from dlx.errors import ConfigError, MissingInputError

GOOD = """\
data: {kind: digits}
optimizer:
  kind: adamw
  lr: 1e-3
train: {duration: 5 epochs}
"""


def complaint(text: str, *overrides: str) -> str:
    """What a file of that text is told."""
    Path("my.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment("my.yaml", [parse_override(o) for o in overrides])
    return str(caught.value)


@pytest.mark.parametrize("recipe", [r.name for r in recipes()])
def test_every_recipe_is_valid_and_says_what_it_is(recipe):
    found = find_recipe(recipe)
    assert load_experiment(recipe).data
    assert found.text.startswith(f"# {recipe}: ")
    assert "dlx train" in found.summary


@pytest.mark.parametrize("recipe", [r.name for r in recipes()])
def test_the_resolved_yaml_is_the_same_experiment(recipe):
    experiment = load_experiment(recipe)
    assert load_experiment(parse_yaml(to_yaml(experiment), "resolved").tree) == experiment


def test_yaml_is_1_2_so_that_1e_3_is_a_number():
    assert load_experiment(parse_yaml(GOOD, "x").tree).optimizer.lr == 1e-3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace("  lr:", "  lrr:"), "my.yaml:4: optimizer.lrr: is not a key of optimizer; did you mean optimizer.lr?"),
        (GOOD + "lr: 1", "my.yaml:6: lr: is not a key of an experiment; did you mean optimizer.lr?"),
        (GOOD.replace("1e-3", "fast"), "my.yaml:4: optimizer.lr: is 'fast', but should be a valid number"),
        (GOOD.replace("1e-3", "-1"), "my.yaml:4: optimizer.lr: is -1, but should be greater than 0"),
        (GOOD.replace("1e-3", ".nan"), "my.yaml:4: optimizer.lr: is nan, but should be a finite number"),
        (GOOD.replace("adamw", "adamww"), "my.yaml:2: optimizer: has the unknown kind 'adamww'; did you mean 'adamw'?"),
        (GOOD.replace("  kind: adamw\n", ""), "my.yaml:2: optimizer: has no kind; it is one of sgd,"),
        (GOOD.replace("5 epochs", "5"), "my.yaml:5: train.duration: 5 has no unit: write for example '5 epochs'"),
        (GOOD.replace("5 epochs", "5 minutes"), "bound the time with --max-time"),
        (GOOD.replace("data: {kind: digits}\n", ""), "my.yaml: data: is missing"),
        (GOOD.replace("{kind: digits}", "{kind: csv, path: x.csv}"), "my.yaml:1: data.target: is missing"),
        (GOOD + "train: {}", 'my.yaml:6: found duplicate key "train"; keep one of the two'),
        (GOOD + "x: [", "this is not valid YAML"),
        ("- 1\n- 2\n", "a config is a mapping with the keys task, data, model"),
        ("", "a config is a mapping"),
        (
            GOOD.replace("{kind: digits}", "{kind: digits, augment: [{kind: shift, pixel: 1}]}"),
            "data.augment.0.pixel: is not a key of data.augment.0; did you mean data.augment.0.pixels?",
        ),
        (
            GOOD.replace("{kind: digits}", "{kind: digits, augment: [{kind: turn}]}"),
            "data.augment.0: has the unknown kind 'turn'; it is one of flip, shift, noise",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_remedy(text, sentence):
    assert sentence in complaint(text)


def test_every_mistake_is_told_at_once():
    lines = complaint(GOOD.replace("1e-3", "-1") + "modle: {}\n").splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["my.yaml:4:", "my.yaml:6:"]


def test_a_mistake_of_the_command_line_is_told_as_such():
    assert complaint(GOOD, "optimizer.lr=-1").startswith("override: optimizer.lr: is -1")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (
            {"task": {"kind": "seq2seq"}, "data": {"kind": "text", "path": "a.txt"}, "model": {"kind": "encoder-decoder"}},
            "set task.kind=language",
        ),
        ({"task": {"kind": "vae", "likelihood": {"kind": "gaussian"}}, "model": {"kind": "vae"}}, "or lower f_min"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tree, said):
    with pytest.raises(ConfigError, match=said):
        load_experiment({"data": {"kind": "digits"}, "optimizer": {"kind": "polyak_sgd"}} | tree)


def test_polyak_sgd_may_learn_a_density_whose_least_loss_is_known():
    task = {"kind": "vae", "likelihood": {"kind": "gaussian"}}
    tree = {"task": task, "data": {"kind": "digits"}, "model": {"kind": "vae"}}
    assert load_experiment(tree | {"optimizer": {"kind": "polyak_sgd", "f_min": -100.0}})


def test_options_that_do_not_go_together_are_refused():
    assert "set train.batch_size=full" in complaint(GOOD, "optimizer.kind=lbfgs")
    assert "set schedule.kind=constant" in complaint(GOOD, "optimizer.kind=rprop", "schedule.kind=cosine")
    assert "set data.validation above 0" in complaint(GOOD, "train.patience=3", "data.validation=0")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("digits-mpl", "did you mean 'digits-mlp'?"), ("nothing.yaml", "`dlx recipes ls` lists the recipes")],
)
def test_a_missing_file_or_recipe(name, hint):
    with pytest.raises(MissingInputError, match=f"{name}: no such file, and no recipe of that name") as caught:
        load_experiment(name)
    assert hint in str(caught.value)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file in UTF-8"):
        load_experiment("x.yaml")
    with pytest.raises(MissingInputError, match="cannot be read"):
        load_experiment(str(tmp_path))


def test_the_schema_knows_every_kind_and_describes_the_keys():
    schema = json.dumps(Experiment.model_json_schema())
    for section in ("task", "data", "model", "optimizer", "schedule"):
        for kind in kinds(section):
            assert f'"{kind}"' in schema


def test_a_config_is_frozen():
    with pytest.raises(Exception, match="frozen"):
        load_experiment("digits-mlp").train = None


def test_kinds_that_packages_add_are_python_targets(tmp_path, monkeypatch):
    """A package with an entry point in `dlx.models` adds a named kind; its keys become the arguments."""
    info = tmp_path / "wide-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wide\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dlx.models]\nwide = wide.net:Wide\n[dlx.data]\nspiral = wide.data:load\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = load_experiment({"data": {"kind": "spiral", "turns": 3, "validation": 0.2}, "model": {"kind": "wide", "width": 9}})
    assert found.model.model_dump() == {"kind": "python", "target": "wide.net:Wide", "args": {"width": 9}}
    assert (found.data.target, found.data.args, found.data.validation) == ("wide.data:load", {"turns": 3}, 0.2)


def test_the_config_needs_no_jax():
    code = "import sys, dlx.config, dlx.events, dlx.errors; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
