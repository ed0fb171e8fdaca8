"""From a recipe's name, a YAML file or a mapping to a validated `Experiment`; errors name file, line, key and remedy."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarfloat import ScalarFloat
from ruamel.yaml.scalarint import ScalarInt
from ruamel.yaml.scalarstring import ScalarString

from dlx.config.catalog import GROUPS, expand_plugin
from dlx.config.experiment import Experiment, kinds, variants
from dlx.config.lane import Config
from dlx.config.overrides import Override, apply_overrides
from dlx.errors import ConfigError, MissingInputError

RECIPES = Path(__file__).parent.parent / "recipes"
DEFAULT_RECIPE = "digits-mlp"
AUTO = "auto"
"""A learning rate that a range test finds before a training."""


@dataclass(frozen=True)
class Document:
    """A parsed YAML file: plain values, the line of every key, and a name for messages."""

    tree: dict[str, Any]
    name: str
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def place(self, path: Sequence[str], overridden: bool) -> str:
        """`file:line: ` of a key, or the nearest enclosing one; `override: ` when the command line set it."""
        if overridden:
            return "override: " if path else ""  # what does not fit together may come from both
        for length in range(len(path), 0, -1):
            if line := self.lines.get(tuple(path[:length])):
                return f"{self.name}:{line}: "
        return f"{self.name}: " if self.name else ""


@dataclass(frozen=True)
class Recipe:
    """A named experiment shipped with the package; `summary` is the comment it opens with."""

    name: str
    summary: str
    text: str


def recipes() -> Iterator[Recipe]:
    """Every shipped recipe, by name."""
    for path in sorted(RECIPES.glob("*.yaml")):
        text = path.read_text(encoding="utf8")
        comment = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
        yield Recipe(path.stem, " ".join(comment).removeprefix(f"{path.stem}: "), text)


def find_recipe(name: str) -> Recipe:
    """The recipe of a name. Raises `MissingInputError` with the nearest one."""
    found = {recipe.name: recipe for recipe in recipes()}
    if name not in found:
        raise MissingInputError(f"no recipe {name!r}; {_near(name, list(found)) or 'there are ' + ', '.join(found)}")
    return found[name]


def load_experiment(source: str | Path | Mapping[str, Any] | None, overrides: Sequence[Override] = ()) -> Experiment:
    """Reads and validates an experiment.

    `source` is a recipe's name, the path of a YAML file, a mapping, or None for the default recipe.
    Raises `MissingInputError` when there is no such recipe or file, `ConfigError` when its content is wrong.
    """
    return validate(read(source), overrides)


def read(source: str | Path | Mapping[str, Any] | None) -> Document:
    """The raw tree behind `source` (see `load_experiment`), with the line of every key."""
    if isinstance(source, Mapping):
        return Document(dict(source), "")
    name = str(source or DEFAULT_RECIPE)
    recipe = RECIPES / f"{name}.yaml"
    path = recipe if "/" not in name and recipe.is_file() else Path(name).expanduser()
    if not path.exists():
        hint = _near(name, [r.stem for r in RECIPES.glob("*.yaml")]) or "`dlx recipes ls` lists the recipes"
        raise MissingInputError(f"{name}: no such file, and no recipe of that name; {hint}")
    return parse_yaml(read_text(path), name if path != recipe else f"recipe {name}")


def read_text(path: Path) -> str:
    """A config file's text. Raises `ConfigError` for what is no text, `MissingInputError` for what cannot be read."""
    try:
        return path.read_bytes().decode()  # line ends as they are
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is not a text file in UTF-8; a config is YAML") from error
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error


def parse_yaml(text: str, name: str) -> Document:
    """Parses YAML 1.2 (`1e-3` is a number, a duplicate key is an error). Raises `ConfigError` with file and line."""
    try:
        loaded = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: {str(error.problem).split(' with value')[0]}; keep one of the two") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}:{line}: this is not valid YAML: {error.problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: this is not valid YAML: {error}") from error
    if not isinstance(loaded, CommentedMap):
        raise ConfigError(f"{name}: a config is a mapping with the keys {', '.join(Experiment.model_fields)}")
    lines: dict[tuple[str, ...], int] = {}
    return Document(_plain(loaded, (), lines), name, lines)


def validate(document: Document, overrides: Sequence[Override] = ()) -> Experiment:
    """The experiment of a document under overrides. Raises `ConfigError` with one line for each mistake."""
    tree = apply_overrides(document.tree, overrides)
    for section in GROUPS:
        if isinstance(tree.get(section), dict):
            tree[section] = expand_plugin(section, tree[section])
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        changed = {o.path for o in overrides}
        raise ConfigError("\n".join(_sentences(error, tree, document, changed))) from error


def without_auto(document: Document, overrides: Sequence[Override]) -> tuple[Document, list[Override], bool]:
    """The document and the overrides without `optimizer.lr: auto`, and whether it was what they say.

    The rate below it, a recipe's or the optimizer's default, is then the one to fall back to.
    """
    section = apply_overrides(document.tree, overrides).get("optimizer")
    wanted = isinstance(section, dict) and section.get("lr") == AUTO
    rate = ("optimizer", "lr")
    kept = [
        replace(each, value=_without_auto(each.value)) if each.path == rate[:1] else each
        for each in overrides
        if (each.path, each.value) != (rate, AUTO)
    ]
    tree = {key: _without_auto(value) if key == "optimizer" else value for key, value in document.tree.items()}
    return replace(document, tree=tree), kept, wanted


def validate_stored(tree: Mapping[str, Any], where: str) -> Experiment:
    """The experiment that a run was stored with. Raises `ConfigError` when this version of dlx cannot read it."""
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            f"{where} was stored by another version of dlx, whose config this one cannot read: {error}"
        ) from error


def differences(was: Mapping[str, Any], now: Mapping[str, Any], inside: str = "") -> list[str]:
    """Where two trees of plain values differ, by key: `optimizer.lr was 0.003, now 0.5`."""
    found = []
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{inside}{key}.")
        elif old != new:
            found.append(f"{inside}{key} was {old!r}, now {new!r}")
    return found


def to_yaml(experiment: Experiment) -> str:
    """The resolved experiment as YAML that `load_experiment` reads back to an equal tree."""
    from io import StringIO

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 10_000  # a value is never broken over two lines
    out = StringIO()
    yaml.dump(experiment.model_dump(mode="json"), out)
    return out.getvalue()


def _without_auto(section: Any) -> Any:
    return {k: v for k, v in section.items() if (k, v) != ("lr", AUTO)} if isinstance(section, dict) else section


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else ""


def _plain(value: Any, path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> Any:
    match value:
        case CommentedMap():
            for key in value:
                if key in (value.lc.data or ()):  # a merged key (`<<`) stands elsewhere
                    lines[(*path, str(key))] = value.lc.key(key)[0] + 1
            return {str(k): _plain(v, (*path, str(k)), lines) for k, v in value.items()}
        case CommentedSeq():
            for i in range(len(value)):
                lines[(*path, str(i))] = value.lc.item(i)[0] + 1
            return [_plain(v, (*path, str(i)), lines) for i, v in enumerate(value)]
        case ScalarFloat():
            return float(value)
        case bool():
            return value
        case ScalarInt():
            return int(value)
        case ScalarString():
            return str(value)
    return value


def _sentences(
    error: ValidationError, tree: Mapping[str, Any], document: Document, changed: set[tuple[str, ...]]
) -> Iterator[str]:
    """One sentence per mistake. A value of `a | b` fails once per member: the first complaint stands for all."""
    seen: set[tuple[str, ...]] = set()
    for item in error.errors():
        place = _locate(tree, item["loc"])
        if place.path in seen:
            continue
        seen.add(place.path)
        overridden = any(place.path[: len(o)] == o or o[: len(place.path)] == place.path for o in changed)
        dotted = ".".join(place.path)
        yield f"{document.place(place.path, overridden)}{dotted + ': ' if dotted else ''}{_explain(item, place)}"


@dataclass(frozen=True)
class _Place:
    """Where in the user's own tree a mistake is: its path, the class that holds the key, the kinds that could be there."""

    path: tuple[str, ...]
    holder: type[Config]
    kinds: Mapping[str, type[Config]]


def _locate(tree: Any, loc: Sequence[int | str]) -> _Place:
    """What pydantic's `loc` means in the tree: it also holds the tags of unions, which no file has."""
    path: list[str] = []
    node, holder, options = tree, Experiment, {}
    inside: type[Config] = Experiment
    for index, part in enumerate(loc):
        if isinstance(node, Mapping) and part in node:
            field = inside.model_fields.get(str(part))
            holder, node, options = inside, node[part], variants(field.annotation) if field else {}
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part]
        elif index == len(loc) - 1 and isinstance(node, Mapping) and part != node.get("kind") and part not in options:
            holder, node = inside, None  # a key that is missing
        else:
            continue
        path.append(str(part))
        if isinstance(node, Mapping):
            inside = options.get(str(node.get("kind"))) or next(iter(options.values()), inside)
    return _Place(tuple(path), holder, options)


def _explain(item: Any, place: _Place) -> str:
    match item["type"]:
        case "extra_forbidden":
            return _unknown(place)
        case "missing":
            return f"is missing: write {place.path[-1]}: ... there, or {'.'.join(place.path)}=... as an override"
        case "union_tag_not_found":
            return f"has no kind; it is one of {', '.join(place.kinds)}"
        case "union_tag_invalid":
            tag = str(item["ctx"]["tag"])
            hint = _near(tag, list(place.kinds))
            return f"has the unknown kind {tag!r}; {hint + ' ' if hint else ''}it is one of {', '.join(place.kinds)}"
        case "value_error":
            return str(item["ctx"]["error"])
    if item["input"] == AUTO and place.path == ("optimizer", "lr"):
        return "is 'auto', which a single training finds: give a number, or search it in a sweep"
    message = item["msg"].replace("Input should be", "should be").replace("valid tuple", "list")
    return f"is {item['input']!r}, but {message[0].lower()}{message[1:]}"


def _unknown(place: _Place) -> str:
    *parents, key = place.path
    where = ".".join(parents) or "an experiment"
    known = list(place.holder.model_fields)
    near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
    homes = [s for s in Experiment.model_fields if s not in parents for c in kinds(s).values() if key in c.model_fields]
    guess = ".".join((*parents, near[0])) if near else f"{homes[0]}.{key}" if homes else ""
    return f"is not a key of {where}; {f'did you mean {guess}? ' if guess else ''}known here: {', '.join(known)}"
