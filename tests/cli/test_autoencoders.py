"""Autoencoders as ordinary experiments: every command that takes one, and weights handed on to a classifier."""

import json

import pytest

AUTOENCODER = (
    "digits-mlp",
    "task={kind: reconstruct}",
    "data.standardize=false",
    "model={kind: autoencoder, hidden: [8], code: 4}",
    "train.duration=20 steps",
    "train.evaluate_every=10 steps",
)
VAE = (
    *AUTOENCODER[:1],
    "task={kind: vae}",
    "data.standardize=false",
    "model={kind: vae, hidden: [8], code: 2}",
    *AUTOENCODER[4:],
)


@pytest.mark.parametrize("words", [AUTOENCODER, VAE], ids=["reconstruct", "vae"])
def test_rates_are_found_and_searched(dlx, words):
    found = dlx("lr-find", *words, "--steps", "30", "--seeds", "2", "--json", "-q")
    assert found.code in (0, 1), found.err  # 1: so short a ramp may find no falling region
    assert json.loads(found.out)["run"]
    swept = dlx("sweep", *words, "optimizer.lr=tag(log, interval(1e-3, 1e-2))", "--trials", "2", "-q")
    assert swept.code == 0, swept.err


def test_an_encoder_starts_a_classifier(dlx):
    run = json.loads(dlx("train", *AUTOENCODER, "--json", "-q", "--name", "code").out)["run"]
    words = ("digits-mlp", "data.standardize=false", "model={kind: mlp, hidden: [8]}", "train.duration=5 steps")
    done = dlx("train", *words, "--start-from", "code", "--name", "classifier")
    assert done.code == 0, done.err
    assert f"begins with weights of run {run}: hidden/0/linear/bias, hidden/0/linear/kernel (520 numbers)" in done.err
    again = dlx("train", *words, "--start-from", "code", "--name", "classifier", "--resume", "auto")
    assert again.code == 0, again.err
    fresh = dlx("train", *AUTOENCODER, "--start-from", "classifier", "--name", "code", "--resume", "auto")
    assert fresh.code == 78
    assert f"run {run} (code) began with fresh weights: leave out --start-from" in fresh.err
    assert dlx("runs", "rm", "code", "--yes").code == 0
    kept = dlx("train", *words, "--start-from", "code", "--name", "classifier", "--resume", "auto")
    assert kept.code == 0, kept.err  # it goes on without the run that it began with
    assert dlx("train", *words, "--start-from", "code", "--name", "another", "--resume", "auto").code == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--resume", "latest", "--start-from", "x"), "leave out --start-from"),
        (("--dry-run", "--start-from", "x"), "leave out --start-from"),
        (("--resume", "auto", "--name", "x", "--start-from", "latest"), "name the run by its id or its name"),
        (("--start-from", "nobody"), "has no runs yet"),
    ],
)
def test_options_that_do_not_go_together(dlx, words, sentence):
    done = dlx("train", *words)
    assert done.code == 2
    assert sentence in done.err
