"""DESIGN's nevers, held by reading the source. Each rule also has a planted violation that it must find.

What import-linter can hold (layers, cycles) is in `pyproject.toml`; what only a process can show is in `test_imports`.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Module:
    """One source file of dlx."""

    name: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The layer: `engine` of `dlx.engine.step`, `errors` of `dlx.errors`, nothing for `dlx` itself."""
        return self.name.partition(".")[2].partition(".")[0]


@dataclass(frozen=True)
class Finding:
    node: ast.AST | None
    what: str


Rule = Callable[[Module], Iterator[Finding]]


def modules() -> Iterator[tuple[Path, Module]]:
    for path in sorted((ROOT / "dlx").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield path, Module(name, ast.parse(path.read_text(encoding="utf8"), str(path)))


def dotted(node: ast.AST) -> str:
    """`np.random.default_rng` of that expression; what is not a name, attribute or call of one becomes `?`."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
        case ast.Call():
            return dotted(node.func)
    return "?"


def imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported module, at any depth, also inside functions."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def calls(module: Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


# -------------------------------------------------------------------------------------------------------- the six nevers

LOOP = "1. Never a second training loop; `Task.update` is called in `engine` only."
NAMES = "2. Never an upward import, never a cycle, never a module named utils, helpers, common, misc, base or manager."
GLOBALS = "3. Never `hasattr`, literal-name `getattr`/`setattr`, a registering decorator, a mutable module global, work at import time."
CHANCE = "4. Never a global random generator, never a clock in `engine`, `tasks`, `models`, `nn`, `optim`, `data`."
HOMES = (
    "5. Never SQL outside `store`, Optuna outside `sweep`, Typer outside `cli`, Rich outside `report` and `cli`, "
    "JAX in `config`, `events`, `store`, `report`."
)
TYPES = "6. Never an untyped public function, never `**kwargs` in a public signature."

NUMERICS = frozenset({"engine", "tasks", "models", "nn", "optim", "data"})


def update_outside_engine(module: Module) -> Iterator[Finding]:
    for call in calls(module):
        owner = dotted(call.func).rpartition(".")
        if owner[2] == "update" and owner[0].rpartition(".")[2] in ("task", "_task") and module.package != "engine":
            yield Finding(call, f"{dotted(call.func)}(...) outside engine")


def empty_names(module: Module) -> Iterator[Finding]:
    empty = {"util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "managers"}
    if found := empty.intersection(module.name.rpartition(".")[2].split("_")):
        yield Finding(None, f"a module named {found.pop()}")


def dynamic_attributes(module: Module) -> Iterator[Finding]:
    for call in calls(module):
        match call:
            case ast.Call(func=ast.Name(id="hasattr")):
                yield Finding(call, "hasattr")
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "delattr" as name), args=[_, ast.Constant(), *_]):
                yield Finding(call, f"{name} with a literal name")


def registering_decorators(module: Module) -> Iterator[Finding]:
    """Those that can be told by their name: `@app.command()`, `@app.callback()`, `@register`, `@registry.register(...)`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if dotted(decorator).rpartition(".")[2] in ("register", "command", "callback"):
                    yield Finding(decorator, f"@{dotted(decorator)}")


def global_statements(module: Module) -> Iterator[Finding]:
    yield from (Finding(node, "global") for node in ast.walk(module.tree) if isinstance(node, ast.Global))


MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_TYPES = frozenset({"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"})


def mutable_globals(module: Module) -> Iterator[Finding]:
    """A container at module level that can change, unless it is declared `Final`. A tuple or `MappingProxyType` cannot."""
    for statement in module.tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                continue
            case ast.AnnAssign() if "Final" in ast.unparse(statement.annotation):
                continue
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if value is not None:
                made = dotted(value).rpartition(".")[2] if isinstance(value, ast.Call) else ""
                if isinstance(value, MUTABLE) or made in MUTABLE_TYPES:
                    yield Finding(statement, "a mutable container at module level")


PURE = frozenset(
    "tuple frozenset float int str range len zip sorted min max compile field partial namedtuple finfo iinfo fields".split()
)
"""What a module may call while it is imported, beside the classes whose values it builds (`Field(...)`, `Path(...)`)."""
DERIVATIVES = frozenset({"custom_vjp", "custom_jvp", "defvjp", "defjvp", "jit", "vmap"})
"""JAX's ways to name the derivative of a function; they run nothing."""
PYTREES = frozenset({"register_dataclass", "register_pytree_node", "register_pytree_with_keys", "register_static"})
ONE_PACKAGE = MappingProxyType(
    {
        "cli": frozenset({"command", "callback", "add_typer"}),  # `app.command("train")(train)`: a list, in one place
        "store": frozenset("table column text bindparam bindparams type_coerce label".split()),  # queries are values
    }
)


def work_at_import(module: Module) -> Iterator[Finding]:
    """Module and class bodies may import, define, and build values; nothing else runs before somebody asks for it."""
    allowed = PURE | DERIVATIVES | PYTREES | ONE_PACKAGE.get(module.package, frozenset())

    def expression(node: ast.expr) -> Iterator[Finding]:
        pending: list[ast.AST] = [node]
        while pending:
            part = pending.pop()
            if isinstance(part, ast.Lambda):
                continue
            name = dotted(part)
            last = name.rpartition(".")[2]
            value = last.lstrip("_")[:1].isupper() or last in allowed or name == "?.split"
            if isinstance(part, ast.Call) and not value:
                yield Finding(part, f"{name}(...) runs at import")
            if isinstance(part, ast.Attribute) and name in ("os.environ", "sys.argv"):
                yield Finding(part, f"{name} is read at import")
            pending += ast.iter_child_nodes(part)

    def body(statements: list[ast.stmt]) -> Iterator[Finding]:
        for statement in statements:
            match statement:
                case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Pass():
                    pass
                case ast.ClassDef():
                    yield from body(statement.body)
                case ast.Assign(value=value) | ast.AnnAssign(value=value):
                    yield from expression(value) if value is not None else ()
                case ast.Expr(value=ast.Constant()):
                    pass  # a docstring
                case ast.Expr(value=ast.Call() as call):
                    yield from expression(call)
                case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                    pass
                case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Compare()):
                    yield from body([*statement.body, *statement.orelse])
                case _:
                    yield Finding(statement, f"a {type(statement).__name__.lower()} statement runs at import")

    yield from body(module.tree.body)


GENERATORS = frozenset({"Generator", "BitGenerator", "Philox", "PCG64", "PCG64DXSM", "SeedSequence", "default_rng"})


def global_chance(module: Module) -> Iterator[Finding]:
    for node, name in imports(module):
        if name == "random" or (name.startswith("numpy.random.") and name.removeprefix("numpy.random.") not in GENERATORS):
            yield Finding(node, f"import of {name}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and dotted(node.value) in ("np.random", "numpy.random"):
            if node.attr not in GENERATORS:
                yield Finding(node, f"{dotted(node)} is the global generator")
        if isinstance(node, ast.Call) and dotted(node).rpartition(".")[2] in GENERATORS and not (node.args or node.keywords):
            yield Finding(node, f"{dotted(node)}() without a seed")


def clock_in_numerics(module: Module) -> Iterator[Finding]:
    if module.package in NUMERICS:
        yield from (Finding(node, f"import of {name}") for node, name in imports(module) if name in ("time", "datetime"))


JAX = frozenset({"jax", "jaxlib", "flax", "optax"})
JAX_FREE = frozenset({"config", "events", "store", "report", "errors", "places", "targets", "version", "__main__", ""})
ONLY_IN = (
    (frozenset({"sqlalchemy", "sqlite3", "alembic", "psycopg"}), frozenset({"store"})),
    (frozenset({"optuna"}), frozenset({"sweep"})),
    (frozenset({"typer"}), frozenset({"cli"})),
    (frozenset({"rich"}), frozenset({"report", "cli"})),
    (frozenset({"click"}), frozenset()),
)
STATEMENTS = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE ", "PRAGMA ")


def homes_of_libraries(module: Module) -> Iterator[Finding]:
    for node, name in imports(module):
        library = name.partition(".")[0]
        if library in JAX and module.package in JAX_FREE:
            yield Finding(node, f"import of {name} in {module.package or 'dlx'}")
        for libraries, packages in ONLY_IN:
            if library in libraries and module.package not in packages:
                yield Finding(node, f"import of {name} outside {' and '.join(sorted(packages)) or 'Typer'}")


def sql_in_text(module: Module) -> Iterator[Finding]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and module.package != "store":
            if node.value.lstrip().startswith(STATEMENTS):
                yield Finding(node, f"SQL: {node.value.strip()[:40]}")


def public_functions(statements: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in statements:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if not node.name.startswith("_") or node.name.endswith("__"):
                yield node


def untyped(module: Module) -> Iterator[Finding]:
    for function in public_functions(module.tree.body):
        a = function.args
        named = [*a.posonlyargs, *a.args, *a.kwonlyargs, *([a.vararg] if a.vararg else [])]
        bare = [p.arg for p in named if p.annotation is None and p.arg not in ("self", "cls")]
        if bare:
            yield Finding(function, f"{function.name}: {', '.join(bare)} without a type")
        if function.returns is None:
            yield Finding(function, f"{function.name}: no type of what it returns")


def keyword_bags(module: Module) -> Iterator[Finding]:
    for function in public_functions(module.tree.body):
        if function.args.kwarg:
            yield Finding(function, f"{function.name}(**{function.args.kwarg.arg})")


# -------------------------------------------------------------------------------------------------------------- the tests

PLANTED: tuple[tuple[str, Rule, str, str], ...] = (
    (LOOP, update_outside_engine, "dlx.diagnose.lr_find", "def f(self):\n    return self.task.update(1)"),
    (NAMES, empty_names, "dlx.data.image_utils", ""),
    (GLOBALS, dynamic_attributes, "dlx.nn.conv", "getattr(x, 'shape')"),
    (GLOBALS, registering_decorators, "dlx.cli.app", "@app.command('train')\ndef train() -> None: ..."),
    (GLOBALS, global_statements, "dlx.places", "def f():\n    global x\n    x = 1"),
    (GLOBALS, mutable_globals, "dlx.models", "KINDS: dict[str, int] = {}"),
    (GLOBALS, work_at_import, "dlx.engine.lanes", "jax.config.update('jax_enable_x64', True)"),
    (CHANCE, global_chance, "dlx.data.split", "np.random.permutation(10)"),
    (CHANCE, clock_in_numerics, "dlx.engine.cohort", "def f():\n    from time import monotonic"),
    (HOMES, homes_of_libraries, "dlx.store.runs", "def f():\n    import jax.numpy as jnp"),
    (HOMES, sql_in_text, "dlx.report.tables", "x = '''\n  SELECT * FROM dlx_runs'''"),
    (TYPES, untyped, "dlx.optim", "class A:\n    def f(self, x) -> int: ..."),
    (TYPES, keyword_bags, "dlx.api", "def train(name: str, **options: int) -> None: ..."),
)
RULES = [pytest.param(never, rule, id=rule.__name__) for never, rule, _, _ in PLANTED]


@pytest.mark.parametrize(("never", "rule"), RULES)
def test_the_source_keeps_it(never: str, rule: Rule) -> None:
    found = [
        f"  {path.relative_to(ROOT)}:{getattr(finding.node, 'lineno', 1)}: {finding.what}"
        for path, module in modules()
        for finding in rule(module)
    ]
    assert not found, "\n".join([never, *found])


@pytest.mark.parametrize(("rule", "name", "source"), [pytest.param(*p[1:], id=p[1].__name__) for p in PLANTED])
def test_a_planted_violation_is_found(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(name, ast.parse(source))))


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (update_outside_engine, "dlx.engine.step", "self.task.update(config, state, batch, key)"),
        (update_outside_engine, "dlx.store.runs", "row.update(other)"),
        (empty_names, "dlx.store.database", ""),
        (dynamic_attributes, "dlx.engine.lanes", "getattr(config, name)"),
        (mutable_globals, "dlx.store", "__all__ = ['a']\nTABLE = MappingProxyType({'a': 1})\nX: Final = {}"),
        (work_at_import, "dlx.nn.conv", "conv = partial(jax.custom_vjp, nondiff_argnums=(2,))(f)\nconv.defvjp(f, g)"),
        (work_at_import, "dlx.config.load", "RECIPES = Path(__file__).parent / 'recipes'\nK = lambda: os.environ['K']"),
        (work_at_import, "dlx.cli.app", "app = Typer()\napp.command('train')(train)"),
        (global_chance, "dlx.data.order", "np.random.Generator(np.random.Philox(key=1)).permutation(3)"),
        (untyped, "dlx.nn", "def _f(x): ...\ndef g(*x: int) -> None: ..."),
    ],
)
def test_what_is_allowed_passes(rule: Rule, name: str, source: str) -> None:
    assert not list(rule(Module(name, ast.parse(source))))
