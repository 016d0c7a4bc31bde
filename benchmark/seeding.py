"""Random numbers that depend on the seed and the place in the training alone, so that there is no state to lose.

Every iteration begins with generators seeded by (seed, process, iteration), and every sample is drawn with generators
seeded by (seed, position in the stream of samples). A resumed run needs nothing but the number of its iteration, and
the number of data-loading processes makes no difference.
"""

import itertools
import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner
from torch.utils.data import Sampler

_ITERATIONS, _SAMPLES, _ORDER = range(3)  # streams of random numbers that must not meet


def derive_seed(*place: int) -> int:
    """Return 32 bits that depend on all the numbers."""
    return int(np.random.SeedSequence(place).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators, those of every GPU included."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block with generators seeded on the CPU, and put their state back after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@HOOKS.register_module()
class SeedIterationHook(Hook):
    """Begin every iteration with generators that its number and the process's decide."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all generators."""
        seed_all(derive_seed(_ITERATIONS, runner.seed, runner.rank, runner.iter))


@DATA_SAMPLERS.register_module()
class SampleStream(Sampler):
    """An endless stream of shuffled passes over a data set, dealt out to the processes, with a seed for every sample.

    Any position is reached at once: pass ``n`` is a permutation that the seed and ``n`` alone decide.

    Args:
        dataset: what the indices refer to.
        seed: of the order and of the samples; the same on all processes.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self.seed = sync_random_seed() if seed is None else seed
        self.size = len(dataset)
        self.rank, self.world_size = get_dist_info()
        self.start = 0

    def skip(self, num_samples: int) -> None:
        """Begin after so many samples of this process; MMEngine's loop calls it when resuming."""
        self.start = num_samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (index, seed of the sample)."""
        current, order = -1, torch.empty(0, dtype=torch.long)
        for drawn in itertools.count(self.start):
            position = drawn * self.world_size + self.rank
            number, place = divmod(position, self.size)
            if number != current:
                current, order = number, self._order(number)
            yield int(order[place]), derive_seed(_SAMPLES, self.seed, position)

    def __len__(self) -> int:
        """Return the number of samples in one pass."""
        return self.size

    def _order(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed(_ORDER, self.seed, number))
        return torch.randperm(self.size, generator=generator)
