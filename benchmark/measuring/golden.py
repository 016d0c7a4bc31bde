"""Params and multiply-adds of every backbone as a classifier, with its entry's facts, and of every config."""

import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import timm

from backbones.catalogue import CATALOGUE, family_of, list_backbones
from backbones.entry import Entry, Published
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import list_leaves
from benchmark.measuring.complexity import Complexity, classifier_complexity, config_complexity
from benchmark.records.models import Count, Model, Printed

# Class folders below the data root would decide how many outputs a classifier has.
_NO_DATA = Path(os.devnull)


Counts = Mapping[str, Mapping[str, Mapping[str, Any]]]


def count_everything() -> dict[str, dict[str, Model | Count]]:
    """Count every backbone and every config, by its name."""
    return {"backbones": {name: count_backbone(name) for name in list_backbones()}, "configs": count_configs()}


def count_backbone(name: str) -> Model:
    """Count a backbone as ImageNet's classifier at its own resolution."""
    return model(name, _count(classifier_complexity(name, CATALOGUE[name].resolution)))


def count_configs() -> dict[str, Count]:
    """Count every leaf of configs/, by its name."""
    return {path.stem: _count(_count_config(path)) for path in list_leaves()}


def differences(recorded: Counts, found: Counts) -> list[str]:
    """Return a line for every count that two records do not share: its name, and what changed."""
    return [
        f"{name}: {line}"
        for kind in dict.fromkeys((*recorded, *found))
        for name in sorted({**recorded.get(kind, {}), **found.get(kind, {})})
        for line in _changes(recorded.get(kind, {}).get(name), found.get(kind, {}).get(name))
    ]


def model_rows(counts: Counts, names: Container[str]) -> list[dict[str, str]]:
    """Return one printable row per named backbone: params in M / multiply-adds in B, alone and in detectors."""
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
        if name in names
    ]


def model(name: str, count: Count) -> Model:
    """Return what is recorded of a backbone: its count, and what its entry says."""
    entry = CATALOGUE[name]
    weights = _weights(entry)
    return {
        **count,
        "family": family_of(name),
        "fused": entry.fuse is not None,
        "paper": entry.paper,
        "published": _printed(entry.published) if entry.published else None,
        "weights": weights,
        "licence": entry.licence if weights else None,
        "channels": list(entry.channels) if entry.channels else None,
        "taps": [list(tap) for tap in entry.ssdlite] if entry.ssdlite else None,
        "why_not": entry.why_not or None,
    }


def _printed(published: Published) -> Printed:
    return {
        "params": published.params,
        "multiply_adds": published.macs,
        "source": published.source,
        "note": published.note,
    }


def _weights(entry: Entry) -> str | None:
    """Return where ``load_pretrained`` takes ImageNet weights from."""
    if entry.package:
        return f"package {entry.package[0]}"
    if entry.timm and (record := timm.get_pretrained_cfg(entry.timm)) and record.has_weights:
        return f"timm {entry.timm}"
    return entry.url


def _count_config(path: Path) -> Complexity:
    cfg = load_config(path, data_root=_NO_DATA)
    complete_model(cfg)
    return config_complexity(cfg)


def _count(complexity: Complexity) -> Count:
    return {"params": complexity.params, "macs": complexity.macs, "input": "x".join(map(str, complexity.input))}


def _changes(recorded: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> Iterator[str]:
    if recorded is None or found is None:
        yield "is new" if recorded is None else "is gone"
        return
    for key in found:
        if recorded.get(key) != found[key]:
            yield f"{key} were {recorded.get(key)}, are {found[key]}"


def _cell(count: Mapping[str, Any] | None) -> str:
    if count is None:
        return "-"
    return f"{count['params'] / 1e6:.2f} / {count['macs'] / 1e9:#.3g}".removesuffix(".")
