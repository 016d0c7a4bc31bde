"""What can be wrong with the data is found before a model is built; imports neither torch nor MMDetection."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from mmengine.config import Config

from benchmark.config import DATALOADERS
from benchmark.errors import UserError

_SHOWN = 3
_SECTIONS = ("images", "annotations", "categories")
_REMEDY = "Give --data-root DIR or set DATA_ROOT to where the data lie; --demo needs none."


def check_data(cfg: Config, loaders: Sequence[str] = DATALOADERS) -> None:
    """Check the data sets of a config: folders, annotation file, class names, image files.

    Raises:
        UserError: the first thing that is wrong.
    """
    for name in loaders:
        dataset = cfg[name].dataset
        check_coco(
            Path(dataset.data_root),
            Path(dataset.data_root) / dataset.ann_file,
            Path(dataset.data_root) / dataset.data_prefix.img,
            dataset.metainfo.classes,
        )


def check_coco(root: Path, annotations: Path, images: Path, classes: Sequence[str]) -> None:
    """Check one split in COCO's layout against the class names of a config.

    Raises:
        UserError: the first thing that is wrong.
    """
    if not root.is_dir():
        raise UserError(f"Data folder not found: {root.absolute()}. {_REMEDY}")
    content = read_annotations(annotations)
    _check_classes(annotations, [category["name"] for category in content["categories"]], classes)
    _check_files(images, [image["file_name"] for image in content["images"]])


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
