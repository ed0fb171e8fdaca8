"""Which devices, and how the lanes of one program lie on them. Nobody else in dlx knows.

On a CPU every core is a JAX device, so that `shard_map` puts the lanes of a cohort on all cores (a single run still uses
all of them: XLA's thread pool is shared). Lanes of dense nets run side by side under `vmap`. A convolution under `vmap` is
a grouped convolution, which XLA:CPU runs as a loop and whose lanes are not bitwise independent: those nets take one lane
after the other (`lax.map`). Measured in the project's notes.
"""

import contextlib
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dlx.places import cache_folder

CACHE_BYTES = 2 * 1024**3
"""The compilation cache is kept below this; the entries used longest ago go first."""


def configure() -> None:
    """Sets up JAX for this process: one CPU device per core, and the persistent compilation cache.

    Settings that the user made (`JAX_COMPILATION_CACHE_DIR`, `XLA_FLAGS`) stand. Does nothing that fails when JAX has
    already started, as in a notebook: lanes then lie on the devices that there are.
    """
    if not gc.isenabled():  # the process of a command has imported what it needs, and none of that is ever garbage
        gc.freeze()
        gc.enable()
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    if jax.__version_info__ < (0, 11):
        # YNNPACK fusions of jaxlib 0.10 are slower for convolutions and were wrong for some reductions (jax#39103).
        flags = os.environ.get("XLA_FLAGS", "")
        if "ynn_fusion" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_experimental_ynn_fusion_type=".strip()
    if jax.config.values.get("jax_compilation_cache_dir") is None:
        folder = cache_folder("xla")
        _prune(folder, CACHE_BYTES)
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:
        return  # the backend runs already


@dataclass(frozen=True)
class Placement:
    """How `lanes` lanes lie on `devices` devices; each device holds `lanes // devices` of them, arranged by `within`."""

    lanes: int
    devices: int
    within: Literal["single", "vmap", "map"]

    @property
    def mesh(self) -> Mesh:
        """The devices, along one axis called `lanes`."""
        return jax.make_mesh((self.devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=jax.devices()[: self.devices])

    @property
    def replicated(self) -> NamedSharding:
        """Where what all lanes share (the data) lies."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def laned(self) -> NamedSharding:
        """Where arrays with a leading lane axis (K, ...) lie."""
        return NamedSharding(self.mesh, PartitionSpec("lanes"))

    def spread(self, one_lane: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """From a function of (one lane's arguments, shared arguments) to one of (all lanes' arguments, shared ones).

        Every leaf of the first argument and of the result has a leading lane axis (K, ...).
        """
        match self.within:
            case "single":

                def local(laned: Any, shared: Any) -> Any:
                    out = one_lane(jax.tree.map(lambda x: x[0], laned), shared)
                    return jax.tree.map(lambda x: x[None], out)
            case "vmap":
                local = jax.vmap(one_lane, in_axes=(0, None))
            case "map":

                def local(laned: Any, shared: Any) -> Any:
                    return jax.lax.map(lambda lane: one_lane(lane, shared), laned)

        if self.devices == 1:
            return local
        lanes, everywhere = PartitionSpec("lanes"), PartitionSpec()
        return jax.shard_map(local, mesh=self.mesh, in_specs=(lanes, everywhere), out_specs=lanes, check_vma=False)


def lanes_for(count: int) -> int:
    """The lanes of the smallest program that holds so many."""
    return 1 << (count - 1).bit_length()


def choose_placement(lanes: int, convolves: Callable[[], bool]) -> Placement:
    """Places a power of two of lanes. `convolves` tells whether the program convolves; asked only where it matters."""
    devices = max(d for d in range(1, min(lanes, jax.local_device_count()) + 1) if lanes % d == 0)
    if lanes == devices:
        return Placement(lanes, devices, "single")
    return Placement(lanes, devices, "map" if jax.default_backend() == "cpu" and convolves() else "vmap")


def has_convolution(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function's jaxpr holds a convolution at any depth; the arguments may be shapes."""
    return _searches(jax.make_jaxpr(function)(*arguments).jaxpr, "conv_general_dilated")


def _prune(folder: Path, limit: int) -> None:
    """Deletes the compiled programs used longest ago until the folder is below the limit (in bytes).

    JAX can do this too, but only with a file lock around every access.
    """
    files = []
    for file in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process prunes too
            status = file.stat()
            files.append((status.st_atime, status.st_size, file))
    excess = sum(size for _, size, _ in files) - limit
    for _, size, file in sorted(files):
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= size


def _searches(jaxpr: Any, primitive: str) -> bool:
    return any(
        equation.primitive.name == primitive or any(_searches(sub, primitive) for sub in jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )


def devices(per_core: int, per_accelerator: int) -> int:
    """A number for all local devices, from one for each core of a CPU or one for each GPU or TPU."""
    return jax.local_device_count() * (per_core if jax.default_backend() == "cpu" else per_accelerator)


def memory_limit() -> float:
    """The bytes that one device's part of a program may need: what an accelerator has, or a core's share of the host's memory."""
    stats = [device.memory_stats() or {} for device in jax.local_devices() if device.platform != "cpu"]
    if stats and all("bytes_limit" in each for each in stats):
        return float(min(each["bytes_limit"] for each in stats))
    return 0.9 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / jax.local_device_count()


def data_fits(bytes_needed: int) -> bool:
    """Whether the whole data set may live on the device: at most 40 % of its memory."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return bytes_needed <= 0.4 * stats["bytes_limit"]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return bytes_needed <= 0.2 * pages  # the host's own copy is there too


def describe_device() -> str:
    """The device in words, such as `cpu (2 cores)` or `1 x NVIDIA H200`."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return f"cpu ({len(devices)} core{'s' if len(devices) > 1 else ''})"
    return f"{len(devices)} x {devices[0].device_kind}"


def host(tree: Any) -> Any:
    """The tree's arrays in host memory, as NumPy copies that survive donation of their buffers."""
    return jax.tree.map(lambda x: np.array(x, copy=True), tree)
