"""Everything there is can be found without reading source."""

import json

import pytest

from dlx.config import kinds
from dlx.config.load import recipes


@pytest.mark.parametrize(("command", "section"), [("models", "model"), ("data", "data")])
def test_every_kind_is_listed_with_its_keys(dlx, command, section):
    found = json.loads(dlx(command, "ls", "--json").out)[section]
    assert {kind["kind"] for kind in found} == set(kinds(section))
    assert all(kind["summary"].endswith((".", ":")) or kind["summary"] for kind in found)
    out = dlx(command, "ls").out
    assert all(kind in out for kind in kinds(section))


def test_recipes_are_listed_and_shown(dlx, tmp_path):
    listed = dlx("recipes", "ls").out
    for recipe in recipes():
        assert recipe.name in listed
        assert dlx("recipes", "show", recipe.name).out == recipe.text
    (tmp_path / "mine.yaml").write_text(dlx("recipes", "show", "digits-mlp").out)
    assert dlx("train", "mine.yaml", "train.duration=2 steps", "-q").code == 0, "a recipe is a starting point for a file"
    missing = dlx("recipes", "show", "digits-mpl")
    assert (missing.code, "did you mean 'digits-mlp'?" in missing.err) == (66, True)


def test_the_schema_is_json_schema(dlx):
    schema = json.loads(dlx("config", "schema").out)
    assert {"task", "data", "model", "optimizer", "schedule", "averaging", "train", "replay"} == schema["properties"].keys()


def test_a_network_is_shown_layer_by_layer(dlx):
    out = dlx("models", "show", "digits-mlp").out
    assert "17,418" in out
    tree = json.loads(dlx("models", "show", "digits-mlp", "model.kind=linear", "--json").out)
    assert tree["parameters"] == 650


def test_version_and_help(dlx):
    from dlx.version import __version__

    assert dlx("--version").out == f"dlx {__version__}\n"
    assert "Exit codes: 0 completed" in " ".join(dlx("train", "--help").out.split())
