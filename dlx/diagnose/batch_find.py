"""The largest batch that fits, by what the compiler says each train program needs. No step is taken, so none can crash.

The memory of a program is nearly a straight line in the batch size: what does not depend on it (weights, optimizer, data), and so
much for each example. Two small programs give the line, the line a candidate, and compiling the candidate the truth; a
few more tries close in on the size above which it no longer fits.
"""

import math
from collections.abc import Callable, Generator, Iterator

import jax

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset
from dlx.errors import ConfigError, DeviceMemoryError
from dlx.events import BatchFound, BatchTried, Compiled, Compiling
from dlx.experiment.assemble import assemble, load_data, plan_for, resolve
from dlx.experiment.session import device_failure

SECOND = 32
"""The second size that is tried, as a multiple of the first: far enough for a slope."""
MOST_TRIES = 20
"""Then the largest size that was seen to fit is the answer."""
NEAR = 0.01
"""A size within this part of one that does not fit is near enough: closing in further would only cost compilations."""

Search = Generator[int, float, None]


def find_batch(config: Experiment, memory: float | None = None) -> Iterator[Compiling | Compiled | BatchTried | BatchFound]:
    """Compiles the train program for batch sizes until the largest that fits into `memory` bytes is known; ends with `BatchFound`.

    Without `memory` it is what this machine's device has. `train.batch_size` of the config does not matter.
    Raises `ConfigError` when the config fits the data with no batch size, and whatever the user's own model raises.
    """
    engine.configure()
    if config.optimizer.kind == "lbfgs":
        raise ConfigError("optimizer lbfgs needs train.batch_size=full: there is no other size to find")
    dataset = load_data(config)
    resolved = resolve(config, dataset)
    least, largest, why = allowed_sizes(resolved, dataset)
    there = device_memory() if memory is None else memory
    tried: dict[int, BatchTried] = {}
    search = sizes_to_try(least, largest, there)
    size, resident = next(search), False
    while True:
        yield Compiling(f"train for batch size {size:,}")
        needed, resident = _train_program(sized(resolved, size), dataset)
        yield Compiled(f"train for batch size {size:,}")
        tried[size] = BatchTried(size, needed, needed <= there)
        yield tried[size]
        try:
            size = search.send(needed)
        except StopIteration:
            break
    best = max((size for size, found in tried.items() if found.fits), default=None)
    by_size = tuple(tried[size] for size in sorted(tried))
    yield BatchFound(best, largest, why, by_size, there, engine.describe_device(), resident)


def sizes_to_try(least: int, largest: int, there: float) -> Search:
    """Yields the batch size to try next and is sent the bytes that it needs, until the largest that fits into `there` is known.

    Ends when a size that fits is `largest`, or next (within `NEAR`) to one that is known not to fit.
    """
    needs = {least: (yield least)}
    if needs[least] > there:
        return
    size, between = float(SECOND * least), math.inf
    while len(needs) < MOST_TRIES:
        fits = max(size for size, needed in needs.items() if needed <= there)
        beyond = min((size for size in needs if size > fits), default=largest + 1)
        known = beyond in needs
        if fits == largest or (known and beyond - fits <= max(1, NEAR * beyond)):
            return
        before, between = between, math.log(beyond / fits)
        if len(needs) > 1:
            # Where the curve is bent, the line creeps along from one side: then the middle of what is left, in doublings.
            creeps = len(needs) > 4 and known and between > 0.6 * before
            size = math.sqrt(fits * beyond) if creeps else _on_the_line(needs, fits, there)
        # Not so near to what is known that little is learned.
        lowest, highest = fits + max(1, int(NEAR * fits)), beyond - max(1, int(NEAR * beyond)) if known else largest
        chosen = (fits + beyond) // 2 if lowest > highest else int(min(max(size, lowest), highest))
        needs[chosen] = yield chosen


def allowed_sizes(config: Experiment, dataset: Dataset) -> tuple[int, int, str]:
    """The smallest and the largest batch size that the config can have on its data, and a sentence on the limit to the largest.

    Nothing is traced. Raises `ConfigError` when no size will do.
    """
    examples = len(dataset.train)

    def refusal(size: int) -> ConfigError | None:
        try:
            plan_for(sized(config, size), dataset)
        except ConfigError as error:
            return error
        return None

    powers = [2**power for power in range(examples.bit_length())]
    least = next((size for size in powers if refusal(size) is None), None)
    if least is None:
        raise refusal(powers[-1]) or ConfigError("the training part has no examples")
    if refusal(examples) is None:
        return least, examples, "the whole training part"
    largest = _last(lambda size: refusal(size) is None, least, examples)
    return least, largest, f"above it: {refusal(largest + 1)}"


def sized(config: Experiment, batch: int) -> Experiment:
    """The experiment with another batch size."""
    return config.model_copy(update={"train": config.train.model_copy(update={"batch_size": batch})})


def device_memory() -> float:
    """The bytes that a single run may need. The cores of a CPU are devices that share its memory, and one run has it alone."""
    share = engine.memory_limit()
    return share * jax.local_device_count() if jax.default_backend() == "cpu" else share


def _train_program(config: Experiment, dataset: Dataset) -> tuple[float, bool]:
    """What the train program needs, and whether the data lies on the device.

    A compiler that tries kernels out, as the one for GPUs does, can itself run out of memory: then it is infinite.
    """
    program = assemble([config], dataset).program
    try:
        needed = float(program.memory_bytes())
    except jax.errors.JaxRuntimeError as error:
        failure = device_failure(error)
        if not isinstance(failure, DeviceMemoryError):
            raise failure from error
        needed = math.inf
    return needed, program.feed.resident is not None


def _on_the_line(needs: dict[int, float], fits: int, there: float) -> float:
    """Where a straight line reaches the limit: from the largest that fits to the next that does not, or through the largest two.

    Infinite where the line does not rise.
    """
    beyond = [size for size in needs if size > fits]
    low, high = (fits, min(beyond)) if beyond else sorted(needs)[-2:]
    if math.isinf(needs[high]):
        return math.sqrt(low * high)
    slope = (needs[high] - needs[low]) / (high - low)
    return low + (there - needs[low]) / slope if slope > 0 else math.inf


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last size for which it holds, between one for which it does and a larger one for which it does not."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
