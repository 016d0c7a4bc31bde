"""The stream of training samples: any position is reached at once, and every sample has its own seed."""

import itertools
from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from benchmark.seeding import ORDER, SAMPLES, derive_seed


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
            yield int(order[place]), derive_seed(SAMPLES, self.seed, position)

    def __len__(self) -> int:
        """Return the number of samples in one pass."""
        return self.size

    def _order(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed(ORDER, self.seed, number))
        return torch.randperm(self.size, generator=generator)
