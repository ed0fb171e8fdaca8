"""`dlx report` on real runs and sweeps: what it writes, where, and what it says when it cannot."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlx.cli.app import main
from dlx.cli.report import report
from dlx.errors import CannotWriteError, MissingInputError, UsageError
from dlx.store import find_run, find_sweep, open_store
from tests.report.html.test_pages import Page

TINY = ("digits-mlp", "train.duration=40 steps", "train.evaluate_every=20 steps", "model.hidden=[8]")


@pytest.fixture
def dlx(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`dlx("train", ...)`, which must succeed."""

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["dlx", *arguments, "--quiet"])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code

    return run


def test_a_run_is_judged_and_written_beside_its_checkpoints(
    dlx: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    dlx("train", *TINY, "--name", "one")
    capsys.readouterr()
    report(["one"])
    with open_store(None, create=False) as store:
        path = find_run(store, "one").path / "report.html"
    assert capsys.readouterr().out.startswith(f"{path}  ")
    page = Page(path.read_text(encoding="utf8"))
    assert page.errors == []
    assert {found["id"] for found in page.all("figure")} == {"curves", "confusion", "calibration"}
    assert len(page.all("img")) > 12  # the worst examples and their saliency maps
    assert "boosted trees" in page.words
    assert path.stat().st_size < 1_000_000


def test_without_an_evaluation_a_page_needs_no_jax(dlx: Callable[..., None], tmp_path: Path) -> None:
    dlx("train", *TINY, "--name", "one")
    script = (
        "import sys; from pathlib import Path; from dlx.cli.report import report; "
        "report(['one'], out=Path('new/page.html'), evaluate=False); assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "written with --no-evaluate" in Path("new/page.html").read_text(encoding="utf8")


def test_a_run_without_weights_has_a_page_that_says_so(dlx: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["dlx", "train", *TINY, "optimizer.kind=sgd", "optimizer.lr=1e9", "--name", "lost", "--quiet"]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    report(["lost"], out=Path("page.html"))
    words = Page(Path("page.html").read_text(encoding="utf8")).words
    assert "diverged" in words
    assert "It could not be judged: run" in words
    with pytest.raises(MissingInputError, match="no weights"):
        report(["lost"], split="validation")  # what was asked for in particular is not left out in silence


def test_data_whose_name_is_no_text_is_judged_all_the_same(dlx: Callable[..., None]) -> None:
    rows = "".join(f"{at % 7},{at % 5},{'yes' if at % 7 > 3 else 'no'}\n" for at in range(200))
    Path("caf\udce9.csv").write_text(f"a,b,y\n{rows}")
    dlx("train", "--data", "caf\udce9.csv", "--target", "y", "train.duration=1 epochs", "--name", "odd")
    report(["odd"], baselines=False, out=Path("page.html"))
    assert "caf\N{REPLACEMENT CHARACTER}.csv" in Page(Path("page.html").read_text(encoding="utf8")).words


def test_several_runs_are_written_here(dlx: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    dlx("train", *TINY, "--name", "one")
    dlx("train", *TINY, "optimizer.lr=0.01", "--name", "two")
    capsys.readouterr()
    report(["one", "two", "one"], as_json=True)
    assert '"path": "report.html"' in capsys.readouterr().out
    words = Page(Path("report.html").read_text(encoding="utf8")).words
    assert words.startswith(" 2 runs: one, two")
    assert "optimizer.lr" in words


def test_a_sweep_has_a_page_in_its_own_folder(dlx: Callable[..., None]) -> None:
    dlx("sweep", *TINY, "optimizer.lr=tag(log, interval(1e-4, 1e-1))", "--trials", "4", "--name", "four")
    report(["four"])
    with open_store(None, create=False) as store:
        sweep = find_sweep(store, "four")
        path = store.folder / "sweeps" / sweep.id / "report.html"
    page = Page(path.read_text(encoding="utf8"))
    names = {found["id"] for found in page.all("figure")}
    assert names == {"history", "learning_curves", "parallel_coordinates", "importance", "slices"}
    report([sweep.id[:6]], out=Path("again.html"))
    with pytest.raises(UsageError, match="four is a sweep"):
        report(["four", "four/0"])


def test_what_is_called_so_twice_is_asked_for_by_its_id(dlx: Callable[..., None]) -> None:
    dlx("sweep", *TINY, "optimizer.lr=0.01,0.02", "--trials", "1", "--name", "same")
    dlx("train", *TINY, "--name", "same")
    with pytest.raises(UsageError, match="name one of them by its id"):
        report(["same"])


def test_what_cannot_be_is_told_in_a_sentence(dlx: Callable[..., None]) -> None:
    dlx("train", *TINY, "--name", "one")
    with pytest.raises(UsageError, match="neither a run nor a sweep"):
        report(["<b>nothing</b>"])
    with pytest.raises(UsageError, match="--slice sex"):
        report(["one"], slice_by=["sex"])
    with pytest.raises(UsageError, match="--slice is for the page of one run"):
        report(["one"], evaluate=False, slice_by=["sex"])
    with pytest.raises(CannotWriteError, match="it is a folder"):
        report(["one"], evaluate=False, out=Path())
    Path("table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"table\.csv is there and is no HTML page"):
        report(["one"], evaluate=False, out=Path("table.csv"))
    assert Path("table.csv").read_text() == "a,b\n1,2\n"
    Path("file").touch()
    with pytest.raises(CannotWriteError, match="file"):
        report(["one"], evaluate=False, out=Path("file/page.html"))
