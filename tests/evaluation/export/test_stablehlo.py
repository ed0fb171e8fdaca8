"""StableHLO: what a process without dlx computes, and what the file holds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from dlx.errors import DataError, MissingInputError, RunFailedError
from dlx.evaluation.export import export_run
from dlx.evaluation.export.stablehlo import lowered, refuse_large
from dlx.evaluation.export.traced import Traced, live, own_outputs, random_inputs, trace
from dlx.experiment.restore import Trained

pytest.importorskip("flatbuffers", reason="StableHLO needs flatbuffers: pip install 'dlx[export]'")

NETWORKS = ("linear", "mlp", "convnet", "convnet-layer", "lenet5", "python", "numbers", "labels", "bfloat16")
SIZES = (1, 7, 1000)
RUN = """
import sys
from pathlib import Path

import jax
import numpy as np

for path in sorted(Path.cwd().glob("*.stablehlo")):
    network = jax.export.deserialize(bytearray(path.read_bytes()))
    for inputs in sorted(Path.cwd().glob(f"{path.stem}.*.in.npy")):
        np.save(str(inputs).replace(".in.npy", ".out.npy"), network.call(np.load(inputs)))
assert not {"dlx", "flax", "optax"} & set(sys.modules)
"""


def test_every_network_gives_the_same_logits_in_a_process_that_does_not_import_dlx(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    for name in NETWORKS:
        (tmp_path / f"{name}.stablehlo").write_bytes(export_run(trained(name), "stablehlo").files[""])
        for size in SIZES:
            np.save(tmp_path / f"{name}.{size}.in.npy", random_inputs(trained(name).preparation, size))
    done = subprocess.run([sys.executable, "-c", "import jax.export\n" + RUN], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in NETWORKS:
        for size in SIZES:
            outputs = np.load(tmp_path / f"{name}.{size}.out.npy")
            own = own_outputs(trained(name), np.load(tmp_path / f"{name}.{size}.in.npy"))
            assert outputs.shape == own.shape
            assert np.abs(outputs - own).max() <= 1e-6 * np.abs(own).max(), (name, size)


def test_the_outputs_are_those_of_dlx_predict(trained: Callable[[str], Trained]) -> None:
    network = trained("mlp")
    inputs = random_inputs(network.preparation, 20)
    outputs = np.asarray(export.deserialize(bytearray(export_run(network, "stablehlo").files[""])).call(inputs))
    np.testing.assert_allclose(outputs, network.forward(inputs), atol=1e-6 * np.abs(outputs).max())


def test_it_runs_on_cpu_cuda_and_tpu_and_says_what_goes_in(trained: Callable[[str], Trained]) -> None:
    exported = export.deserialize(bytearray(export_run(trained("convnet"), "stablehlo").files[""]))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert str(exported.in_avals[0]) == "uint8[batch,8,8,1]"
    assert str(exported.out_avals[0]) == "float32[batch,10]"


def test_it_holds_no_path_of_this_machine_and_nothing_of_the_initialization(trained: Callable[[str], Trained]) -> None:
    network = trained("python")
    files = export_run(network, "stablehlo").files
    for content in files.values():
        assert b".py\x00" not in content
        assert str(Path.home()).encode() not in content
        assert str(Path(__file__).parents[3]).encode() not in content
        assert str(network.run.path).encode() not in content
    assert "threefry" not in export.deserialize(bytearray(files[""])).mlir_module()
    assert len(files[""]) < trace(network).nbytes + 40_000


def test_the_setting_that_hides_source_lines_is_put_back(trained: Callable[[str], Trained]) -> None:
    before = jax.config.values["jax_traceback_in_locations_limit"]
    export_run(trained("linear"), "stablehlo")
    assert jax.config.values["jax_traceback_in_locations_limit"] == before != 0


def traced(function: Callable[[jax.Array], jax.Array]) -> Traced:
    inputs = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), 3), jnp.float32)
    return Traced(live(jax.jit(function).trace(inputs).jaxpr), inputs, 0)


def test_a_platform_that_cannot_run_the_network_is_left_out_and_named() -> None:
    def only_on_a_cpu(x: jax.Array) -> jax.Array:
        return x @ jax.lax.linalg.schur(jnp.eye(3) + 1.0)[0]

    exported, notes = lowered(traced(only_on_a_cpu))
    assert "cpu" in exported.platforms
    assert "tpu" not in exported.platforms
    assert any(note.startswith("it does not run on tpu: ") for note in notes)


def test_a_network_that_asks_for_the_batch_size_is_refused_in_a_sentence(
    trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*arguments: object) -> jax.Array:
        x = arguments[-1]
        return x if x.shape[0] > 3 else -x

    monkeypatch.setattr("dlx.engine.predict", predict)
    with pytest.raises(RunFailedError, match=r"cannot be traced for every batch size at once: .*test_stablehlo\.py, line"):
        trace(trained("linear"))


def test_without_flatbuffers_the_command_to_install_it_is_named(
    trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(MissingInputError, match=r"pip install 'dlx\[export\]'"):
        export_run(trained("linear"), "stablehlo")


def test_weights_beyond_two_gibibytes_are_refused() -> None:
    refuse_large(2**30, "a file")
    with pytest.raises(DataError, match=r"the weights are 2\.0 GiB, and a file holds less than 2: use --format safetensors"):
        refuse_large(2**31, "a file")


def test_an_export_that_computes_something_else_is_not_handed_out(
    trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlx.evaluation.export.stablehlo.own_outputs", lambda _, inputs: np.ones((len(inputs), 10)))
    with pytest.raises(RunFailedError, match="computes something else: by JAX its outputs differ by"):
        export_run(trained("linear"), "stablehlo")
