"""`dlx export`: what it writes, what it never writes over, and what it says."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def trained(dlx, tiny):
    assert dlx("train", *tiny, "--name", "my digits/1", "-q").code == 0


def test_a_folder_for_hugging_face(dlx, trained, tmp_path):
    done = dlx("export", "my digits/1", "--format", "safetensors")
    assert done.code == 0, done.err
    folder = tmp_path / "my-digits-1-safetensors"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "outputs equal dlx's own bit for bit: 64 random examples" in done.out
    assert done.out.count("wrote ") == 3


def test_an_edited_card_is_kept_and_a_foreign_folder_refused(dlx, trained, tmp_path):
    out = ("export", "latest", "--format", "safetensors", "--out", "mine")
    assert dlx(*out).code == 0
    card = tmp_path / "mine" / "README.md"
    card.write_text("license: mit\n" + card.read_text())
    weights = (tmp_path / "mine" / "model.safetensors").read_bytes()
    again = dlx(*out)
    assert again.code == 0
    assert "it is kept as it is" in again.err
    assert card.read_text().startswith("license: mit\n")
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == weights
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    refused = dlx(*out)
    assert refused.code == 2
    assert "holds something else, such as thesis.tex" in refused.err


def test_the_export_of_another_run_is_not_mixed_with_this_one(dlx, tiny, trained):
    out = ("export", "latest", "--format", "safetensors", "--out", "mine")
    assert dlx(*out).code == 0
    assert dlx("train", *tiny, "train.seed=1", "-q").code == 0
    refused = dlx(*out)
    assert refused.code == 2
    assert "holds the export of another run" in refused.err


def test_an_export_that_was_killed_is_written_anew(dlx, trained, tmp_path, monkeypatch):
    """Wherever that was: with nothing but a half file, or before the second or the third of the files."""
    out = ("export", "latest", "--format", "safetensors", "--out", "mine")
    folder, replace = tmp_path / "mine", Path.replace
    for files in range(3):

        def killed(path: Path, target: Path, files: int = files) -> Path:
            if len([done for done in folder.iterdir() if done.suffix != ".tmp"]) == files:
                raise KeyboardInterrupt
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # as SIGKILL leaves it
            assert dlx(*out).code == 130
        assert sum(path.suffix == ".tmp" for path in folder.iterdir()) == 1
        done = dlx(*out)
        assert done.code == 0, done.err
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
        for path in folder.iterdir():
            path.unlink()


def test_stablehlo_replaces_the_file_and_describes_it(dlx, trained, tmp_path):
    export = pytest.importorskip("jax.export")
    pytest.importorskip("flatbuffers", reason="StableHLO needs flatbuffers: pip install 'dlx[export]'")
    place = tmp_path / "to" / "net.stablehlo"
    assert dlx("export", "latest", "--format", "stablehlo", "--out", str(place)).code == 0
    place.write_text("an older one")
    done = dlx("export", "latest", "--format", "stablehlo", "--out", str(place), "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["files"] == {str(path): path.stat().st_size for path in (place, Path(f"{place}.json"))}
    assert told["check"]["difference"] <= 1e-6
    outputs = export.deserialize(bytearray(place.read_bytes())).call(np.zeros((3, 8, 8, 1), np.uint8))
    assert outputs.shape == (3, 10)
    assert json.loads(Path(f"{place}.json").read_text())["platforms"] == ["cpu", "cuda", "tpu"]


@pytest.mark.optimized  # compiled quickly, it sums as onnxruntime does, bit for bit
def test_onnx_says_how_close_it_is(dlx, trained, tmp_path):
    pytest.importorskip("onnx", reason="ONNX needs onnx: pip install 'dlx[onnx]'")
    pytest.importorskip("onnxruntime", reason="ONNX is checked by onnxruntime: pip install 'dlx[onnx]'")
    done = dlx("export", "latest", "--format", "onnx")
    assert done.code == 0, done.err
    assert (tmp_path / "my-digits-1.onnx").stat().st_size > 1000
    assert "of the largest one: 64 random examples, by onnxruntime" in done.out


def test_a_file_that_is_no_export_is_left_alone(dlx, trained, tmp_path):
    pytest.importorskip("flatbuffers", reason="StableHLO needs flatbuffers: pip install 'dlx[export]'")
    table, beside = tmp_path / "table.csv", tmp_path / "net.json"
    for file in (table, beside):
        file.write_text('{"format": "mine"}')
        refused = dlx("export", "latest", "--format", "stablehlo", "--out", str(file).removesuffix(".json"))
        assert refused.code == 2
        assert f"{file} is there and is no export of dlx" in refused.err
        assert file.read_text() == '{"format": "mine"}'


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("my digit/1", "--format", "safetensors"), 2, "did you mean my digits/1?"),
        (("latest", "--format", "torch"), 2, "'torch' is not one of"),
        (("latest", "--format", "stablehlo", "--out", "."), 2, "is a folder: name the file in it"),
        (("latest", "--format", "safetensors", "--out", "a file"), 2, "is a file, and --format safetensors makes a folder"),
        (("latest", "--format", "safetensors", "--out", "a file/below"), 73, "cannot be made a folder"),
    ],
)
def test_bad_arguments(arguments, code, sentence, dlx, trained, tmp_path):
    (tmp_path / "a file").write_text("")
    done = dlx("export", *arguments)
    assert done.code == code, done.err
    assert sentence in " ".join(done.err.replace("│", " ").split())


def test_a_run_whose_checkpoints_are_gone(dlx, trained, tmp_path):
    for checkpoint in (tmp_path / "results").rglob("*.safetensors"):
        checkpoint.unlink()
    done = dlx("export", "latest", "--format", "safetensors")
    assert done.code == 66
    assert "has no checkpoint in" in done.err
    assert not (tmp_path / "my-digits-1-safetensors").exists()
