"""The zoo as it is recorded: cost, papers' figures, weights and maps of every backbone. Imports neither torch nor timm.

``dev/golden.py complexity`` writes the record from the catalogue, and a test holds it against that.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from backbones.entry import describe_licence
from backbones.errors import UserError, did_you_mean

RECORD = Path(__file__).parents[2] / "tests" / "golden" / "complexity.json"


class Count(TypedDict):
    """Params, and multiply-adds without a mask head's; ``input`` is (N, C, H, W) as ``1x3x224x224``."""

    params: int
    macs: int
    input: str


class Printed(TypedDict):
    """What a paper states of a network: params in millions, multiply-adds in billions, where, and why ours differ."""

    params: float | None
    multiply_adds: float | None
    source: str
    note: str


class Model(Count):
    """A backbone: its count as ImageNet's classifier, and what its entry says.

    Attributes:
        family: file of ``backbones/families``.
        fused: counted with re-parameterised branches merged.
        paper: who proposed it.
        published: as its paper states it.
        weights: where ImageNet weights come from; None where none are known.
        licence: of these.
        channels: of C1..C5, 0 for a map that it does not have; None for a network that cannot feed a detector.
        taps: SSDLite's modules and their channels, likewise.
        why_not: why it cannot.
    """

    family: str
    fused: bool
    paper: str
    published: Printed | None
    weights: str | None
    licence: str | None
    channels: list[int] | None
    taps: list[list[str | int]] | None
    why_not: str | None


def read_models(path: Path = RECORD) -> dict[str, Model]:
    """Return the recorded backbones by name."""
    return json.loads(path.read_text(encoding="utf-8"))["backbones"]


def select_models(
    models: Mapping[str, Model], *, family: str | None = None, max_params: float | None = None, detector: bool = False
) -> dict[str, Model]:
    """Return the models of a family, of at most so many million params, that can feed a detector.

    Raises:
        UserError: no such family, or no model is left.
    """
    families = list(dict.fromkeys(model["family"] for model in models.values()))
    if family is not None and family not in families:
        raise UserError(f"No family {family!r}.{did_you_mean(family, families)} Known: {', '.join(families)}.")
    found = {
        name: model
        for name, model in models.items()
        if family in (None, model["family"])
        and (max_params is None or model["params"] <= max_params * 1e6)
        and not (detector and model["why_not"])
    }
    if not found:
        raise UserError(f"None of {len(models)} models fits: the smallest of all has {_smallest(models):.2f}M params.")
    return found


def models_json(models: Mapping[str, Model]) -> list[dict[str, Any]]:
    """Return one object per model: params in millions, multiply-adds in billions."""
    return [
        {
            "name": name,
            "family": model["family"],
            "params": model["params"] / 1e6,
            "multiply_adds": model["macs"] / 1e9,
            **{key: value for key, value in model.items() if key not in ("family", "params", "macs")},
        }
        for name, model in models.items()
    ]


def model_table(models: Mapping[str, Model]) -> list[dict[str, str]]:
    """Return one printable row per model: ours, its paper's figures with their source, weights, maps."""
    return [
        {
            "backbone": f"{name} (branches merged)" if model["fused"] else name,
            "family": model["family"],
            "params (M)": f"{model['params'] / 1e6:.2f}",
            "multiply-adds (B)": f"{model['macs'] / 1e9:#.3g}".removesuffix("."),
            "input": model["input"].partition("x3x")[2],
            "published": _published(model["published"]),
            "ImageNet weights": _weights(model),
            "C1 to C5": "none" if model["channels"] is None else " ".join(map(str, model["channels"])),
        }
        for name, model in models.items()
    ]


def model_notes(models: Mapping[str, Model]) -> list[str]:
    """Return why models cannot feed a detector, and why counts differ from their papers'."""
    unfit = {name: model["why_not"] for name, model in models.items() if model["why_not"]}
    printed = {name: model["published"] for name, model in models.items() if model["published"]}
    return [
        *(f"{name} cannot feed a detector: {reason}." for name, reason in unfit.items()),
        *(f"{name} differs: {own['note']}." for name, own in printed.items() if own["note"]),
    ]


def source_table(models: Mapping[str, Model]) -> list[dict[str, str]]:
    """Return one printable row per model: its paper, and where published figures are read."""
    return [
        {
            "backbone": name,
            "proposed by": model["paper"],
            "published figures": model["published"]["source"] if model["published"] else "-",
        }
        for name, model in models.items()
    ]


def _smallest(models: Mapping[str, Model]) -> float:
    return min(model["params"] for model in models.values()) / 1e6


def _published(printed: Printed | None) -> str:
    if printed is None:
        return "-"
    figures = (printed["params"], "M"), (printed["multiply_adds"], "B")
    return ", ".join(f"{figure:g}{unit}" for figure, unit in figures if figure is not None)


def _weights(model: Model) -> str:
    if model["weights"] is None:
        return "-"
    return f"{model['weights']} ({describe_licence(model['licence'])})"
