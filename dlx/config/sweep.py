"""A sweep: which experiment, what is searched, how values are proposed, and when it ends."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from dlx.config.duration import Duration
from dlx.config.experiment import variants
from dlx.config.grammar import split_words
from dlx.config.lane import Config
from dlx.config.load import RECIPES, Document, find_recipe, read
from dlx.config.overrides import Override
from dlx.config.pruner import NoPruner, PrunerConfig
from dlx.config.sampler import Count, SamplerConfig, TpeSampler
from dlx.config.space import Choice, Dimension, FloatRange, IntRange
from dlx.errors import ConfigError


class Objective(Config):
    """What a sweep improves. Without a metric it is what the experiment itself monitors."""

    metric: str | None = None
    """A metric's full name, such as `validation/accuracy`; `parameters` is the size of the network."""
    direction: Literal["minimize", "maximize"] | None = None


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"{value} has no unit: write for example '{value} minutes'")
    return value


def _on_the_clock(value: Duration) -> Duration:
    if value.unit != "seconds":
        raise ValueError(f"{value} is training, not wall-clock time: write seconds, minutes or hours")
    return value


class Sweep(Config):
    """A search over experiments."""

    experiment: str | dict[str, Any]
    """A recipe's name, the path of an experiment file (relative to the sweep file), or the experiment itself."""
    search: dict[str, Dimension]
    """Dotted keys of the experiment, and what each may be."""
    objective: Objective | Annotated[tuple[Objective, ...], Field(min_length=1)] = Objective()
    """One, or a list of several; the first chooses each run's best weights."""
    sampler: SamplerConfig = TpeSampler()
    pruner: PrunerConfig = NoPruner()
    trials: Count | None = None
    """How many experiments to try."""
    seeds: Count = 1
    """Train each experiment under so many seeds; what counts is the mean."""
    timeout: Annotated[Duration, BeforeValidator(_with_unit), AfterValidator(_on_the_clock)] | None = None
    """When to start no more trials."""
    batch: Count | None = None
    """How many trials are asked for at once."""
    group: Count | None = None
    """How many trials of a batch share the values that choose the compiled program, so that it is worth compiling."""
    enqueue: tuple[dict[str, Any], ...] = ()
    """Trials to begin with: values by searched key; the sampler chooses those that are left out."""
    keep: Count = 1
    """Of how many of the best trials the weights are kept. Of several objectives: of all on the front."""
    target_value: float | None = None
    """Start no more trials once the objective is this good."""
    plateau: Count | None = None
    """Start no more trials after so many without a better one."""
    on_fail: Literal["continue", "stop"] = "continue"
    """What a trial that fails does to the others."""
    max_consecutive_failures: Count | None = 16
    """Stop after so many failures one after the other: then the machine is broken, not the trials."""
    retries: Annotated[int, Field(ge=0)] = 0
    """How often a trial that failed is begun again. One that diverged is not: it would again."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All of them."""
        return self.objective if isinstance(self.objective, tuple) else (self.objective,)


def load_sweep(
    source: str | Path, words: Sequence[str], short: Sequence[Override] = ()
) -> tuple[Sweep, Document, list[Override]]:
    """Reads a sweep: its config, the document of its experiment, and the overrides of that experiment.

    `source` is a sweep file, or the recipe or experiment file whose search then comes from `words` alone. Words add to
    what the file searches, or replace it. `short` are overrides that words can override.
    Raises `MissingInputError` when there is no such recipe or file, `ConfigError` when its content is wrong.
    """
    overrides, searched = split_words(words)
    document = read(source)
    if document.tree.keys() & {"search", "experiment"}:
        tree = dict(document.tree)
        if "experiment" not in tree and any(override.path[0] == "data" for override in short):
            tree["experiment"] = "table"  # the data is the experiment
        found = tree.get("search")
        if found is None or isinstance(found, Mapping):
            tree["search"] = {**(found or {}), **searched}
        sweep = _validate(tree, document)
        experiment = _experiment(sweep, document, Path(source).expanduser().parent)
    else:
        sweep = Sweep(experiment=str(source), search=searched)
        experiment = document
    if not sweep.search:
        raise ConfigError(
            f"{document.name}: there is nothing to search: write search: {{optimizer.lr: {{type: float, low: 1e-4, high: 1e-1, "
            "log: true}} in a sweep file, or 'optimizer.lr=tag(log, interval(1e-4, 1e-1))' on the command line"
        )
    return sweep, experiment, [*short, *overrides]


def _experiment(sweep: Sweep, document: Document, folder: Path) -> Document:
    """The experiment that a sweep file names or holds; keys of one it holds keep their lines."""
    if not isinstance(sweep.experiment, str):
        lines = {path[1:]: line for path, line in document.lines.items() if path[0] == "experiment" and path[1:]}
        return Document(sweep.experiment, document.name, lines)
    name = sweep.experiment
    path = folder / Path(name).expanduser()
    if "/" not in name and (RECIPES / f"{name}.yaml").is_file():
        return read(name)
    if "/" in name or path.suffix or path.is_file():
        return read(path)
    return read(find_recipe(name).name)


def _validate(tree: Mapping[str, Any], document: Document) -> Sweep:
    try:
        return Sweep.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, tree, document))) from error


def _sentences(error: ValidationError, tree: Mapping[str, Any], document: Document) -> Iterator[str]:
    """One sentence per mistake, with file, line and dotted key. The first complaint about a key stands for all."""
    items = [(_path(item, tree), item) for item in error.errors()]
    paths = [path for path, _ in items]
    seen: set[tuple[str, ...]] = set()
    for path, item in items:
        # Of a union every branch complains; the one that came deepest is the one that was meant.
        if path not in seen and not any(other[: len(path)] == path and len(other) > len(path) for other in paths):
            seen.add(path)
            yield f"{document.place(path, False)}{'.'.join(path)}: {_explain(item, path, tree)}"


def _path(item: Any, tree: Any) -> tuple[str, ...]:
    """The key in the user's own tree: pydantic's `loc` also holds the tags of unions, which no file has."""
    path: list[str] = []
    node = tree
    for index, part in enumerate(item["loc"]):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part]
        elif item["type"] != "missing" or index < len(item["loc"]) - 1:
            continue
        path.append(str(part))
    return tuple(path)


def _explain(item: Any, path: tuple[str, ...], tree: Mapping[str, Any]) -> str:
    match item["type"]:
        case "extra_forbidden":
            known = list(_holder(path, tree).model_fields)
            near = difflib.get_close_matches(path[-1], known, 1, cutoff=0.5)
            guess = f"did you mean {'.'.join((*path[:-1], near[0]))}? " if near else ""
            return f"is not a key of {'.'.join(path[:-1]) or 'a sweep'}; {guess}known here: {', '.join(known)}"
        case "missing":
            return f"is missing: write {path[-1]}: ... there"
        case "union_tag_not_found":
            return f"has no {item['ctx']['discriminator'].strip(chr(39))}; it is one of {_tags(path, tree)}"
        case "union_tag_invalid":
            return f"has the unknown {item['ctx']['discriminator'].strip(chr(39))} {item['ctx']['tag']!r}; it is one of {_tags(path, tree)}"
        case "value_error":
            return str(item["ctx"]["error"])
        case "model_attributes_type" if path[0] == "search":
            return f"is {item['input']!r}, but should be a mapping, such as {{type: float, low: 0.1, high: 0.9}}"
    message = item["msg"].replace("Input should be", "should be").replace("valid tuple", "list")
    return f"is {item['input']!r}, but {message[0].lower()}{message[1:]}"


def _holder(path: tuple[str, ...], tree: Mapping[str, Any]) -> type[Config]:
    """The class of the mapping that holds a key."""
    holder, node = Sweep, tree
    for depth, part in enumerate(path[:-1]):
        node = node[int(part)] if isinstance(node, list) else node[part]
        if part.isdigit() or path[: depth + 1] == ("search",):
            continue
        known = _kinds(path[: depth + 1], holder)
        kind = node.get("kind", node.get("type")) if isinstance(node, Mapping) else None
        holder = known[kind] if kind in known else next(iter(known.values()))
    return holder


def _kinds(path: tuple[str, ...], holder: type[Config]) -> dict[str, type[Config]]:
    """What the mapping under a key of `holder` can be."""
    if path[0] == "search":
        return {"float": FloatRange, "int": IntRange, "categorical": Choice}
    return variants(holder.model_fields[path[-1]].annotation)


def _tags(path: tuple[str, ...], tree: Mapping[str, Any]) -> str:
    return ", ".join(_kinds(path, _holder(path, tree)))


def with_options(sweep: Sweep, options: Mapping[str, Any]) -> Sweep:
    """The sweep under the command line's own options, those that are not None: fields of the sweep, and the sampler's `seed`.

    `sampler` and `pruner` are kinds: what the file says of another kind is dropped. Raises `ConfigError`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    tree: dict[str, Any] = {name: vars(sweep)[name] for name in sweep.model_fields_set}
    for section, union in (("sampler", SamplerConfig), ("pruner", PrunerConfig)):
        kind, known = given.pop(section, None), variants(union)
        if kind is not None and kind not in known:
            raise ConfigError(f"--{section} {kind}: it is one of {', '.join(known)}")
        if kind is not None and kind != vars(sweep)[section].kind:
            tree[section] = {"kind": kind}
    seed = given.pop("seed", None)
    if seed is not None:
        chosen = tree.get("sampler", sweep.sampler)
        own = dict(chosen) if isinstance(chosen, dict) else chosen.model_dump()
        if own["kind"] == "grid":
            raise ConfigError("--seed: a grid has no seed, its points are all tried")
        tree["sampler"] = {**own, "seed": seed}
    try:
        return Sweep.model_validate({**tree, **given})
    except ValidationError as error:
        item = error.errors()[0]
        section, *rest = map(str, item["loc"])
        option = "seed" if rest[-1:] == ["seed"] else section.replace("_", "-")
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            raise ConfigError(
                f"--{option} {rest[0]}: it has no {rest[-1]}: write {section}: {{kind: {rest[0]}, {rest[-1]}: ...}} in a sweep file"
            ) from error
        given_word = item["input"]["kind"] if isinstance(item["input"], Mapping) else item["input"]
        raise ConfigError(f"--{option} {given_word}: {message[0].lower()}{message[1:]}") from error
