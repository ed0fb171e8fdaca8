"""Errors planted in a user's network are found, and the same network without them passes."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from dlx.config import Experiment, load_experiment
from dlx.data import Dataset
from dlx.data.arrays import Arrays, from_arrays
from dlx.diagnose.gradcheck import GradCheck, GradientsFound, LeafFound, check_gradients
from dlx.errors import ConfigError, RunFailedError

NET = """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx
    from jax.lax import stop_gradient

    def custom(forward, backward):
        \"""`forward(*x)` with the gradient `backward(x, g)`.\"""
        function = jax.custom_vjp(forward)
        function.defvjp(lambda *x: (forward(*x), x), backward)
        return function

    class Net(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs):
            self.hidden = nnx.Linear(in_features, 4, rngs=rngs)
            self.middle = nnx.Linear(4, 4, rngs=rngs)
            self.output = nnx.Linear(4, out_features, rngs=rngs)
            self.rngs = rngs.dropout.fork()

        def __call__(self, x):
            x = jnp.tanh(self.hidden(x))
            return self.output(layer(x, self.middle.kernel[...], self.middle.bias[...], self.rngs()))
"""
HIDDEN = ("hidden/kernel", "hidden/bias", "inputs")
MIDDLE = ("middle/kernel", "middle/bias")
OUTPUT = ("output/kernel", "output/bias")


@dataclass(frozen=True)
class Planted:
    """An error in the middle layer: `code` is wrong with `wrong` in place of ERROR, and right with `right`."""

    name: str
    code: str
    wrong: str
    right: str
    leaves: tuple[str, ...]
    """Those whose gradients are wrong, and no others."""
    why: str = ""
    """What is said of them all."""
    rule: bool = True
    """Whether it is a `custom_vjp`, which forward mode sets aside. A `stop_gradient` stops forward mode too."""


PLANTED = [
    Planted(
        "wrong sign",
        """
        tanh = custom(jnp.tanh, lambda x, g: (ERROR,))

        def layer(x, kernel, bias, key):
            return tanh(x @ kernel + bias)
        """,
        "-g * (1 - jnp.tanh(x[0]) ** 2)",
        "g * (1 - jnp.tanh(x[0]) ** 2)",
        (*MIDDLE, *HIDDEN),
        "-1 times what it should be",
    ),
    Planted(
        "missing factor",
        """
        square = custom(jnp.square, lambda x, g: (ERROR,))

        def layer(x, kernel, bias, key):
            return square(x @ kernel + bias)
        """,
        "g * x[0]",
        "2 * g * x[0]",
        (*MIDDLE, *HIDDEN),
        "0.5 times what it should be",
    ),
    Planted(
        "transposed weight",
        """
        matmul = custom(jnp.matmul, lambda x, g: (g @ ERROR, x[0].T @ g))

        def layer(x, kernel, bias, key):
            return matmul(x, kernel) + bias
        """,
        "x[1]",
        "x[1].T",
        HIDDEN,
        "it points elsewhere",
    ),
    Planted(
        "forgotten bias",
        """
        affine = custom(lambda x, w, b: x @ w + b, lambda x, g: (g @ x[1].T, x[0].T @ g, ERROR))

        def layer(x, kernel, bias, key):
            return affine(x, kernel, bias)
        """,
        "jnp.zeros_like(x[2])",
        "g.sum(0)",
        ("middle/bias",),
        "it is zero, but the loss depends on it: detached (stop_gradient), or forgotten in a backward pass",
    ),
    Planted(
        "wrong axis in a mean",
        """
        center = custom(lambda x: x - x.mean(1, keepdims=True), lambda x, g: (g - g.mean(ERROR, keepdims=True),))

        def layer(x, kernel, bias, key):
            return center(x @ kernel + bias)
        """,
        "0",
        "1",
        (*MIDDLE, *HIDDEN),
        "it",
    ),
    Planted(
        "stop_gradient in the wrong place",
        """
        def layer(x, kernel, bias, key):
            x = x @ kernel + bias
            largest = x.max(1, keepdims=True)  # so that the exponential cannot overflow
            return x - largest - jnp.log(jnp.exp(ERROR).sum(1, keepdims=True))
        """,
        "stop_gradient(x - largest)",
        "x - stop_gradient(largest) + stop_gradient(largest) - largest",
        (*MIDDLE, *HIDDEN),
        rule=False,
    ),
    Planted(
        "wrong dropout scale in the backward pass",
        """
        drop = custom(lambda x, kept: x * kept / 0.75, lambda x, g: (ERROR, jnp.zeros_like(g)))

        def layer(x, kernel, bias, key):
            x = x @ kernel + bias
            return drop(x, jax.random.bernoulli(key, 0.75, x.shape).astype(x.dtype))
        """,
        "g * x[1]",
        "g * x[1] / 0.75",
        (*MIDDLE, *HIDDEN),
        "0.75 times what it should be",
    ),
    Planted(
        "batch-norm statistics not differentiated",
        """
        def layer(x, kernel, bias, key):
            x = x @ kernel
            mean, std = ERROR
            return (x - mean) / std + bias
        """,
        "stop_gradient((x.mean(0), x.std(0)))",
        "x.mean(0), x.std(0)",
        ("middle/kernel", *HIDDEN),
        rule=False,
    ),
    Planted(
        "off-by-one padding in a convolution's backward pass",
        """
        def convolve(x, kernel, before, after):
            return jax.lax.conv_general_dilated(x, kernel, (1,), [(before, after)], dimension_numbers=("NWC", "WIO", "NWC"))

        def backward(x, g):
            (of_kernel,) = jax.vjp(lambda kernel: convolve(x[0], kernel, 1, 1), x[1])[1](g)
            return convolve(g, x[1][::-1].transpose(0, 2, 1), ERROR), of_kernel

        convolution = custom(lambda x, kernel: convolve(x, kernel, 1, 1), backward)

        def layer(x, kernel, bias, key):
            return convolution(x[:, :, None], kernel[:3, None, :1])[:, :, 0] + bias
        """,
        "2, 0",
        "1, 1",
        HIDDEN,
        "it points elsewhere",
    ),
    Planted(
        "ReLU derivative at the wrong argument",
        """
        def backward(x, g):
            g = g * (ERROR > 0)
            return g @ x[1].T, x[0].T @ g, g.sum(0)

        relu = custom(lambda x, w, b: jax.nn.relu(x @ w + b), backward)

        def layer(x, kernel, bias, key):
            return relu(x, kernel, bias)
        """,
        "x[0] @ x[1]",
        "x[0] @ x[1] + x[2]",
        (*MIDDLE, *HIDDEN),
        "beside the initial parameters; at them it is right",
    ),
    Planted(
        "double softmax",
        """
        log_softmax = custom(lambda x: jax.nn.log_softmax(x), lambda x, g: (g - ERROR * g.sum(1, keepdims=True),))

        def layer(x, kernel, bias, key):
            return log_softmax(x @ kernel + bias)
        """,
        "jax.nn.softmax(jax.nn.softmax(x[0]))",
        "jax.nn.softmax(x[0])",
        (*MIDDLE, *HIDDEN),
        "it",
    ),
    Planted(
        "detached branch",
        """
        def layer(x, kernel, bias, key):
            return x + ERROR(jnp.tanh(x @ kernel + bias))
        """,
        "stop_gradient",
        "",
        (*MIDDLE, *HIDDEN),
        rule=False,
    ),
]


def planted(folder: Path, code: str, net: str = NET) -> tuple[Experiment, Dataset]:
    """An experiment with a network of the user's own, and its data: 16 rows of 3 numbers, of which 2 are to be predicted."""
    (folder / "net.py").write_text(dedent(net) + dedent(code))
    config = load_experiment(
        {
            "task": {"kind": "regress"},
            "data": {"kind": "npz", "path": "given", "validation": 0, "test": 0},
            "model": {"kind": "python", "target": f"{folder}/net.py:Net"},
            "train": {"batch_size": "full"},
        }
    )
    generator = np.random.Generator(np.random.Philox(3))
    rows = generator.normal(size=(16, 3)), generator.normal(size=(16, 2))
    return config, from_arrays(Arrays("given", rows), config.data, "number")


def checked(experiment: tuple[Experiment, Dataset], **settings: Any) -> GradientsFound:
    events = check_gradients(*experiment, GradCheck(directions=3, **settings))
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def leaves(found: GradientsFound) -> dict[str, LeafFound]:
    """Of the first mode."""
    return {leaf.name: leaf for leaf in found.modes[0].leaves}


def wrong(found: GradientsFound) -> set[str]:
    return {leaf.name for mode in found.modes for leaf in mode.leaves if leaf.reading.verdict == "wrong"}


@pytest.mark.parametrize("error", PLANTED, ids=lambda error: error.name)
def test_a_planted_error_is_found_in_the_leaves_that_it_spoils(error: Planted, tmp_path: Path) -> None:
    found = checked(planted(tmp_path, error.code.replace("ERROR", error.wrong)))
    assert not found.ok
    assert wrong(found) == set(error.leaves)
    for name in error.leaves:
        assert error.why in leaves(found)[name].reading.why, name
    assert found.modes[0].forward is not None
    assert (found.modes[0].forward > found.modes[0].tolerance) == error.rule


@pytest.mark.parametrize("error", PLANTED, ids=lambda error: error.name)
def test_without_the_error_every_leaf_is_right(error: Planted, tmp_path: Path) -> None:
    found = checked(planted(tmp_path, error.code.replace("ERROR", error.right)))
    assert found.ok
    assert {name: leaf.reading.verdict for name, leaf in leaves(found).items() if name != "middle/kernel"} == dict.fromkeys(
        (*HIDDEN, "middle/bias", *OUTPUT), "right"
    )


def test_a_parameter_that_is_not_used_has_no_gradient_and_that_is_right(tmp_path: Path) -> None:
    found = checked(planted(tmp_path, "def layer(x, kernel, bias, key): return jnp.tanh(x @ kernel)"))
    assert found.ok
    assert leaves(found)["middle/bias"].reading.verdict == "zero"
    assert "does not depend on it" in leaves(found)["middle/bias"].reading.why
    assert {leaves(found)[name].reading.verdict for name in (*HIDDEN, *OUTPUT)} == {"right"}


def test_a_kink_is_told_from_an_error_and_is_right_beside(tmp_path: Path) -> None:
    """Inputs exactly where a ReLU without a bias has no slope: JAX's 0 is as good as any other."""
    config, dataset = planted(
        tmp_path,
        """
        class Net(nnx.Module):
            def __init__(self, in_features, out_features, *, rngs):
                self.output = nnx.Linear(in_features, out_features, rngs=rngs)

            def __call__(self, x):
                return self.output(nnx.relu(x))
        """,
    )
    dataset.train.inputs[:, 0] = dataset.scaling.mean[0]
    found = checked((config, dataset))
    assert found.ok
    assert leaves(found)["inputs"].reading.verdict == "kink"
    assert "a little beside the initial parameters it is right" in leaves(found)["inputs"].reading.why


def test_a_rounding_that_is_passed_straight_through_is_wrong_and_the_way_to_declare_it_is_told(tmp_path: Path) -> None:
    found = checked(
        planted(
            tmp_path,
            """
            def layer(x, kernel, bias, key):
                x = x @ kernel + bias
                return x + stop_gradient(jnp.round(x) - x)
            """,
        )
    )
    assert not found.ok
    assert wrong(found) == {*MIDDLE, *HIDDEN}
    for name in wrong(found):
        assert "something is rounded or compared on the way" in leaves(found)[name].reading.why
        assert "dlx.nn.straight_through" in leaves(found)[name].reading.why


@pytest.mark.parametrize(("rule", "right"), [("2 * g * x[0]", True), ("g * x[0]", False)])
def test_a_declared_estimator_is_right_and_an_error_before_it_still_is_found(rule: str, right: bool, tmp_path: Path) -> None:
    found = checked(
        planted(
            tmp_path,
            f"""
            import dlx.nn

            square = custom(jnp.square, lambda x, g: ({rule},))

            def layer(x, kernel, bias, key):
                return dlx.nn.straight_through(square(x @ kernel + bias), jnp.round)
            """,
        )
    )
    assert found.modes[0].estimators == 1
    assert found.ok == right
    assert wrong(found) == (set() if right else {*MIDDLE, *HIDDEN})


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        ("np.random.normal(size=x.shape)", "traced twice"),
        (
            "jax.pure_callback(lambda: np.float32(np.random.normal(size=4)), jax.ShapeDtypeStruct((4,), np.float32))",
            "two runs of one program",
        ),
    ],
    ids=["at trace time", "in a callback"],
)
def test_a_loss_that_is_drawn_anew_each_time_is_not_right(draw: str, said: str, tmp_path: Path) -> None:
    found = checked(planted(tmp_path, f"def layer(x, kernel, bias, key): return x @ kernel + bias + {draw}"))
    assert not found.ok
    assert said in found.modes[0].apart_said


@pytest.mark.optimized
def test_a_network_that_computes_in_float32_by_itself_is_right_as_far_as_that_can_tell(tmp_path: Path) -> None:
    found = checked(
        planted(
            tmp_path,
            """
            class Net(nnx.Module):
                def __init__(self, in_features, out_features, *, rngs):
                    self.hidden = nnx.Linear(in_features, 8, dtype=jnp.float32, rngs=rngs)
                    self.output = nnx.Linear(8, out_features, dtype=jnp.float32, rngs=rngs)

                def __call__(self, x):
                    return self.output(jnp.tanh(self.hidden(x.astype(jnp.float32))))
            """,
        )
    )
    assert found.ok
    assert {leaf.reading.verdict for leaf in leaves(found).values()} <= {"right", "undecidable"}


@pytest.mark.optimized
def test_in_float32_by_itself_a_missing_factor_is_still_found(tmp_path: Path) -> None:
    code = """
        square = custom(jnp.square, lambda x, g: (g * x[0],))

        def layer(x, kernel, bias, key):
            x, kernel, bias = (each.astype(jnp.float32) for each in (x, kernel, bias))
            return square(x @ kernel + bias)
    """
    found = checked(planted(tmp_path, code))
    assert not found.ok
    assert set(MIDDLE) <= wrong(found)


def test_a_gradient_that_is_not_a_number_is_wrong_where_the_loss_is_one(tmp_path: Path) -> None:
    """The norm of a bias of zeros: its root has an infinite slope at 0."""
    found = checked(planted(tmp_path, "def layer(x, kernel, bias, key): return x @ kernel + jnp.sqrt(jnp.sum(bias**2))"))
    assert not found.ok
    assert wrong(found) == {"middle/bias"}
    assert "not finite" in leaves(found)["middle/bias"].reading.why


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        ("def layer(x, kernel, bias, key): return jnp.log(x @ kernel - 1e9)", RunFailedError, "the loss is nan"),
        ("def layer(x, kernel, bias, key): raise KeyError('no such layer')", RunFailedError, "model Net raised KeyError"),
        (
            "def layer(x, kernel, bias, key): return x[:-1]",
            ConfigError,
            r"turns \(8, 3\) into \(7, 2\); this data needs \(8, 2\)",
        ),
        (
            """
            class Net(nnx.Module):
                def __init__(self, in_features, out_features, *, rngs):
                    pass

                def __call__(self, x):
                    return x[:, :2]
            """,
            ConfigError,
            "has no parameters",
        ),
    ],
    ids=["loss", "raises", "shape", "nothing"],
)
def test_what_has_no_gradient_to_check_is_a_sentence(code: str, error: type[Exception], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=sentence) as caught:
        checked(planted(tmp_path, code))
    assert "\n" not in str(caught.value)


SECOND = """
    cube = custom(lambda x: x**3 / 6, lambda x, g: (slope(x[0]) * g,))
    slope = custom(lambda x: x**2 / 2, lambda x, g: (ERROR,))

    def layer(x, kernel, bias, key):
        return cube(x @ kernel + bias)
"""


@pytest.mark.parametrize(("order", "of_slope", "right"), [(1, "g", True), (2, "g", False), (2, "g * x[0]", True)])
def test_an_error_in_the_second_derivative_alone_is_found_with_order_2(
    order: int, of_slope: str, right: bool, tmp_path: Path
) -> None:
    found = checked(planted(tmp_path, SECOND.replace("ERROR", of_slope)), order=order)
    assert found.ok == right
    assert bool(wrong(found)) != right


@pytest.mark.optimized
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("part", ["right", "wrong"])
def test_a_missing_factor_is_found_in_the_numbers_of_training(dtype: str, part: str, tmp_path: Path) -> None:
    factor = next(error for error in PLANTED if error.name == "missing factor")
    found = checked(planted(tmp_path, factor.code.replace("ERROR", vars(factor)[part])), dtype=dtype)
    assert found.ok == (part == "right")
    assert (set(MIDDLE) <= wrong(found)) == (part == "wrong")


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("excess", [0.0, 0.01])
def test_one_wrong_number_of_a_large_kernel_is_found(full: bool, excess: float, tmp_path: Path) -> None:
    """1 % too much at one of 1,200 places."""
    found = checked(
        planted(
            tmp_path,
            f"""
            matmul = custom(jnp.matmul, lambda x, g: (g @ x[1].T, (x[0].T @ g).at[17, 5].multiply(1 + {excess})))

            class Net(nnx.Module):
                def __init__(self, in_features, out_features, *, rngs):
                    self.first = nnx.Linear(in_features, 30, rngs=rngs)
                    self.large = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (30, 40)))
                    self.output = nnx.Linear(40, out_features, rngs=rngs)

                def __call__(self, x):
                    return self.output(jnp.tanh(matmul(jnp.tanh(self.first(x)), self.large[...])))
            """,
        ),
        full=full,
    )
    assert found.ok == (excess == 0)
    assert wrong(found) == ({"large"} if excess else set())


def test_a_rule_may_refer_to_what_was_traced_with_it(tmp_path: Path) -> None:
    found = checked(
        planted(
            tmp_path,
            """
            class Net(nnx.Module):
                def __init__(self, in_features, out_features, *, rngs):
                    self.out = nnx.Linear(in_features, out_features, rngs=rngs)
                    kept = jax.random.bernoulli(rngs.other(), 0.5, (out_features,))  # an array of the same trace
                    self.masked = jax.custom_vjp(lambda y: y * kept)
                    self.masked.defvjp(lambda y: (y * kept, None), lambda _, g: (g * kept,))

                def __call__(self, x):
                    return self.masked(self.out(x)) + self.out(x)
            """,
        )
    )
    assert found.ok
    assert {leaf.reading.verdict for leaf in leaves(found).values()} == {"right"}
