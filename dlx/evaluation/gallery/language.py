"""Pictures of language models: what they write, and how much it helps them to have read more."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from dlx import engine
from dlx.data import Part
from dlx.evaluation.gallery.pictures import Lines, Picture, Texts
from dlx.experiment.restore import Trained
from dlx.tasks import Asked, Batch, LearnerState
from dlx.tasks.language import LanguageModelling

TEMPERATURES: Final = (0.5, 0.8, 1.0)
WRITTEN, PROMPT = 240, 8
"""Tokens of a sample, and how many of them are the text's own."""
PASSAGES, AT_ONCE, WINDOWS = 256, 16, 4
"""Passages that are read from an empty state, how many at once, and windows of each."""


def pictures(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """Samples at several temperatures, and the loss by how much was read before. None for other tasks, or an empty part."""
    task = trained.task
    if not isinstance(task, LanguageModelling) or not len(part):
        return ()
    return (_samples(trained, task, part), *_by_context(trained, task, part))


def _samples(trained: Trained, task: LanguageModelling, part: Part) -> Texts:
    tokenizer = trained.preparation.texts.tokenizer if trained.preparation.texts else None
    prompt = part.inputs[0][part.inputs[0] > 0][:PROMPT].astype(np.int32)
    rows = []
    for temperature in TEMPERATURES:
        asked = Asked(1, temperature=temperature, prompt=prompt, length=WRITTEN)
        make = jax.jit(lambda learner, key, asked=asked: task.generate(trained.config, learner, key, asked))
        tokens = np.asarray(make(trained.learner, engine.step_key(0, "gallery", 0)))[0]
        rows.append((f"{temperature:g}", tokenizer.decode(tokens) if tokenizer else " ".join(map(str, tokens))))
    caption = f"{WRITTEN} tokens each, of which the first {len(prompt)} are the text's own."
    return Texts("Samples", caption, ("temperature", "text"), tuple(rows))


def _by_context(trained: Trained, task: LanguageModelling, part: Part) -> tuple[Picture, ...]:
    """The mean nats of a token by how many were read before it since an empty state; None for a text of few windows."""
    windows = WINDOWS if task.carries else 1
    passages = min(PASSAGES, (len(part) - 1) // windows) // AT_ONCE * AT_ONCE
    if not passages:
        return ()
    # Spread evenly; the last window of the part may be padded, and is in none.
    first = np.arange(passages) * (len(part) - 1 - windows) // max(1, passages - 1)
    rows = (first[:, None] + np.arange(windows)).reshape(-1, AT_ONCE, windows)
    inputs, targets = (jnp.asarray(of[rows].swapaxes(1, 2)) for of in (part.inputs, part.targets))  # (calls, windows, b, t)
    key = engine.step_key(0, "gallery", 1)

    def read(learner: LearnerState, passage: tuple[jax.Array, jax.Array]) -> jax.Array:
        def window(memory: object, seen: tuple[jax.Array, jax.Array]) -> tuple[object, jax.Array]:
            batch = Batch(*seen, jnp.ones(AT_ONCE))
            memory, each = task.each_token(trained.config, learner._replace(memory=memory), batch, key)
            return memory, each["loss"]

        return jax.lax.scan(window, task.memory(trained.config, AT_ONCE), passage)[1]

    nats = jax.jit(lambda learner, all_of_them: jax.lax.map(lambda passage: read(learner, passage), all_of_them))
    each = np.asarray(nats(trained.learner, (inputs, targets)), np.float64)  # (calls, windows, b, t)
    place = each.swapaxes(1, 2).reshape(passages, -1).mean(0)
    # Places close to each other are put together, ever more of them: 1, 2, 3 to 4, 5 to 8, ...
    edges = np.unique(np.minimum(2 ** np.arange(int(np.log2(len(place))) + 2), len(place)))
    found = [(np.arange(a, b).mean() + 1, place[a:b].mean()) for a, b in zip((0, *edges), edges, strict=False)]
    x, y = np.array(found).T
    caption = f"The mean over {passages} passages, each read from an empty state."
    return (
        Lines(
            "Loss by what was read before",
            caption,
            x,
            {"loss": y},
            x_name="tokens read",
            y_name="nats of the next token",
        ),
    )
