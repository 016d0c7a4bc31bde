"""Params and multiply-adds of everything: of every backbone as a classifier, and of every config."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from backbones.catalogue import CATALOGUE, list_backbones
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import list_leaves
from benchmark.measuring.complexity import Complexity, classifier_complexity, config_complexity

# Class folders below the data root would decide how many outputs a classifier has.
_NO_DATA = Path(os.devnull)


class Count(TypedDict):
    """Params, and multiply-adds without a mask head's; ``input`` is (N, C, H, W) as ``1x3x224x224``."""

    params: int
    macs: int
    input: str


Counts = Mapping[str, Mapping[str, Count]]


def count_everything() -> dict[str, dict[str, Count]]:
    """Count every backbone, as ImageNet's classifier at its own resolution, and every config, by its name."""
    backbones = {name: classifier_complexity(name, CATALOGUE[name].resolution) for name in list_backbones()}
    configs = {path.stem: _count_config(path) for path in list_leaves()}
    return {
        kind: {name: _count(complexity) for name, complexity in found.items()}
        for kind, found in (("backbones", backbones), ("configs", configs))
    }


def differences(recorded: Counts, found: Counts) -> list[str]:
    """Return a line for every count that two records do not share: its name, and what changed."""
    return [
        f"{name}: {line}"
        for kind in dict.fromkeys((*recorded, *found))
        for name in sorted({**recorded.get(kind, {}), **found.get(kind, {})})
        for line in _changes(recorded.get(kind, {}).get(name), found.get(kind, {}).get(name))
    ]


def model_rows(counts: Counts) -> list[dict[str, str]]:
    """Return one printable row per backbone: params in M / multiply-adds in B, alone and in detectors with a config."""
    return [
        {
            "backbone": name,
            "classifier": _cell(counts["backbones"][name]),
            "at": f"{entry.resolution}x{entry.resolution}",
            "SSDLite": _cell(counts["configs"].get(f"ssdlite_{name}")),
            "Faster R-CNN": _cell(counts["configs"].get(f"faster_rcnn_{name}")),
            "proposed by": entry.paper,
        }
        for name, entry in CATALOGUE.items()
    ]


def _count_config(path: Path) -> Complexity:
    cfg = load_config(path, data_root=_NO_DATA)
    complete_model(cfg)
    return config_complexity(cfg)


def _count(complexity: Complexity) -> Count:
    return {"params": complexity.params, "macs": complexity.macs, "input": "x".join(map(str, complexity.input))}


def _changes(recorded: Count | None, found: Count | None) -> Iterator[str]:
    if recorded is None or found is None:
        yield "is new" if recorded is None else "is gone"
        return
    before: dict[str, object] = {**recorded}
    for key, now in found.items():
        if before[key] != now:
            yield f"{key} were {before[key]}, are {now}"


def _cell(count: Count | None) -> str:
    if count is None:
        return "-"
    return f"{count['params'] / 1e6:.2f} / {count['macs'] / 1e9:#.3g}".removesuffix(".")
