"""What a network writes beside what it should, and where it looked for each word."""

import jax
import jax.numpy as jnp
import numpy as np

from dlx.data import Part, some_rows
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.tokens import END, PAD
from dlx.evaluation.gallery.pictures import HeatMap, Images, Picture, Texts
from dlx.experiment.restore import Trained
from dlx.tasks import LearnerState
from dlx.tasks.seq2seq import SequenceToSequence

EXAMPLES, MAPS = 24, 3
"""Sequences that are written, and of how many of them it is drawn where the network looked."""
_LONGEST = 30
"""Tokens of a source or target that a map has room for."""


def pictures(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """Examples of a part, always the same ones: what was written, and maps of attention where the network has any."""
    task, preparation = trained.task, trained.preparation
    if not isinstance(task, SequenceToSequence) or preparation.target_tokenizer is None or not len(part):
        return ()
    few = part.take(some_rows(len(part), EXAMPLES))
    written, looked = _passes(trained, task, few.inputs)
    target = preparation.target_tokenizer
    pairs = [(target.decode(wanted), target.decode(said)) for wanted, said in zip(few.targets, written, strict=True)]
    right = int((written == few.targets).all(1).sum())
    caption = f"{len(few)} examples, of which {right} are written without a mistake."
    if preparation.texts is None:
        return (_captions(few, pairs, caption), *_places(few, looked, written, target))
    source = preparation.texts.tokenizer
    rows = tuple((source.decode(read), *pair) for read, pair in zip(few.inputs, pairs, strict=True))
    table = Texts("Translations", caption, ("source", "reference", "translation"), rows)
    return (table, *_maps(few, looked, written, source, target))


def _passes(trained: Trained, task: SequenceToSequence, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What is written (n, t), and how much each token of it takes from each place of the inputs (n, t, s), if any."""
    ready = inputs if task.reads_tokens else trained.preparation.scaling.apply(inputs)

    @jax.jit
    def both(learner: LearnerState, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        key = jax.random.key(0)
        written = task.predict(trained.config, learner, x, key)
        return written, task.attention(trained.config, learner, x, written, key)

    written, looked = both(trained.learner, jnp.asarray(ready))
    return np.asarray(written), None if looked is None else np.asarray(looked)


def _maps(few: Part, looked: np.ndarray | None, written: np.ndarray, source: Tokenizer, target: Tokenizer) -> list[HeatMap]:
    """Where the network looked in the sources of a few examples that a map has room for, those with the most words."""
    if looked is None:
        return []
    sizes = np.stack([(few.inputs != PAD).sum(1), (written != PAD).sum(1)])  # (2, n)
    chosen = [row for row in np.argsort(-sizes.sum(0), kind="stable") if sizes[:, row].max() <= _LONGEST][:MAPS]
    found = []
    for row in chosen:
        read, said = sizes[:, row].tolist()
        found.append(
            HeatMap(
                f"Attention: {target.decode(written[row])}",
                "How much each word that was written (rows) takes from each word that was read (columns); rows add up to 1.",
                looked[row, :said, :read],
                _words(target, written[row, :said]),
                _words(source, few.inputs[row, :read]),
            )
        )
    return found


def _captions(few: Part, pairs: list[tuple[str, str]], caption: str) -> Images:
    """The images with what is written of them, and what should be where that is something else."""
    columns = 8
    count = len(few) // columns * columns or len(few)
    grid = few.inputs[:count].astype(np.float32)
    low, high = float(np.min(grid)), float(np.max(grid))
    grid = ((grid - low) / max(high - low, 1e-9)).reshape(-1, min(columns, count), *grid.shape[1:])
    words = [said if said == wanted else f"{said} (not {wanted})" for wanted, said in pairs[:count]]
    rows = [", ".join(words[at : at + columns]) for at in range(0, count, columns)]
    return Images("Captions", caption, grid, row_names=tuple(rows))


def _places(few: Part, looked: np.ndarray | None, written: np.ndarray, target: Tokenizer) -> list[HeatMap]:
    """For a few images, where each letter was looked for: the places of the feature map, row by row."""
    if looked is None:
        return []
    found = []
    for row in range(min(MAPS, len(few))):
        said = int((written[row] != PAD).sum())
        places = tuple(map(str, range(looked.shape[2])))
        found.append(
            HeatMap(
                f"Attention: {target.decode(written[row])}",
                "How much each token (rows) takes from each place of the last feature map (columns); rows add up to 1.",
                looked[row, :said],
                _words(target, written[row, :said]),
                places,
            )
        )
    return found


def _words(tokenizer: Tokenizer, tokens: np.ndarray) -> tuple[str, ...]:
    return tuple(tokenizer.tokens[token] if token != END else "(end)" for token in tokens.tolist())
