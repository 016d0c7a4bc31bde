"""Random numbers that depend on the seed and the place in the training alone, so that there is no state to lose.

Every iteration begins with generators seeded by (seed, process, iteration), and every sample is drawn with generators
seeded by (seed, position in the stream of samples). A resumed run needs nothing but the number of its iteration, and
the number of data-loading processes makes no difference.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

ITERATIONS, SAMPLES, ORDER = range(3)  # streams of random numbers that must not meet


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
