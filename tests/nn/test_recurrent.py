"""`dlx.nn.Recurrent` against PyTorch's layers, a loop in NumPy, and JAX's own gradient of a plain scan."""

from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dlx.diagnose.rewriting import plain
from dlx.nn import Recurrent
from dlx.nn.recurrent import CellKind
from dlx.nn.recurrent_cells import Simple

TORCH = np.load(Path(__file__).parent / "pytorch_recurrent.npz")
CELLS: tuple[CellKind, ...] = ("simple", "lstm", "gru")
B, T, FEATURES, H = 4, 20, 3, 5
RAGGED = np.array([5, 0, 17, 9], np.int32)  # no example has all steps, one has none; 17 is one more than a chunk


def layer(
    cell: CellKind, *, reverse: bool = False, features: int = FEATURES, dtype: Any = jnp.float64, seed: int = 0
) -> Recurrent:
    """A layer in which no parameter is zero."""
    made = Recurrent(features, H, cell=cell, reverse=reverse, rngs=nnx.Rngs(seed))
    random = np.random.default_rng(seed)
    draw = jax.tree.map(lambda p: jnp.asarray(p + 0.3 * random.standard_normal(p.shape), dtype), nnx.state(made))
    nnx.update(made, draw)
    return made


def sequences(cell: CellKind, *, examples: int = B, steps: int = T, seed: int = 1) -> tuple[np.ndarray, Any]:
    """Inputs (b, t, features) and a state to begin with."""
    random = np.random.default_rng(seed)
    states = [random.standard_normal((examples, H)) for _ in range(2 if cell == "lstm" else 1)]
    return random.standard_normal((examples, steps, FEATURES)), tuple(states) if cell == "lstm" else states[0]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def one_step(net: Recurrent, x: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The textbook's formulas, for one example: x (features,), state of (h,)."""
    kernel, recurrent, bias = (np.asarray(p[...], np.float64) for p in (net.kernel, net.recurrent_kernel, net.bias))
    a, y = np.split(x @ kernel + bias, kernel.shape[1] // H), np.split(state[-1] @ recurrent, kernel.shape[1] // H)
    match net.cell:
        case "simple":
            return (np.tanh(a[0] + y[0]),)
        case "lstm":
            c = sigmoid(a[1] + y[1]) * state[0] + sigmoid(a[0] + y[0]) * np.tanh(a[2] + y[2])
            return c, sigmoid(a[3] + y[3]) * np.tanh(c)
        case "gru":
            assert net.candidate_bias is not None
            r, u = sigmoid(a[0] + y[0]), sigmoid(a[1] + y[1])
            return ((1 - u) * np.tanh(a[2] + r * (y[2] + np.asarray(net.candidate_bias[...]))) + u * state[0],)


def in_numpy(net: Recurrent, x: np.ndarray, carry: Any, lengths: np.ndarray) -> tuple[np.ndarray, Any]:
    """Example by example and step by step."""
    outputs, ends = np.zeros((*x.shape[:2], H)), []
    for row, length in enumerate(lengths):
        state = tuple(each[row] for each in (carry if isinstance(carry, tuple) else (carry,)))
        for at in reversed(range(length)) if net.reverse else range(length):
            state = one_step(net, x[row, at], state)
            outputs[row, at] = state[-1]
        ends.append(state)
    last = tuple(np.stack(each) for each in zip(*ends, strict=True))
    return outputs, last if net.cell == "lstm" else last[0]


def by_scan(net: Recurrent, x: jax.Array, carry: Any, lengths: jax.Array | None) -> tuple[jax.Array, Any]:
    """A scan of `step`, for JAX to differentiate itself."""

    def one(carry: Any, at: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        new, y = net.step(carry, at[1])
        if lengths is None:
            return new, y
        live = (at[0] < lengths)[:, None]
        return jax.tree.map(lambda a, b: jnp.where(live, a, b), new, carry), jnp.where(live, y, 0)

    carry, outputs = lax.scan(one, carry, (jnp.arange(x.shape[1]), x.swapaxes(0, 1)), reverse=net.reverse)
    return outputs.swapaxes(0, 1), carry


def apply(net: Recurrent, x: jax.Array, carry: Any, lengths: jax.Array | None) -> tuple[jax.Array, Any]:
    return net(x, carry, lengths)


def loss_of(function: Any, net: Recurrent, lengths: np.ndarray | None) -> Any:
    """(parameters, inputs, carry) to a number in which no two outputs weigh the same; lengths are traced."""
    graph, _ = nnx.split(net)

    def loss(params: Any, x: jax.Array, carry: Any, lengths: jax.Array | None) -> jax.Array:
        outputs, end = function(nnx.merge(graph, params), x, carry, lengths)
        weights = jnp.cos(jnp.arange(float(outputs.size))).reshape(outputs.shape).astype(outputs.dtype)
        return (weights * outputs**2).sum() + sum(jnp.sin(3 * each).sum() for each in jax.tree.leaves(end))

    counts = None if lengths is None else jnp.asarray(lengths)
    return lambda params, x, carry: loss(params, x, carry, counts)


def assert_close(ours: Any, theirs: Any, tolerance: float) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize(("cell", "case", "suffix"), list(product(CELLS, ("full", "lengths"), ("", "_reverse"))))
def test_outputs_states_and_gradients_are_those_of_pytorch(cell: CellKind, case: str, suffix: str) -> None:
    """PyTorch's bidirectional layer holds both directions; `lengths` are a packed sequence."""
    side = 1 if suffix else 0
    half = np.s_[..., side * 3 : side * 3 + 3]
    names = ["c", "h"] if cell == "lstm" else ["h"]

    def transposed(prefix: str) -> dict[str, np.ndarray]:
        """PyTorch's parameters, or their gradients, under our names."""
        taken = {name: TORCH[f"{cell}/{prefix}{name}_l0{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        ours = {"kernel": taken["weight_ih"].T, "recurrent_kernel": taken["weight_hh"].T, "bias": taken["bias_ih"]}
        ours["bias"] = ours["bias"] if prefix else taken["bias_ih"] + taken["bias_hh"]
        if cell == "gru":
            ours["candidate_bias"] = taken["bias_hh"][6:]
            ours["bias"] = taken["bias_ih"] if prefix else np.r_[ours["bias"][:6], taken["bias_ih"][6:]]
        return ours

    with jax.enable_x64(True):
        net = Recurrent(2, 3, cell=cell, reverse=bool(suffix), rngs=nnx.Rngs(0))
        graph, state = nnx.split(net)
        nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, transposed("")))
        carry = tuple(jnp.asarray(TORCH[f"{cell}/{name}"][side]) for name in names)
        lengths = jnp.asarray(TORCH["lengths"]) if case == "lengths" else None

        def loss(params: Any, x: jax.Array, carry: Any) -> Any:
            outputs, end = nnx.merge(graph, params)(x, carry if cell == "lstm" else carry[0], lengths)
            total = (outputs * TORCH[f"{cell}/weights"][half]).sum() + sum((each**2).sum() for each in jax.tree.leaves(end))
            return total, (outputs, end)

        function = jax.jit(jax.grad(loss, (0, 2), has_aux=True))
        (by_params, by_carry), (outputs, end) = function(state, jnp.asarray(TORCH[f"{cell}/x"]), carry)
        np.testing.assert_allclose(outputs, TORCH[f"{cell}/{case}/outputs"][half], atol=1e-12)
        for name, ours, slope in zip(names, jax.tree.leaves(end), by_carry, strict=True):
            np.testing.assert_allclose(ours, TORCH[f"{cell}/{case}/end {name}"][side], atol=1e-12)
            np.testing.assert_allclose(slope, TORCH[f"{cell}/{case}/by {name}"][side], atol=1e-12)
        assert_close(nnx.to_pure_dict(by_params), transposed(f"{case}/by "), 1e-12)


@pytest.mark.parametrize(("cell", "reverse"), list(product(CELLS, (False, True))))
def test_outputs_and_state_are_those_of_a_loop_over_steps(cell: CellKind, reverse: bool) -> None:
    x, carry = sequences(cell)
    with jax.enable_x64(True):
        net = layer(cell, reverse=reverse)
        assert_close(nnx.jit(net)(x, carry, jnp.asarray(RAGGED)), in_numpy(net, x, carry, RAGGED), 1e-13)
        assert_close(nnx.jit(net)(x, carry), in_numpy(net, x, carry, np.full(B, T)), 1e-13)


def test_zeros_are_the_state_to_begin_with() -> None:
    net = layer("lstm", dtype=jnp.float32)
    x = jnp.asarray(sequences("lstm")[0], jnp.float32)
    assert_close(net(x), net(x, net.initial_carry(B)), 0)
    assert [each.shape for each in net.initial_carry(B)] == [(B, H), (B, H)]


@pytest.mark.parametrize("cell", CELLS)
def test_one_step_at_a_time_is_the_same(cell: CellKind) -> None:
    x, carry = sequences(cell)
    with jax.enable_x64(True):
        net = layer(cell)
        assert_close(nnx.jit(net)(x, carry), nnx.jit(by_scan, static_argnums=3)(net, x, carry, None), 1e-13)


@pytest.mark.parametrize(
    ("cell", "reverse", "steps", "lengths"),
    [
        ("gru", False, 1, [1]),
        ("lstm", True, 3, [2]),
        ("simple", True, 1, [0, 1]),
        ("gru", True, 4, [0, 0]),
        ("lstm", False, 33, [33]),
    ],
)
def test_small_and_odd_sizes(cell: CellKind, reverse: bool, steps: int, lengths: list[int]) -> None:
    x, carry = sequences(cell, examples=len(lengths), steps=steps)
    with jax.enable_x64(True):
        net = layer(cell, reverse=reverse)
        expected = in_numpy(net, x, carry, np.array(lengths))
        assert_close(nnx.jit(net)(x, carry, jnp.asarray(lengths)), expected, 1e-13)


# --------------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(("cell", "reverse", "ragged"), list(product(CELLS, (False, True), (False, True))))
def test_gradients_agree_with_autodiff(cell: CellKind, reverse: bool, ragged: bool) -> None:
    """Of parameters, inputs and the state to begin with."""
    x, carry = sequences(cell)
    with jax.enable_x64(True):
        net = layer(cell, reverse=reverse)

        def slopes(function: Any) -> Any:
            return jax.grad(loss_of(function, net, RAGGED if ragged else None), (0, 1, 2))(nnx.state(net), x, carry)

        assert_close(*jax.jit(lambda: [slopes(apply), slopes(by_scan)])(), 1e-12)


@pytest.mark.parametrize(("cell", "reverse", "ragged"), [("simple", False, True), ("lstm", True, True), ("gru", False, False)])
def test_second_derivatives_agree_with_autodiff(cell: CellKind, reverse: bool, ragged: bool) -> None:
    x, carry = sequences(cell)
    with jax.enable_x64(True):
        net = layer(cell, reverse=reverse)

        def slopes(function: Any) -> Any:
            loss = loss_of(function, net, RAGGED if ragged else None)

            def penalty(*arguments: Any) -> jax.Array:
                first = jax.grad(loss, (0, 1, 2))(*arguments)
                return sum((jnp.tanh(slope) ** 2).sum() for slope in jax.tree.leaves(first))

            return jax.grad(penalty, (0, 1, 2))(nnx.state(net), x, carry)

        assert_close(*jax.jit(lambda: [slopes(apply), slopes(by_scan)])(), 1e-11)


@pytest.mark.parametrize("cell", ["lstm"])  # whose gradient has a barrier in it
def test_forward_mode_agrees_where_the_body_of_the_rule_is_differentiated(cell: CellKind) -> None:
    """As `dlx gradcheck` does it, of a gradient too; by itself it is refused."""
    x, carry = sequences(cell)
    with jax.enable_x64(True):
        net = layer(cell)
        loss = loss_of(apply, net, RAGGED)
        along = jnp.cos(jnp.arange(x.size, dtype=float)).reshape(x.shape)

        def of_inputs(x: jax.Array) -> jax.Array:
            return loss(nnx.state(net), x, carry)

        def slope(x: jax.Array) -> jax.Array:
            return jnp.vdot(jax.grad(of_inputs)(x), along)

        for function in (of_inputs, slope):
            with pytest.raises(TypeError, match="forward-mode"):
                jax.jvp(function, (x,), (along,))
            forward = jax.jit(lambda x, function=function: jax.jvp(plain(function, x), (x,), (along,))[1])(jnp.asarray(x))
            np.testing.assert_allclose(forward, jnp.vdot(jax.jit(jax.grad(function))(x), along), rtol=1e-11)


def test_gradient_is_the_same_under_checkpoint_and_in_a_loop() -> None:
    x, carry = sequences("gru")
    net = layer("gru", dtype=jnp.float32)
    x, carry = jnp.asarray(x, jnp.float32), jnp.asarray(carry, jnp.float32)
    loss, params = loss_of(apply, net, RAGGED), nnx.state(net)
    slopes = jax.grad(loss)
    once = jax.jit(slopes)(params, x, carry)
    checkpointed = jax.jit(jax.grad(jax.checkpoint(loss)))(params, x, carry)
    looped = jax.jit(lambda p: lax.fori_loop(0, 2, lambda _, total: jax.tree.map(jnp.add, total, slopes(p, x, carry)), p))(
        params
    )
    assert_close(checkpointed, once, 1e-5)
    assert_close(jax.tree.map(lambda a, p: (a - p) / 2, looped, params), once, 1e-4)


# ------------------------------------------------------------------------------------------------------------------- lanes


@pytest.mark.parametrize(
    ("cell", "of_inputs", "of_lengths"), [("simple", None, 0), ("lstm", 0, 0), ("gru", 0, None), ("lstm", None, None)]
)
def test_lanes_agree_with_single_layers(cell: CellKind, of_inputs: int | None, of_lengths: int | None) -> None:
    """Weights differ; inputs and lengths are shared or a lane's own."""
    lanes = 3
    nets = [layer(cell, seed=seed, dtype=jnp.float32) for seed in range(lanes)]
    data = [sequences(cell, seed=seed) for seed in range(lanes)]
    data = [jax.tree.map(lambda each: jnp.asarray(each, jnp.float32), each) for each in data]
    lengths = jnp.stack([jnp.asarray(RAGGED), jnp.asarray([1, 2, 3, 0]), jnp.asarray([20, 0, 4, 16])])

    def slopes(params: Any, x: jax.Array, carry: Any, lengths: jax.Array) -> Any:
        return jax.value_and_grad(loss_of(apply, nets[0], lengths), (0, 1, 2))(params, x, carry)

    def stacked(*each: Any) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    xs = jnp.stack([x for x, _ in data]) if of_inputs == 0 else data[0][0]
    counts = lengths if of_lengths == 0 else lengths[0]
    together = jax.jit(jax.vmap(slopes, (0, of_inputs, 0, of_lengths)))(
        stacked(*map(nnx.state, nets)), xs, stacked(*(carry for _, carry in data)), counts
    )
    single = jax.jit(slopes)
    alone = [
        single(
            nnx.state(nets[lane]),
            data[lane][0] if of_inputs == 0 else data[0][0],
            data[lane][1],
            lengths[lane] if of_lengths == 0 else lengths[0],
        )
        for lane in range(lanes)
    ]
    assert_close(together, stacked(*alone), 2e-5)


@pytest.mark.parametrize("lanes", [False, True])
def test_as_many_steps_are_taken_as_the_longest_example_has(lanes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    forward = Simple.forward

    def counted(self: Simple, x: jax.Array, y: jax.Array, state: Any) -> Any:
        jax.debug.callback(lambda: taken.append(1))
        return forward(self, x, y, state)

    monkeypatch.setattr(Simple, "forward", counted)
    net, x = layer("simple", dtype=jnp.float32), jnp.zeros((B, T, FEATURES))
    lengths = jnp.asarray([[5, 0, 7, 1], [2, 3, 1, 0]])
    call = jax.vmap(net, (None, None, 0)) if lanes else net
    jax.block_until_ready(jax.jit(lambda lengths: call(x, None, lengths))(lengths if lanes else lengths[0]))
    jax.effects_barrier()
    assert len(taken) in ((7, 14) if lanes else (7,))


# ------------------------------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_agrees_with_float32_and_keeps_a_float32_state(cell: CellKind) -> None:
    x, carry = sequences(cell)
    narrow = layer(cell, dtype=jnp.bfloat16)
    wide = layer(cell, dtype=jnp.float32)
    nnx.update(wide, jax.tree.map(lambda p: p.astype(jnp.float32), nnx.state(narrow)))
    x = jnp.asarray(x, jnp.bfloat16)
    carry = jax.tree.map(lambda each: jnp.asarray(each, jnp.float32), carry)

    def both(net: Recurrent, x: jax.Array) -> Any:
        return net(x, carry, jnp.asarray(RAGGED)), jax.grad(loss_of(apply, net, RAGGED), (0, 1))(nnx.state(net), x, carry)

    (outputs, end), slopes = nnx.jit(both)(narrow, x)
    expected = nnx.jit(both)(wide, x.astype(jnp.float32))
    assert outputs.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(end)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(slopes)} == {jnp.dtype("bfloat16")}
    for ours, theirs in zip(jax.tree.leaves(((outputs, end), slopes)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs, atol=0.03 * float(jnp.abs(theirs).max()))


def test_a_bfloat16_bias_gets_the_gradient_of_all_steps() -> None:
    """Each step adds 1, as tanh has slope 1 at 0: summed in bfloat16 they would be 256."""
    net = Recurrent(1, 2, cell="simple", recurrent_init=jax.nn.initializers.zeros, rngs=nnx.Rngs(0))
    graph, params = nnx.split(net)
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    x = jnp.zeros((32, 32, 1), jnp.bfloat16)
    slopes = jax.jit(jax.grad(lambda p, x: nnx.merge(graph, p)(x)[0].sum()))(params, x)
    np.testing.assert_array_equal(nnx.to_pure_dict(slopes)["bias"].astype(jnp.float32), 1024)


@pytest.mark.optimized
def test_a_bfloat16_memory_goes_on_counting() -> None:
    """An open forget gate, and about 1 more at every step: in bfloat16 the sum would stop at 256."""
    net = Recurrent(
        1, 2, cell="lstm", kernel_init=jax.nn.initializers.zeros, recurrent_init=jax.nn.initializers.zeros, rngs=nnx.Rngs(0)
    )
    net.bias[...] = jnp.full(8, 30.0)
    nnx.update(net, jax.tree.map(lambda p: p.astype(jnp.bfloat16), nnx.state(net)))
    _, (memory, _) = net(jnp.zeros((1, 400, 1), jnp.bfloat16))
    np.testing.assert_allclose(memory, 400, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------- the module


@pytest.mark.parametrize(("cell", "blocks"), [("simple", 1), ("lstm", 4), ("gru", 3)])
def test_parameters_and_their_beginning(cell: CellKind, blocks: int) -> None:
    net = Recurrent(FEATURES, H, cell=cell, forget_bias=0.5, rngs=nnx.Rngs(0))
    expected = {"kernel": (FEATURES, blocks * H), "recurrent_kernel": (H, blocks * H), "bias": (blocks * H,)}
    expected |= {"candidate_bias": (H,)} if cell == "gru" else {}
    assert {name: each.shape for name, each in nnx.to_pure_dict(nnx.state(net)).items()} == expected
    for block in np.split(np.asarray(net.recurrent_kernel[...]), blocks, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-6)
    bias = np.zeros(blocks * H)
    bias[H : 2 * H] = 0.5 if cell == "lstm" else 0
    np.testing.assert_array_equal(net.bias[...], bias)


def test_a_program_may_overwrite_the_state_it_begins_with() -> None:
    carry = Recurrent(FEATURES, H, cell="lstm", rngs=nnx.Rngs(0)).initial_carry(B)
    memory, output = jax.jit(lambda carry: jax.tree.map(lambda each: each + 1, carry), donate_argnums=0)(carry)
    np.testing.assert_array_equal(memory, output)


@pytest.mark.parametrize("shape", [(B, FEATURES), (B, T, FEATURES + 1)])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"reads \(examples, steps, 3 features\), not"):
        layer("gru", dtype=jnp.float32)(jnp.zeros(shape))
