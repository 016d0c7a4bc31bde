"""One split of a data set: is it there, whole, and what the config takes it for?"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import ConfigDict

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.console import SHOWN, listed
from benchmark.data.annotations import REMEDY, read_annotations
from benchmark.data.layouts import check_layout
from benchmark.preflight.annotations import Annotations, check_annotations, check_masks
from benchmark.preflight.files import Pictures, Size, check_decoding, check_pictures, check_sample, missing_files
from benchmark.preflight.rows import Outcome, Row, found_row, printable


class Depth(IntEnum):
    """How far a check goes: what a run does by itself, all but decoding the pictures, or all."""

    QUICK = 0
    FULL = 1
    DECODE = 2


@dataclass(frozen=True)
class Use:
    """What a split is for.

    Attributes:
        training: it is trained on; else it is evaluated.
        trial: a training is about to begin that will evaluate it: some of its pictures are decoded.
        masks: its masks are used.
        images: how many images the whole split has; None where nothing says.
    """

    training: bool
    trial: bool = False
    masks: bool = False
    images: int | None = None


@dataclass(frozen=True)
class Split:
    """What a split holds.

    Attributes:
        images: number of images.
        usable: how many of them can be trained on, or evaluated.
        sha256: of its annotations, as its data set has it.
    """

    name: str
    images: int
    usable: int
    classes: tuple[str, ...]
    pictures: Pictures
    sha256: str


Rows = Generator[Row, None, Split | None]  # nothing is returned for a split that cannot be read


def check_split(dataset: ConfigDict, use: Use, depth: Depth) -> Rows:
    """Check a split as a config describes it, a row per check, and return what it holds.

    Raises:
        UserError: a type of data set that is not ours.
    """
    if dataset.get("type") not in _CHECKS:
        raise UserError(f"Data sets of type {dataset.get('type')!r} are unknown; known: {', '.join(_CHECKS)}.")
    return _CHECKS[dataset.type](dataset, use, depth)


def _check_coco(dataset: ConfigDict, use: Use, depth: Depth) -> Rows:
    root = Path(dataset.data_root)
    path, folder = root / dataset.ann_file, root / dataset.data_prefix.img
    name = path.stem.removeprefix("instances_")
    try:
        if not root.is_dir():
            raise UserError(f"Data folder not found: {root.absolute()}. {REMEDY}")
        found = Annotations(read_annotations(path))
    except UserError as error:
        yield Row(name, "annotation file", "error", None, (), str(error))
        return None
    classes = tuple(dataset.metainfo.classes)
    yield from check_annotations(found, name, path, training=use.training)
    yield _check_classes(name, path, found.column("categories", "name"), classes)
    if use.masks or (depth > Depth.QUICK and any(found.column("annotations", "segmentation"))):
        yield from check_masks(found, name, path, needed=use.masks)
    usable = yield from _check_images(name, path, found, use, dataset.get("filter_cfg") or {})
    names, sizes = found.column("images", "file_name"), list(map(tuple, found.sizes.tolist()))
    del found  # millions of numbers
    by_name = dict(zip(names, sizes, strict=True))
    pictures = yield from _check_files(name, folder, list(by_name), use, depth, by_name)
    return Split(name, len(names), usable, classes, pictures, file_sha256(path))


def _check_fine_grained(dataset: ConfigDict, use: Use, depth: Depth) -> Rows:
    root, name = Path(dataset.data_root), dataset.split
    try:
        check_layout(dataset.name, root)
        from benchmark.data.finegrained import read_split  # torchvision's readers take PyTorch with them

        found = read_split(dataset.name, root, name, allow_partial=dataset.allow_partial, real=dataset.get("real"))
    except UserError as error:
        yield Row(name, "label files", "error", None, (), str(error))
        return None
    yield _content(name, root, f"{len(found.samples)} images, {len(found.classes)} classes", len(found.samples))
    if found.partial:
        yield _partial(name, root, len(found.samples))
    names = [str(Path(path).relative_to(root)) for path, _ in found.samples]
    pictures = yield from _check_files(name, root, names, use, depth)
    return Split(name, len(names), len(names), found.classes, pictures, found.sha256(root))


_CHECKS: Mapping[str, Callable[[ConfigDict, Use, Depth], Rows]] = {
    "CocoDetection": _check_coco,
    "FineGrainedDataset": _check_fine_grained,
}


def _check_classes(split: str, path: Path, found: Sequence[str], expected: Sequence[str]) -> Row:
    """Compare a file's categories with the config's classes: names and order."""
    check = "classes that are not the config's"
    if list(found) == list(expected):
        return Row(split, check, "ok", 0)
    absent = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    differences = [
        f"{label} {listed([*map(printable, names)])}"
        for label, names in (("only in the config:", absent), ("only in the file:", extra))
        if names
    ] or ["the same names in another order"]
    message = (
        f"The config's {len(expected)} classes are not the {len(found)} categories of {path}: "
        f"{'; '.join(differences)}. Labels would shift silently: set the data sets' metainfo.classes to the file's "
        "names in its order."
    )
    count = sum(a != b for a, b in zip_longest(found, expected))
    return Row(split, check, "error", count, tuple(differences), message)


def _check_images(
    split: str, path: Path, found: Annotations, use: Use, filter_cfg: Mapping[str, Any]
) -> Generator[Row, None, int]:
    """Count the images, and those that MMDetection's filter leaves to train on, which are returned."""
    images, smallest = len(found.sizes), filter_cfg.get("min_size", 0)
    with_objects = np.bincount(found.image[found.image >= 0], minlength=images) > 0
    large = found.sizes.min(axis=1) >= smallest
    used = np.ones(images, bool)
    if use.training:
        used = large & (with_objects | (not filter_cfg.get("filter_empty_gt", False)))
    if use.training and smallest:
        outcome = Outcome("warning", "They are left out of training.")
        examples = (found.describe("images", int(place)) for place in np.flatnonzero(~large))
        yield found_row(split, f"images with a side under {smallest} px", outcome, path, int((~large).sum()), examples)
    text = (
        f"{images} images ({images - int(with_objects.sum())} without an object), "
        f"{len(found.entries['categories'])} classes, {len(found.boxes)} objects"
    )
    yield _content(split, path, text, int(used.sum()))
    if use.images not in (None, images):
        yield _partial(split, path, images, use.images)
    return int(used.sum())


def _content(split: str, where: Path, text: str, usable: int) -> Row:
    check = "images to use"
    if usable:
        return Row(split, check, "ok", usable, (text,))
    return Row(split, check, "error", 0, (text,), f"{where}: no image can be used, of {text}.")


def _partial(split: str, where: Path, found: int, whole: int | None = None) -> Row:
    message = f"{where}: {found} images{f' of {whole}' if whole else ''}; results are marked as partial."
    return Row(split, "images of the whole split", "warning", found, (), message)


def _check_files(
    split: str, folder: Path, names: Sequence[str], use: Use, depth: Depth, sizes: Mapping[str, Size] | None = None
) -> Generator[Row, None, Pictures]:
    """Check the image files, and return those that are there."""
    if not folder.is_dir():
        message = f"Image folder not found: {folder.absolute()}. {REMEDY}"
        yield Row(split, "image folder", "error", None, (), message)
        return Pictures(folder, [])
    missing = missing_files(folder, names)
    yield _missing(split, folder, missing, len(names))
    absent = set(missing)
    present = [name for name in names if name not in absent]
    pictures = Pictures(folder, present, [sizes[name] for name in present] if sizes is not None else None)
    if depth > Depth.QUICK:
        yield from check_pictures(pictures, split, training=use.training, decode=depth == Depth.DECODE)
    elif sizes is not None:
        yield from check_sample(pictures, split)
    if depth == Depth.QUICK and use.trial:
        yield check_decoding(pictures, split)
    return pictures


def _missing(split: str, folder: Path, missing: Sequence[str], of: int) -> Row:
    check = "image files that are missing"
    if not missing:
        return Row(split, check, "ok", 0)
    first = listed([*map(printable, missing)])
    message = f"{len(missing)} of {of} image files are missing in {folder.absolute()}; the first: {first}."
    return Row(split, check, "error", len(missing), tuple(map(printable, missing[:SHOWN])), message)
