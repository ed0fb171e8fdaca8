"""The model card: a README.md whose head Hugging Face reads, and whose body says what the network is, and how to use it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dlx.config import Experiment
from dlx.evaluation.export.snippet import with_dlx, without_dlx
from dlx.experiment.restore import Trained

_PIPELINES: Final = {
    ("images", "class"): "image-classification",
    ("table", "class"): "tabular-classification",
    ("table", "number"): "tabular-regression",
}
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>&~$]")
"""What Markdown takes for more than a letter."""


def model_card(trained: Trained, description: Mapping[str, Any], parameters: int) -> str:
    """The card of an export with this description and so many exported values. The license is left to the user."""
    return "\n".join([*_front_matter(trained, description), *_body(trained, description, parameters)]) + "\n"


def _front_matter(trained: Trained, description: Mapping[str, Any]) -> Iterator[str]:
    """YAML; its strings are written as JSON, which YAML reads."""
    config, preparation = trained.config, trained.preparation
    pipeline = _PIPELINES.get((preparation.kind, preparation.spec.supervision))
    yield "---"
    yield "# license: apache-2.0  (yours to choose: https://huggingface.co/docs/hub/repositories-licenses)"
    yield "library_name: dlx"
    if pipeline:
        yield f"pipeline_tag: {pipeline}"
    yield "tags:"
    yield from (f"- {tag}" for tag in ("dlx", "jax", "flax", description["task"], config.model.kind))
    if metrics := description["metrics"]:
        data = _text(_data_name(description))
        yield "model-index:"
        yield f"- name: {_text(_title(description))}"
        yield "  results:"
        yield f"  - task: {{type: {pipeline or description['task']}}}"
        yield f"    dataset: {{name: {data}, type: {data}, split: test}}"
        yield "    metrics:"
        for name, value in metrics.items():
            yield f"    - {{type: {_text(name.removeprefix('test/'))}, value: {_number(value)}}}"
    yield "---"


def _body(trained: Trained, description: Mapping[str, Any], parameters: int) -> Iterator[str]:
    config, spec = trained.config, trained.preparation.spec
    numbers = spec.supervision == "number"
    yield f"\n# {_plain(_title(description))}\n"
    yield f"A network of the kind `{config.model.kind}` with {parameters:,} values, trained with dlx {description['dlx']} to {_aim(trained)}."
    yield "\n## Data\n"
    yield f"- data: {_code(_data_name(description))}" + (f", {spec.examples:,} training examples" if spec.examples else "")
    for side in ("inputs", "outputs"):
        told = description[side]
        yield f"- {side}: {told['dtype']} ({', '.join(map(str, told['shape']))}), {told['meaning']}"
    yield f"- {'targets' if numbers else 'classes'}: {_listed(description['outputs']['names'])}"
    yield "\n## Results on the test part\n"
    yield from _results(description["metrics"])
    yield "\n## Training\n"
    yield from _training(trained, config)
    yield "\n## Use\n"
    yield "`model.safetensors` has the weights, `config.json` the experiment, the standardization and the names. With dlx:\n"
    yield f"```python\n{with_dlx(spec.outputs, numbers=numbers, tokens=bool(spec.tokens))}```\n"
    if (plain := without_dlx(config, spec.input_shape, spec.outputs, numbers=numbers)) is not None:
        yield "Without dlx:\n"
        yield f"```python\n{plain}```"
    if config.train.precision == "bfloat16":
        yield "\nBoth compute in float32. It was trained in bfloat16, so outputs differ from dlx's own in the third digit."
    if config.model.kind == "python":
        yield f"\nThe code of the network, `{description['experiment']['model']['target']}`, is not in this folder: put it here."


def _results(metrics: Mapping[str, float]) -> Iterator[str]:
    if not metrics:
        yield "It was not measured on held-out data."
        return
    yield "| metric | value |"
    yield "|---|---|"
    yield from (f"| {name.removeprefix('test/')} | {value:.4g} |" for name, value in metrics.items())


def _training(trained: Trained, config: Experiment) -> Iterator[str]:
    run = trained.run
    rate = f", learning rate {config.optimizer.lr:.4g}"
    yield f"- optimizer: {config.optimizer.kind}{rate}, schedule {config.schedule.kind}"
    yield f"- {config.train.duration}, batches of {config.train.batch_size}, in {config.train.precision}, seed {config.train.seed}"
    yield f"- weights of step {trained.step:,} of {run.steps_total:,}, the best by {run.monitor}"
    yield f"- run {run.id}; weights {trained.digest}; the whole experiment is in `config.json`"


def _aim(trained: Trained) -> str:
    spec = trained.preparation.spec
    match spec.supervision:
        case "class":
            return f"tell {spec.outputs} classes apart"
        case "labels":
            return f"find which of {spec.outputs} labels hold"
        case "number":
            return f"predict {_listed(spec.target_names)}"


def _title(description: Mapping[str, Any]) -> str:
    return description["name"] or f"run {description['run']}"


def _data_name(description: Mapping[str, Any]) -> str:
    """The file's or folder's name, or the kind of a data set that needs none."""
    data = description["experiment"]["data"]
    return str(data.get("path") or data.get("target") or data["kind"])


def _listed(names: Any) -> str:
    shown = ", ".join(_code(str(name)) for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _plain(name: str) -> str:
    """A name on one line, in which nothing is markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(name.split()))


def _code(name: str) -> str:
    """A name out of the data, on one line and as it is: whatever it holds is no markup."""
    return f"`{' '.join(name.split()).replace('`', chr(39))}`"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """With a point before an exponent: YAML 1.1 takes `1e-05` for a text, and `1.0e-05` for a number."""
    digits, exponent, rest = repr(value).partition("e")
    return f"{digits}.0e{rest}" if exponent and "." not in digits else repr(value)
