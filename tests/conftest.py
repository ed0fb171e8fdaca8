"""No test reads or writes the user's own places; all tests share one cache of compiled programs, kept between sessions."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A program is compiled on one thread: the other cores have tests of their own.
_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
# XLA reads its flags when the first test starts it, which may be before dlx could set them (`engine.configure`). Then this process would
# sum in another order than those that tests start, which inherit the flags.
if version("jax").startswith("0.10."):
    _FLAGS.append("--xla_cpu_experimental_ynn_fusion_type=")
os.environ["XLA_FLAGS"] = " ".join([*filter(None, [os.environ.get("XLA_FLAGS")]), *_FLAGS])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Programs of tests are compiled often and run for moments: LLVM, half of what compiling takes, hardly optimizes them.

    XLA's own passes, which decide what is computed and in which order, are all run. What is said of bits, of speed, or of a whole
    training is tested as users have it, under `@pytest.mark.optimized`. Before any fixture, so that fixtures are compiled so too.
    """
    quick = item.get_closest_marker("optimized") is None
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick)  # for JAX when it is imported, here and in processes of the test
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_disable_most_optimizations", quick)


@pytest.fixture(scope="session")
def shared_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lasts, below `.pytest_cache`: compiled programs, and the fonts Matplotlib found."""
    if not request.config.pluginmanager.hasplugin("cacheprovider"):
        return tmp_path_factory.mktemp("cache")
    return Path(request.config.cache.mkdir("dlx"))


@pytest.fixture(scope="session", autouse=True)
def fewer_collections() -> None:
    """Tracing makes hundreds of thousands of objects that live: looking for cycles among them takes an eighth of a test's time."""
    gc.set_threshold(200_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def foreground() -> None:
    """A job in the background is started with SIGINT ignored, and so would be what it starts: tests send Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_places(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No place of the user's, for all that is made in this session: `~` is empty, and there is no store or colour."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        patch.setenv("DLX_CACHE", str(shared_cache))
        patch.setenv("MPLCONFIGDIR", str(shared_cache / "matplotlib"))
        patch.delenv("DLX_STORE", raising=False)
        patch.delenv("FORCE_COLOR", raising=False)
        patch.setenv("NO_COLOR", "1")
        # Processes that a test starts elsewhere run this checkout, installed or not.
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test starts in its own empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data("titanic/titanic.csv")` is that file or folder of `DLX_TEST_DATA`; where it is absent the test is skipped."""
    folder = Path(os.environ.get("DLX_TEST_DATA") or ROOT.parent / "shared" / "data")

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"there is no {path}: set DLX_TEST_DATA to a folder with the real data")
        return path

    return find
