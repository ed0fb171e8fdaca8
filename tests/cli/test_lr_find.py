"""`dlx lr-find` and `optimizer.lr=auto`, as a shell sees them."""

import json
import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

FAST = ("model.hidden=[8]", "--steps", "40", "--seeds", "2", "--min-lr", "1e-5")


def document(*words: str) -> str:
    return "\n".join(("# mine", "data: {kind: digits}", "model: {kind: mlp, hidden: [8]}", *words)) + "\n"


def test_a_test_is_a_run_with_a_picture_its_numbers_and_rules_with_their_reasons(dlx, tmp_path):
    done = dlx("lr-find", "digits-mlp", *FAST)
    assert done.code == 0
    lines = done.out.splitlines()
    assert " 40 rates, a step each, from 1e-05 to 10, 2 seeds" in lines[0]
    for rule in ("descent", "minimum/10", "valley", "steepest", "slide", "knee"):
        assert sum(line.startswith(rule) for line in lines) == 1
    assert any(line.startswith("recommended 0.") and "confidence" in line for line in lines)
    picture = Path(lines[-1])
    assert picture.read_bytes().startswith(b"\x89PNG")
    stored = json.loads((picture.parent / "range-test.json").read_text())
    assert stored["format"] == "dlx-range-test-1"
    assert [len(stored["curves"][0][name]) for name in ("rates", "losses", "smoothed")] == [40, 2, 2]
    shown = json.loads(dlx("runs", "show", picture.parent.name, "--json").out)
    assert (shown["status"], shown["step"]) == ("completed", 40)
    assert shown["metrics"]["lr/lr"] == stored["findings"][0]["set"]["optimizer.lr"]
    resumed = dlx("train", "--resume", picture.parent.name)
    assert "nothing left to do" in resumed.err


def test_a_stored_test_is_read_again_with_other_skips_and_nothing_is_trained(dlx):
    first = json.loads(dlx("lr-find", "digits-mlp", *FAST, "--name", "first", "--json", "-q").out)
    same = json.loads(dlx("lr-find", "--from", "first", "--json").out)
    assert same == first
    other = json.loads(dlx("lr-find", "--from", "first", "--skip-start", "20", "--json").out)
    assert other["run"] == first["run"]
    assert other["base"] > first["base"]
    assert dlx("lr-find", "--from", "first", "--skip-start", "35").err == (
        "error: --skip-start 35 --skip-end 0 leave 5 points of the curve, and it takes 10: skip fewer\n"
    )


def test_compared_values_have_a_line_each(dlx):
    done = dlx("lr-find", "digits-mlp", *FAST, "--compare", "optimizer.weight_decay=0,1", "-q")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()[2:4]] == ["optimizer.weight_decay=0", "optimizer.weight_decay=1"]
    sizes = json.loads(dlx("lr-find", "digits-mlp", *FAST, "--batch-sizes", "32,64", "-q", "--json").out)
    assert [each["label"] for each in sizes["compared"]] == ["train.batch_size=32", "train.batch_size=64"]


def test_in_constant_mode_the_lowest_loss_is_recommended(dlx):
    words = ("--mode", "constant", "--steps", "20", "--rates", "12", "--min-lr", "1e-5", "--validation", "--seeds", "1")
    found = json.loads(dlx("lr-find", "digits-mlp", "model.hidden=[8]", *words, "-q", "--json").out)
    stored = json.loads(Path(found["curves"]).read_text())["curves"][0]
    losses = [value if value is not None else float("inf") for value in stored["losses"][0]]
    assert found["recommended"] == pytest.approx(stored["rates"][losses.index(min(losses))])
    assert list(found["suggestions"]) == ["minimum"]


def test_write_sets_the_rate_in_the_file_and_keeps_its_comments(dlx, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(document("optimizer: {kind: adamw, lr: 1.0}  # too high", "schedule: {kind: triangular}"))
    found = json.loads(dlx("lr-find", str(file), *FAST, "--write", str(file), "-q", "--json").out)
    text = file.read_text()
    tree = YAML(typ="safe", pure=True).load(text)
    assert found["written"] == str(file)
    assert {"optimizer.lr": tree["optimizer"]["lr"], "schedule.base": tree["schedule"]["base"]} == found["set"]
    assert "# mine\n" in text
    assert "  # too high\n" in text


def test_without_a_falling_region_nothing_is_written_and_the_exit_code_is_1(dlx, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(document("optimizer: {kind: sgd, clip_norm: 1.0e-12}"))
    before = file.read_text()
    done = dlx("lr-find", str(file), *FAST, "--write", str(file), "-q")
    assert done.code == 1
    assert "no falling region: " in done.out
    assert file.read_text() == before


def test_a_trained_run_has_no_falling_region(dlx):
    assert (
        dlx(
            "train", "digits-mlp", "model.hidden=[16]", "train.duration=60 epochs", "optimizer.lr=1e-2", "--name", "t", "-q"
        ).code
        == 0
    )
    done = dlx("lr-find", "--weights", "t", "-q")
    assert done.code == 1
    assert "no falling region: " in done.out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--min-lr", "1", "--max-lr", "0.1"), 2, "the first must be above 0, and below the second"),
        (("--steps", "9"), 2, "--steps 9: fewer than 10 rates say nothing"),
        (("--rates", "20"), 2, "--rates: that is for --mode constant"),
        (("--mode", "constant", "--smoothing", "0.5"), 2, "--smoothing: that is for --mode ramp"),
        (("--compare", "optimizer.lr=1e-3"), 2, "with at least two values"),
        (("--batch-sizes", "8,16", "--compare", "optimizer.weight_decay=0,1"), 2, "give one of the two"),
        (("--compare", "schedule.kind=cosine,linear"), 2, "a range test has its own"),
        (("--write", "absent.yaml"), 66, "--write absent.yaml: no such file"),
        (("--write", "a.yaml", "--batch-sizes", "8,16"), 2, "leave out --compare and --batch-sizes"),
        (("--from", "latest"), 66, "no store at"),
        (("optimizer.lr=auto",), 78, "`dlx train` alone knows"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(dlx, tmp_path, words, code, sentence):
    done = dlx("lr-find", *words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert sentence in done.err
    assert not (tmp_path / "results" / "runs").exists()


def test_a_file_that_this_user_cannot_rewrite_is_refused_before_anything_is_tried(dlx, tmp_path, monkeypatch):
    file = tmp_path / "my.yaml"
    file.write_text(document("optimizer: 3"))
    assert dlx("lr-find", "digits-mlp", "--write", str(file)).err == (
        f"error: {file}: optimizer is not a mapping there, so that optimizer.lr cannot be set; nothing was changed\n"
    )
    file.write_text(document())
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert dlx("lr-find", "digits-mlp", "--write", str(file)).err == (
        f"error: --write {file}: this user cannot write it; nothing was changed\n"
    )


def test_from_refuses_options_that_would_do_nothing(dlx):
    done = dlx("lr-find", "--from", "latest", "--seeds", "2", "digits-mlp")
    assert done.code == 2
    assert "leave out recipe and overrides, --seeds" in done.err


def test_auto_finds_the_rate_first_and_stores_what_it_chose(dlx, tiny):
    words = (*tiny, "optimizer.lr=auto", "schedule.kind=onecycle", "--name", "nightly", "--resume", "auto", "--json")
    first = json.loads(dlx("train", *words).out)
    shown = json.loads(dlx("runs", "show", "nightly", "--json").out)
    remembered = shown["environment"]["lr_find"]
    assert shown["config"]["optimizer"]["lr"] == remembered["set"]["optimizer.lr"]
    assert set(remembered["suggestions"]) == {"descent", "minimum/10", "valley", "steepest", "slide", "knee"}
    again = dlx("train", *words)
    assert json.loads(again.out)["run"] == first["run"]
    assert "note:" not in again.err, "the rate is not looked for again"
    other = dlx("train", *words, "train.duration=60 steps")
    assert "train.duration was '40 steps', now '60 steps'" in other.err
    assert "optimizer.lr" not in other.err


def test_auto_in_a_file_falls_back_to_the_optimizers_own_rate(dlx, tmp_path):
    (tmp_path / "my.yaml").write_text(
        document("optimizer: {kind: sgd, lr: auto, clip_norm: 1.0e-12}", "train: {duration: 20 steps}")
    )
    done = dlx("train", "my.yaml", "--json")
    assert done.code == 0
    assert "the rate stays at 0.01" in done.err
    assert json.loads(dlx("runs", "show", "latest", "--json").out)["environment"]["lr_find"]["set"] == {}
