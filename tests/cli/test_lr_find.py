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
    assert (resumed.code, resumed.err.count("\n")) == (78, 1)
    assert "is a range test of `dlx lr-find`" in resumed.err


def test_a_name_that_a_range_test_has_does_not_stop_cron_from_training_in_silence(dlx, tiny):
    assert dlx("lr-find", *tiny, *FAST[1:], "--name", "nightly", "-q").code == 0
    done = dlx("train", *tiny, "--name", "nightly", "--resume", "auto")
    assert done.code == 78
    assert "is a range test of `dlx lr-find`: choose another --name to train under" in done.err


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


def test_write_follows_links_and_keeps_line_ends_and_permissions(dlx, tmp_path):
    file, link = tmp_path / "my.yaml", tmp_path / "link.yaml"
    file.write_bytes(document("optimizer: {kind: adamw, lr: auto}").replace("\n", "\r\n").encode())
    file.chmod(0o600)
    link.symlink_to(file)
    assert dlx("lr-find", str(link), *FAST, "--write", str(link), "-q").code == 0
    assert link.is_symlink()
    assert (file.stat().st_mode & 0o777) == 0o600
    text = file.read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n") == 4
    assert b"lr: auto" not in text


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
        (("--mode", "constant", "--steps", "0"), 2, "--steps 0: each rate takes at least one step"),
        (("--max-lr", "inf"), 2, "below the second"),
        (("--min-lr", "nan"), 2, "the first must be above 0"),
        (("--stop", "nan"), 2, "above 1"),
        (("--min-lr", "1e-30", "--max-lr", "1e30"), 2, "more than float32 can hold"),
        (("averaging={kind: swa, rate: null, lowest: 0.1}",), 78, "give rate too, or leave lowest out"),
        (("--from", "latest"), 66, "no store at"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(dlx, tmp_path, words, code, sentence):
    done = dlx("lr-find", *words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert sentence in done.err
    assert not (tmp_path / "results" / "runs").exists()


def test_a_file_that_this_user_cannot_rewrite_is_refused_before_anything_is_tried(dlx, tmp_path, monkeypatch):
    file = tmp_path / "my.yaml"
    for text, words, sentence in (
        (document("optimizer: 3"), (), ":4: optimizer: "),
        (document("optimizer: {kind: sgd}"), (), ": its optimizer.kind is sgd, and adamw was tested; nothing was changed"),
        (document(), ("schedule={kind: triangular}",), ": its schedule.kind is constant, and triangular was tested"),
        ("experiment: digits-mlp\nsearch: {}\n", (), ": data: is missing"),
        (document("optimizer:\n  kind: adamw\n  <<: {lr: 1.0}"), (), ": optimizer.lr cannot be set without changing more"),
    ):
        file.write_text(text)
        refused = dlx("lr-find", "digits-mlp", *(words or ["schedule={kind: constant}"]), "--write", str(file))
        assert f"error: {file}{sentence}" in refused.err
        assert file.read_text() == text
    assert dlx("lr-find", "--write", "absent.yaml").err == "error: absent.yaml: no such file; a file that is there is changed\n"
    several = dlx("lr-find", "--write", str(file), "--batch-sizes", "8,16")
    assert "--write sets one rate, and several were compared" in several.err
    assert not (tmp_path / "results" / "runs").exists()
    file.write_text(document())
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: (mode, Path(path)) != (os.W_OK, file) and access(path, mode))
    assert dlx("lr-find", "digits-mlp", "schedule={kind: constant}", "--write", str(file)).err == (
        f"error: {file}: this user cannot write it; nothing was changed\n"
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
    assert "the rate stays at 0.01: no falling region: " in done.err
    assert json.loads(dlx("runs", "show", "latest", "--json").out)["environment"]["lr_find"]["set"] == {}
