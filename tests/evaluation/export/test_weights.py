"""The Hugging Face folder: the weights, what is told of them, and the card's own programs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load

from dlx.errors import RunFailedError
from dlx.evaluation.export import Format, export_run
from dlx.evaluation.export.card import model_card
from dlx.evaluation.export.description import describe
from dlx.evaluation.export.exported import compared
from dlx.evaluation.export.traced import own_outputs, random_inputs
from dlx.experiment.restore import Trained

NETWORKS = ("linear", "mlp", "convnet", "convnet-layer", "lenet5", "python", "numbers", "labels")
BY_DLX = ("mlp", "convnet-layer", "python", "numbers")
"""The program with dlx is the same for all of them: some are enough."""
RUN = """
import os, sys
from pathlib import Path
import jax
import numpy as np

sys.path.insert(0, "")
for folder in sorted(path for path in Path.cwd().iterdir() if path.is_dir()):
    os.chdir(folder)
    for snippet in sorted(folder.glob(sys.argv[1])):
        names = {}
        exec(compile(snippet.read_text(), str(snippet), "exec"), names)
        np.save(snippet.with_suffix(".npy"), jax.jit(names["predict"])(np.load("inputs.npy")))
print("dlx" in sys.modules)
"""


def test_the_three_files_and_the_names_of_the_weights(trained: Callable[[str], Trained]) -> None:
    made = export_run(trained("mlp"), "safetensors")
    assert made.folder
    assert list(made.files) == ["model.safetensors", "config.json", "README.md"]
    weights = load(made.files["model.safetensors"])
    assert weights["hidden.0.linear.kernel"].shape == (64, 16)
    assert {"hidden.1.norm.mean", "hidden.1.norm.var", "hidden.1.norm.scale", "output.bias"} <= weights.keys()
    assert made.check is not None
    assert made.check.difference == 0
    parameters = trained("mlp").learner.params
    np.testing.assert_array_equal(weights["output.kernel"], parameters["output"]["kernel"])


def test_both_programs_of_the_card_compute_the_network(trained: Callable[[str], Trained], tmp_path: Path) -> None:
    for name in NETWORKS:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in export_run(trained(name), "safetensors").files.items():
            (folder / file).write_bytes(content)
        first, second = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        (folder / "snippet_with.py").write_text(first)
        (folder / "snippet_without.py").write_text(second)
        np.save(folder / "inputs.npy", random_inputs(trained(name).preparation, 20))
        if name == "python":
            target, _, _ = trained(name).config.model.target.rpartition(":")
            (folder / "net.py").write_text(Path(target).read_text())
        if name not in BY_DLX:
            (folder / "snippet_with.py").unlink()
    for which, imports_dlx, names in (("without", "False", NETWORKS), ("with", "True", BY_DLX)):
        done = subprocess.run([sys.executable, "-c", RUN, f"snippet_{which}.py"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == imports_dlx
        for name in names:
            own = own_outputs(trained(name), np.load(tmp_path / name / "inputs.npy"))
            outputs = np.load(tmp_path / name / f"snippet_{which}.npy")
            np.testing.assert_allclose(outputs, own, atol=2e-6 * np.abs(own).max(), err_msg=f"{name} {which} dlx")


@pytest.mark.parametrize(
    ("name", "pipeline"), [("mlp", "image-classification"), ("numbers", "tabular-regression"), ("labels", None)]
)
def test_the_head_of_the_card_is_what_hugging_face_reads(
    name: str, pipeline: str | None, trained: Callable[[str], Trained]
) -> None:
    card = export_run(trained(name), "safetensors").files["README.md"].decode()
    _, head, _ = card.split("---\n", 2)
    tree = YAML(typ="safe").load(head)
    assert tree.get("pipeline_tag") == pipeline
    assert {"dlx", "jax"} <= set(tree["tags"])
    assert "license" not in tree, "it is the user's to choose"
    (result,) = tree["model-index"][0]["results"]
    measured = {f"test/{each['type']}": each["value"] for each in result["metrics"]}
    assert measured == {k: v for k, v in trained(name).run.metrics.items() if k.startswith("test/")}
    assert tree["model-index"][0]["name"] == f"the {name}"


def test_config_json_says_what_goes_in_and_out_and_names_no_folder(trained: Callable[[str], Trained]) -> None:
    tree = json.loads(export_run(trained("numbers"), "safetensors").files["config.json"])
    assert tree["inputs"]["shape"] == ["batch", 5]
    assert tree["inputs"]["columns"] == ["a", "b", "c", "kind=green", "kind=red"]
    assert tree["outputs"]["names"] == ["price", "weight"]
    assert tree["experiment"]["data"]["path"] == "numbers.csv"
    assert tree["preprocessing"]["kind"] == "table"
    own = json.loads(export_run(trained("python"), "safetensors").files["config.json"])
    assert own["experiment"]["model"]["target"] == "net.py:Net"
    folder = str(Path(trained("python").config.model.target).parent)
    assert folder not in json.dumps(own) + json.dumps(tree)


def test_names_out_of_the_data_are_no_markup(trained: Callable[[str], Trained]) -> None:
    network = trained("linear")
    spec = replace(network.preparation.spec, classes=("a`b\n# c", "<script>", *map(str, range(8))))
    changed = replace(
        network,
        preparation=replace(network.preparation, spec=spec),
        run=replace(network.run, name="<b>: 'x' \"y\"", metrics={**network.run.metrics, "test/f1": float("nan")}),
    )
    card = model_card(changed, describe(changed), 5)
    _, head, body = card.split("---\n", 2)
    assert YAML(typ="safe").load(head)["model-index"][0]["name"] == "<b>: 'x' \"y\""
    assert "nan" not in head.lower()
    assert "\n# \\<b\\>: 'x' \"y\"\n" in body
    assert "`a'b # c`, `<script>`" in body


@pytest.mark.parametrize("name", ["[pay](https://evil.example)", "![x](https://evil.example/p.png)", "`x` *y* _z_", "a\\b"])
def test_the_name_of_a_run_is_a_title_without_markup(name: str, trained: Callable[[str], Trained]) -> None:
    changed = replace(trained("linear"), run=replace(trained("linear").run, name=name))
    (title,) = re.findall("^# (.*)$", model_card(changed, describe(changed), 5).split("---\n", 2)[2], re.MULTILINE)
    assert re.sub(r"\\(.)", r"\1", title) == name
    assert not re.search(r"(?<!\\)[`*_\[\]]", title.replace("\\\\", ""))


@pytest.mark.parametrize(("value", "written"), [(1e-05, "1.0e-05"), (2.5e-07, "2.5e-07"), (1e22, "1.0e+22"), (0.25, "0.25")])
def test_small_scores_are_numbers_for_yaml_1_1_too(value: float, written: str, trained: Callable[[str], Trained]) -> None:
    """PyYAML, with which Hugging Face reads a card, takes `1e-05` for a text; this reader warns of it."""
    network = trained("linear")
    changed = replace(network, run=replace(network.run, metrics={"test/loss": value}))
    _, head, _ = model_card(changed, describe(changed), 5).split("---\n", 2)
    assert f"value: {written}}}" in head
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 1)
    assert reader.load(head)["model-index"][0]["results"][0]["metrics"] == [{"type": "loss", "value": value}]


@pytest.mark.parametrize("format", ["safetensors", "onnx", "stablehlo"])
def test_names_that_are_no_text_are_exported_all_the_same(format: Format, trained: Callable[[str], Trained]) -> None:
    if format != "safetensors":
        pytest.importorskip({"onnx": "onnx", "stablehlo": "flatbuffers"}[format])
    network = trained("numbers")
    data = network.config.data.model_copy(update={"path": "/data/caf\udce9.csv"})
    made = export_run(replace(network, config=network.config.model_copy(update={"data": data})), format)
    told = json.loads(next(content for name, content in made.files.items() if name.endswith("json")).decode())
    assert told["experiment"]["data"]["path"] == "caf?.csv"


@pytest.mark.parametrize("wrong", [lambda own: own * [1, 0], lambda own: own * 1.04, lambda own: own * np.nan])
def test_outputs_of_another_network_are_refused_whatever_their_units(wrong):
    own = np.array([[2e6, 1.0], [-1e6, 0.5]])
    assert compared("NumPy", own * (1 + 1e-6), own, precision="float32").difference == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(RunFailedError, match="computes something else"):
        compared("NumPy", wrong(own), own, precision="float32")
