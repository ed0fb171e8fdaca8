"""What every network that writes sequences must hold: padding changes nothing, nothing looks ahead, steps are the whole."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.config.translation_model import Captioner, EncoderDecoder, Transformer
from dlx.data.tokens import BEGIN
from dlx.errors import ConfigError, UsageError
from dlx.models import Tokens, build, set_mode
from dlx.models.summary import summarize
from dlx.models.transformer import waves
from dlx.models.translator import Translator

VOCABULARY, SOURCE, IMAGE = 9, Tokens(6, 11), (6, 6, 1)
NETWORKS = {
    "gru, additive": EncoderDecoder(embedding=4, hidden=5, layers=2),
    "lstm, dot": EncoderDecoder(cell="lstm", embedding=4, hidden=5, attention="dot", bidirectional=False),
    "simple, no attention": EncoderDecoder(cell="simple", embedding=4, hidden=5, attention="none", bidirectional=False),
    "transformer": Transformer(width=8, heads=2, layers=2, feed_forward=10),
    "transformer, learned positions": Transformer(width=8, heads=2, layers=1, feed_forward=10, learned_positions=9),
    "transformer, norm last": Transformer(width=8, heads=2, layers=1, feed_forward=10, norm_first=False),
    "captioner": Captioner(channels=(3,), embedding=4, hidden=5),
    "captioner, attention": Captioner(channels=(3,), embedding=4, hidden=5, cell="lstm", attention="additive"),
}
X = jnp.asarray([[4, 5, 6, 3, 0, 0], [7, 8, 9, 10, 4, 3], [5, 3, 0, 0, 0, 0]], jnp.int32)
PIXELS = jax.random.normal(jax.random.key(0), (3, *IMAGE))
GIVEN = jnp.asarray([[BEGIN, 4, 5, 6], [BEGIN, 7, 8, 3], [BEGIN, 3, 0, 0]], jnp.int32)

each_network = pytest.mark.parametrize("name", NETWORKS)
each_of_text = pytest.mark.parametrize("name", [name for name in NETWORKS if "captioner" not in name])


def features(name):
    return IMAGE if "captioner" in name else SOURCE


def inputs(name):
    return PIXELS if "captioner" in name else X


@cache
def network(name):
    """One whose parameters are all random: what begins at zero would hide what it does."""
    model = build(NETWORKS[name], features(name), VOCABULARY, nnx.Rngs(0))
    set_mode(model, train=False)
    params = nnx.state(model, nnx.Param)
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    nnx.update(model, jax.tree.map(lambda p: p + 0.3 * jax.random.normal(next(keys), p.shape), params))
    return model


class Passes(NamedTuple):
    """What a network makes of inputs (b, ...) and what is given (b, t)."""

    logits: jax.Array
    stepwise: jax.Array
    """The same, token by token."""
    first: jax.Array
    """Of a plain call (b, 1, v)."""
    attention: jax.Array | None


@cache
def compiled(name):
    """All passes in one program, kept for all tests."""
    model = network(name)

    @jax.jit
    def passes(x, given):
        source = model.encode(x)

        def step(state, place):
            return model.step(source, state, given[:, place], place)

        stepwise = jax.lax.scan(step, model.begin(source, 4), jnp.arange(4))[1].swapaxes(0, 1)
        return Passes(model.decode(source, given), stepwise, model(x), model.attention(source, given))

    return passes


def logits(name, x, given=GIVEN):
    return compiled(name)(x, given).logits


@each_network
def test_it_is_a_translator(name):
    assert isinstance(network(name), Translator)
    assert logits(name, inputs(name)).shape == (3, 4, VOCABULARY)


@each_network
def test_writing_token_by_token_gives_the_logits_of_the_whole(name):
    passes = compiled(name)(inputs(name), GIVEN)
    np.testing.assert_allclose(passes.stepwise, passes.logits, rtol=1e-4, atol=1e-5)


@each_network
def test_no_token_depends_on_those_after_it(name):
    before, after = (logits(name, inputs(name), given) for given in (GIVEN, GIVEN.at[:, 2:].set(8)))
    np.testing.assert_allclose(before[:, :2], after[:, :2], rtol=1e-5, atol=1e-6)
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 1e-3


@each_of_text
def test_padding_changes_nothing(name):
    longer = jnp.pad(X, ((0, 0), (0, 3)))
    np.testing.assert_allclose(logits(name, longer), logits(name, X), rtol=1e-5, atol=1e-6)


@each_network
def test_every_example_is_read_and_for_itself(name):
    x = inputs(name)
    before, after = (logits(name, each) for each in (x, x.at[1].set(x[0])))
    np.testing.assert_allclose(before[jnp.array([0, 2])], after[jnp.array([0, 2])], rtol=1e-5, atol=1e-6)
    assert np.abs(before[1] - after[1]).max() > 1e-3


@each_network
def test_attention_is_shared_out_among_what_is_there(name):
    weights = compiled(name)(inputs(name), GIVEN).attention
    if weights is None:
        assert NETWORKS[name].attention == "none"
        return
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    if inputs(name) is X:
        padding = np.broadcast_to((np.asarray(X) == 0)[:, None], weights.shape)
        assert not np.asarray(weights)[padding].any()


@each_network
def test_a_call_is_one_pass_for_the_first_token(name):
    passes = compiled(name)(inputs(name), GIVEN)
    np.testing.assert_allclose(passes.first, passes.logits[:, :1], rtol=1e-5, atol=1e-5)


@each_network
def test_the_summary_knows_every_layer_and_parameter(name):
    layers = summarize(NETWORKS[name], features(name), VOCABULARY)
    assert sum(layer.parameters for layer in layers) == sum(
        p.size for p in jax.tree.leaves(nnx.state(network(name), nnx.Param))
    )
    assert {layer.kind for layer in layers if layer.output_shape is None} <= {"Recurrent", "MultiHeadAttention"}


def test_the_waves_are_those_of_the_paper():
    places, width = np.arange(7), 6
    angles = places[:, None] / 10000 ** (2 * np.arange(width // 2) / width)
    found = waves(jnp.asarray(places), width)
    np.testing.assert_allclose(found[:, ::2], np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(found[:, 1::2], np.cos(angles), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "in_features", "sentence"),
    [
        (Transformer(), (28, 28, 1), "model.kind=transformer reads tokens and the data has numbers"),
        (EncoderDecoder(), 12, "model.kind=encoder-decoder reads tokens and the data has numbers"),
        (Captioner(), SOURCE, "model.kind=captioner needs images"),
        (Captioner(channels=(2, 2, 2)), IMAGE, "model.channels has 3 convolutions and each halves the image of 6x6 pixels"),
    ],
)
def test_a_network_that_does_not_suit_the_data_says_so(config, in_features, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(config, in_features, VOCABULARY, nnx.Rngs(0))


def test_learned_positions_must_be_enough():
    config = NETWORKS["transformer, learned positions"].model_copy(update={"learned_positions": 4})
    with pytest.raises(ConfigError, match=r"model.learned_positions is 4, and sequences have up to 6 tokens: raise it"):
        jax.eval_shape(lambda: build(config, SOURCE, VOCABULARY, nnx.Rngs(0))(X))


def test_nothing_is_written_beyond_the_learned_positions():
    model = network("transformer, learned positions")
    source = jax.eval_shape(model.encode, X)
    jax.eval_shape(lambda source: model.begin(source, 9), source)
    with pytest.raises(
        UsageError, match=r"a text of 10 tokens is asked for, and this network knows 9 places .*: lower --length"
    ):
        jax.eval_shape(lambda source: model.begin(source, 10), source)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"width": 8, "heads": 3}, "heads is 3 and does not divide the width 8"),
        ({"width": 9, "heads": 3}, "sine waves come in pairs"),
    ],
)
def test_a_transformer_of_impossible_sizes_says_so(sizes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Transformer(**sizes)
