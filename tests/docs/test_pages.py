"""What the pages say exists: keys, kinds, recipes, links, options. And what exists is on the pages."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dlx.config import Experiment, kinds, load_experiment
from dlx.config.experiment import variants
from dlx.config.load import parse_yaml, recipes, validate
from dlx.config.space import check_space, fitted
from dlx.config.sweep import load_sweep

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
OTHER_PAGES = [ROOT / "CHANGELOG.md", *(ROOT / folder / "README.md" for folder in ("results", "sweeps", "benchmarks"))]
SECTIONS = tuple(Experiment.model_fields)
_KEY = re.compile(rf"(?<![\w./-])({'|'.join(SECTIONS)})\.(\w+)(?!\w|\()")
_NOT_KEYS = {"md", "py", "yaml", "csv", "npz", "de", "en"}  # data.py, data.md and train.de are files
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ABSOLUTE = re.compile(r"(?<![\w.~$/}:])/(work|opt|root|tmp|mnt|Users|home/(?!you/))\S*")


def text(page: Path) -> str:
    return page.read_text(encoding="utf8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """docs/make_cli_reference.py"""
    spec = importlib.util.spec_from_file_location("make_cli_reference", DOCS / "make_cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_current(script: ModuleType) -> None:
    assert text(DOCS / "cli.md") == script.reference(), "run: python docs/make_cli_reference.py > docs/cli.md"


def test_every_command_and_every_option_has_help(script: ModuleType) -> None:
    for path, command in script.commands():
        assert command.help, path
        for param in command.params:
            assert vars(param)["help"], f"{path} {param.opts}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_on_a_page_exists(page: Path) -> None:
    known = {section: known_keys(section) for section in SECTIONS}
    # What is wrong on purpose is followed by the exit code that says so, or is the message about it.
    lines = [line for line in text(page).splitlines() if "# exits 78" not in line and "error:" not in line]
    for section, key in _KEY.findall("\n".join(lines)):
        assert key in known[section] | _NOT_KEYS, f"{page.name}: {section}.{key}"


def known_keys(section: str) -> set[str]:
    return {key for cls in kinds(section).values() for key in cls.model_fields}


def test_every_key_that_exists_is_on_a_page() -> None:
    everything = "\n".join(text(page) for page in PAGES)
    missing = {f"{s}.{key}" for s in SECTIONS for key in known_keys(s) if not re.search(rf"\b{key}\b", everything)}
    assert not missing


@pytest.mark.parametrize(
    ("section", "page"),
    [
        ("task", "config.md"),
        ("data", "data.md"),
        ("model", "models.md"),
        ("optimizer", "optimizers.md"),
        ("schedule", "optimizers.md"),
    ],
)
def test_every_kind_is_on_its_page(section: str, page: str) -> None:
    shown = set(re.findall(r"`([\w-]+)`", text(DOCS / page)))
    assert set(kinds(section)) <= shown


def test_every_augmentation_is_on_its_page() -> None:
    from dlx.config.data import DataCommon

    shown = set(re.findall(r"`([\w-]+)`", text(DOCS / "data.md")))
    assert set(variants(DataCommon.model_fields["augment"].annotation)) <= shown


def test_every_default_rate_is_right() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\de-]+) \|", text(DOCS / "optimizers.md"), re.MULTILINE)
    told = {kind: float(rate) for names, rate in rows for kind in re.findall(r"\w+", names)}
    assert told == {kind: cls.model_fields["lr"].default for kind, cls in kinds("optimizer").items()}


def test_every_recipe_is_on_its_page_and_valid() -> None:
    for recipe in recipes():
        assert f"`{recipe.name}`" in text(DOCS / "config.md"), recipe.name
        assert load_experiment(recipe.name)
        assert recipe.summary, recipe.name


def yaml_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        yield from ((page.name, body) for body in re.findall(r"^```yaml\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(("page", "body"), list(yaml_blocks()))
def test_every_yaml_block_is_an_experiment_or_a_sweep(page: str, body: str, tmp_path: Path) -> None:
    document = parse_yaml(body, page)
    if "search" not in document.tree:
        assert validate(document)
        return
    (tmp_path / "search.yaml").write_text(body)
    sweep, experiment, overrides = load_sweep(tmp_path / "search.yaml", [])
    check_space(fitted(sweep.search, experiment, overrides), experiment, overrides)


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_sweep_can_begin_and_says_what_it_found(file: Path) -> None:
    sweep, experiment, overrides = load_sweep(file, [])
    check_space(fitted(sweep.search, experiment, overrides), experiment, overrides)
    opening = [line for line in text(file).splitlines() if line.startswith("#")]
    assert [line.split()[1] for line in opening[1:4]] == ["Source:", "Command:", "Measured:"]


def test_values_and_structure_are_told_right() -> None:
    """The table "What never recompiles" in config.md: left the `Lane` fields, right the others."""
    table = text(DOCS / "config.md").partition("## What never recompiles")[2]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")][1:]
    optional = {"clip_norm", "clip_value", "l1", "l2"}
    for column, is_value in ((0, True), (1, False)):
        for section, key in _KEY.findall(" ".join(row[column] for row in rows)):
            lanes = {key in cls.lane_fields() for cls in kinds(section).values() if key in cls.model_fields}
            assert lanes == {is_value} or key in optional, f"{section}.{key}"


@pytest.mark.parametrize("page", PAGES + OTHER_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(text(page)):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the repository"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text(target), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, f"{page.name}: {link}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(_LINK.findall(text(ROOT / "README.md")))
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= linked


@pytest.mark.parametrize("page", PAGES + OTHER_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_short_and_of_no_machine(page: Path) -> None:
    found = _ABSOLUTE.search(text(page))
    assert found is None, f"{page.name}: {found[0] if found else ''}"
    assert len(text(page).splitlines()) < (600 if page.name == "cli.md" else 200)  # that one is a list, and generated


def test_exit_codes_are_told_right() -> None:
    from dlx import errors

    used = {cls.exit_code for cls in (errors.DlxError, *errors.DlxError.__subclasses__())}
    used |= {status.exit_code for status in errors.Status} | {130, 143}
    for page in (ROOT / "README.md", DOCS / "cron.md"):
        rows = re.findall(r"^\| ([\d, ]+) \|", text(page).partition("## Exit codes")[2], re.MULTILINE)
        assert {int(code) for row in rows for code in row.split(",")} == used, page.name


def test_every_source_file_that_is_named_exists() -> None:
    for name in re.findall(r"`(?:dlx/)?((?:\w+/)+\w+\.py)`", text(DOCS / "architecture.md")):
        assert (ROOT / "dlx" / name).is_file(), name
