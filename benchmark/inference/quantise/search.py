"""An INT8 file that loses little: all layers at first, then without those that cost most."""

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from backbones.errors import UserError, as_user_errors
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.export.runtime import Arrays
from benchmark.inference.quantise.arithmetic import Arithmetic

GROUPS = 8  # neighbouring layers that are judged together
TRIES = 2  # without the costliest group, and without the two costliest
_JUDGED_ON = 8  # pictures
# Kind of model -> outputs whose places mean the same in every file, by which files are compared. The scores of
# two-stage detectors come sorted.
_SIGNALS = {
    "SSDLite": ("boxes", "scores"),
    "classifier": ("logits",),
    "Faster R-CNN": ("detection_scores",),
    "Mask R-CNN": ("detection_scores",),
}
# Format -> its module here; see ``onnx_int8``.
_MODULES = {"onnx": "onnx_int8", "openvino": "openvino_int8"}


@dataclass(frozen=True)
class Group:
    """Neighbouring layers.

    Attributes:
        first: number of the first layer, from 1.
        layers: their names.
        decibels: signal-to-noise ratio of the outputs with these layers alone quantised; the lower, the costlier.
    """

    first: int
    layers: tuple[str, ...]
    decibels: float = float("nan")

    def __str__(self) -> str:
        last = self.first + len(self.layers) - 1
        return f"{self.first} to {last} ({self.layers[0]} to {self.layers[-1]}, {self.decibels:.0f} dB)"


@dataclass(frozen=True)
class Quantised:
    """What came of it.

    Attributes:
        path: of the file, None where none lost less than was allowed.
        drop: of the figure, in percent; of the best file where none was kept.
        note: how the file was made, or why there is none.
    """

    path: Path | None
    drop: float
    note: str


@dataclass(frozen=True)
class Task:
    """What is quantised.

    Attributes:
        name: of the format.
        source: file in float.
        facts: what must be known of the file.
        pictures: inputs to calibrate on.
        arithmetic: of the processor that it is for.
    """

    name: str
    source: Path
    facts: Mapping[str, Any]
    pictures: Sequence[Arrays]
    arithmetic: Arithmetic


def check_quantisable(name: str) -> None:
    """Check that files of a format can be quantised here.

    Raises:
        UserError: they cannot, at all or for want of packages.
    """
    if name not in _MODULES:
        raise UserError(f"INT8 is made of {' and '.join(_MODULES)} files, not of {name}.")
    module = _module(name)
    if missing := [package for package in module.PACKAGES if importlib.util.find_spec(package) is None]:
        raise UserError(
            f"INT8 of {FORMATS[name].title} files needs {', '.join(missing)}, not installed here: "
            f"pip install 'rexnet-benchmark[{module.EXTRA}]'."
        )


def quantisable() -> list[str]:
    """Return the formats whose files can be quantised."""
    return list(_MODULES)


def quantise(task: Task, folder: Path, measure: Callable[[Path], float], most: float) -> Quantised:
    """Make INT8 files until one loses less than is allowed, and return what came of it.

    Args:
        task: what is quantised.
        folder: for the files.
        measure: returns by how much a file's figure is below that of the file in float, in percent.
        most: the drop that is too much.

    Raises:
        UserError: whatever the quantiser says.
    """
    module = _module(task.name)
    with as_user_errors(f"Quantising {task.source.name}"):
        prepared = module.prepare(task.source, folder)
        layers, outside = module.layers(prepared)
        how = f"{task.arithmetic.title}: {module.describe(task.arithmetic)}; {len(task.pictures)} training pictures"
        make = partial(module.quantise, prepared, task.pictures, facts=task.facts, arithmetic=task.arithmetic)
        whole = folder / f"int8_0{FORMATS[task.name].ending}"
        make(out=whole, floats=set(outside))
        drop = measure(whole)
        if drop < most:
            return Quantised(whole, drop, how)
        groups = rank_groups(task, prepared, folder)
        drops = [drop]
        for count in range(1, TRIES + 1):
            chosen = groups[:count]
            out = folder / f"int8_{count}{FORMATS[task.name].ending}"
            make(out=out, floats={*outside, *(layer for group in chosen for layer in group.layers)})
            drops.append(measure(out))
            told = " and ".join(map(str, chosen))
            if drops[-1] < most:
                return Quantised(out, drops[-1], f"{how}; {drop:.1f} lost by all layers, so in float: {told}")
    costly = " and ".join(map(str, groups[:TRIES]))
    return Quantised(
        None,
        min(drops),
        f"not kept: {drop:.1f} lost by all of {len(layers)} layers, {min(drops[1:]):.1f} without the costliest, "
        f"layers {costly}; {most:g} is too much",
    )


def rank_groups(task: Task, prepared: Path, folder: Path) -> list[Group]:
    """Return the network's layers in groups, the costliest first.

    The cost is judged on pictures to calibrate on, by the noise in the outputs with one group quantised at a time.
    """
    module, row = _module(task.name), FORMATS[task.name]
    layers, outside = module.layers(prepared)
    load, pictures = row.load_module().load, task.pictures[:_JUDGED_ON]
    expected = [load(task.source, None)(picture) for picture in pictures]
    ranked = []
    for group in split_layers(layers):
        out = folder / f"group_{group.first}{row.ending}"
        floats = {*outside, *layers}.difference(group.layers)
        module.quantise(prepared, pictures, out, task.facts, arithmetic=task.arithmetic, floats=floats)
        run = load(out, None)
        found = [run(picture) for picture in pictures]
        for part in row.files(out):
            part.unlink()
        ranked.append(dataclasses.replace(group, decibels=_decibels(found, expected, _SIGNALS[task.facts["kind"]])))
    return sorted(ranked, key=lambda group: group.decibels)


def split_layers(layers: Sequence[str]) -> list[Group]:
    """Return layers as ``GROUPS`` groups of neighbours, of nearly equal numbers."""
    parts = [part for part in np.array_split(np.arange(len(layers)), GROUPS) if len(part)]
    return [Group(int(part[0]) + 1, tuple(layers[place] for place in part)) for part in parts]


def _decibels(found: Sequence[Arrays], expected: Sequence[Arrays], names: Sequence[str]) -> float:
    """Return the lowest signal-to-noise ratio of some outputs, over pictures."""
    ratios = []
    for name in names:
        signal = sum(float(np.square(each[name]).sum()) for each in expected)
        noise = sum(
            float(np.square(ours[name] - theirs[name]).sum()) for ours, theirs in zip(found, expected, strict=True)
        )
        ratios.append(10 * np.log10(signal / noise) if noise else np.inf)
    return float(min(ratios))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmark.inference.quantise.{_MODULES[name]}")
