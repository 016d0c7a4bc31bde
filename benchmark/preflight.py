"""What can be wrong with the data is found before a model is built; imports no MMDetection, and for COCO no torch."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from mmengine.config import Config, ConfigDict

from benchmark.config import DATALOADERS
from benchmark.errors import UserError
from benchmark.finegrained.layouts import check_layout

_SHOWN = 3
_SECTIONS = ("images", "annotations", "categories")
_REMEDY = "Give --data-root DIR or set DATA_ROOT to where the data lie; --demo needs none."


@dataclass(frozen=True)
class Found:
    """What a checked split holds."""

    split: str
    images: int
    classes: tuple[str, ...]


def check_data(cfg: Config, loaders: Sequence[str] = DATALOADERS) -> list[Found]:
    """Check the data sets of a config: folders, label files, class names, image files.

    Raises:
        UserError: the first thing that is wrong.
    """
    found = [_CHECKS[cfg[name].dataset.type](cfg[name].dataset) for name in loaders]
    for split in found:
        if split.classes != found[0].classes:
            raise UserError(
                f"The splits {found[0].split} and {split.split} below {cfg.data_root} have different classes: labels "
                "would shift silently. Unpack the data set again."
            )
        classes = cfg.get("model", {}).get("num_classes", len(split.classes))
        if classes != len(split.classes):
            raise UserError(
                f"The config's model has {classes} classes, but {cfg.dataset_name} has {len(split.classes)}: "
                "set model.num_classes to that."
            )
    return found


def check_coco(root: Path, annotations: Path, images: Path, classes: Sequence[str]) -> int:
    """Check one split in COCO's layout against the class names of a config; return its number of images.

    Raises:
        UserError: the first thing that is wrong.
    """
    if not root.is_dir():
        raise UserError(f"Data folder not found: {root.absolute()}. {_REMEDY}")
    content = read_annotations(annotations)
    _check_classes(annotations, [category["name"] for category in content["categories"]], classes)
    _check_files(images, [image["file_name"] for image in content["images"]])
    return len(content["images"])


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO annotation file.

    Raises:
        UserError: missing, truncated, or without one of COCO's sections.
    """
    if not path.is_file():
        raise UserError(f"Annotation file not found: {path.absolute()}. {_REMEDY}")
    try:
        content = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); was its download cut off? Fetch it again.") from error
    missing = [name for name in _SECTIONS if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise UserError(f"{path} is not a COCO annotation file: it has no list {', '.join(map(repr, missing))}.")
    return content


def _check_classes(path: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    if list(found) == list(expected):
        return
    absent = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    differences = [
        f"{label} {', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
        for label, names in (("only in the config:", absent), ("only in the file:", extra))
        if names
    ] or ["the same names in another order"]
    raise UserError(
        f"The config's {len(expected)} classes are not the {len(found)} categories of {path}: "
        f"{'; '.join(differences)}. Labels would shift silently: set the data sets' metainfo.classes to the file's "
        "names in its order."
    )


def _check_files(folder: Path, names: Sequence[str]) -> None:
    if not folder.is_dir():
        raise UserError(f"Image folder not found: {folder.absolute()}. {_REMEDY}")
    # One listing a folder: asking for each of 118 000 files takes minutes on a network disk.
    folders = {Path(name).parent for name in names}
    present = {
        str(sub / entry.name) for sub in folders if (folder / sub).is_dir() for entry in os.scandir(folder / sub)
    }
    missing = [name for name in names if str(Path(name)) not in present]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(names)} image files are missing in {folder.absolute()}; "
            f"the first: {', '.join(missing[:_SHOWN])}."
        )


def _check_coco_detection(dataset: ConfigDict) -> Found:
    root = Path(dataset.data_root)
    annotations = root / dataset.ann_file
    images = check_coco(root, annotations, root / dataset.data_prefix.img, dataset.metainfo.classes)
    return Found(annotations.stem, images, tuple(dataset.metainfo.classes))


def _check_fine_grained(dataset: ConfigDict) -> Found:
    root = Path(dataset.data_root)
    check_layout(dataset.name, root)
    from benchmark.finegrained.datasets import read_split  # torchvision's readers take PyTorch with them

    found = read_split(dataset.name, root, dataset.split, allow_partial=dataset.allow_partial)
    _check_files(root, [str(Path(path).relative_to(root)) for path, _ in found.samples])
    return Found(dataset.split, len(found.samples), found.classes)


_CHECKS: dict[str, Callable[[ConfigDict], Found]] = {
    "CocoDetection": _check_coco_detection,
    "FineGrainedDataset": _check_fine_grained,
}
