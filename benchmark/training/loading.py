"""How fast a config's training data come, whatever the model does with them."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.registry import init_default_scope

from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import config_name, load_options
from benchmark.records.latency import LoaderRate
from benchmark.training.plan import prepare_data
from benchmark.training.registration import register
from benchmark.training.runner import BenchmarkRunner

_SECONDS = 10.0
_FEWEST = 8  # batches
_AHEAD = 2  # batches that a process prepares at once: PyTorch's own number


def measure_loader(options: Options) -> LoaderRate:
    """Take batches of a config's training data as fast as they come, for some ten seconds.

    Raises:
        UserError: whatever is wrong with the config or the data.
    """
    cfg = load_options(options)
    prepare_data(cfg, options, ("train_dataloader",))
    complete_model(cfg)
    register()
    init_default_scope("mmdet")
    loader = BenchmarkRunner.build_dataloader(cfg.train_dataloader, seed=0)
    batches: Iterator[Any] = iter(loader)
    for _ in islice(batches, _AHEAD * max(1, loader.num_workers)):  # what was prepared before the clock started
        pass
    begin, seconds, sizes = time.perf_counter(), 0.0, list[int]()
    while seconds < _SECONDS or len(sizes) < _FEWEST:
        sizes.append(len(next(batches)["data_samples"]))
        seconds = time.perf_counter() - begin
    return LoaderRate(
        config=config_name(cfg), workers=loader.num_workers, batch=sizes[0], images_per_second=sum(sizes) / seconds
    )
