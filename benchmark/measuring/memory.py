"""Peak memory of this process."""

import resource


def peak_memory() -> int:
    """Return this process's peak memory so far in bytes: on the GPU if there is one, else resident."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
