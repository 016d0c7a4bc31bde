"""COCO's JSON, one file for all pictures or one a split, wherever its pictures lie below the folder."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from backbones.errors import UserError
from benchmark.data.annotations import read_annotations
from benchmark.data.own.listing import Listing, best_folder, folder_of, split_of
from benchmark.data.own.source import NO_SPLIT, Findings, Picture, Source, polygon_area
from benchmark.data.own.survey import Seen

_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"licenses"')
_OFFICIAL = "instances_"  # beside captions and keypoints of the same pictures
_TRIED = 50  # names by which the pictures' folder is found
_DANGLING = "Remove them, or restore what they refer to."


def recognise(listing: Listing) -> str | None:
    """Return a JSON file that begins as COCO's do, if there is one."""
    return next(iter(_annotation_files(listing)), None)


def read(listing: Listing, seen: Mapping[str, Seen], findings: Findings) -> Source:
    """Read every annotation file.

    Raises:
        UserError: a file that is none, two of one split, splits with different classes.
    """
    files: dict[str, str] = {}
    for file in _annotation_files(listing):
        split = split_of(file) or NO_SPLIT
        if split in files:
            raise UserError(
                f"{listing.root}: {files[split]} and {file} are both annotations of "
                f"{'one split' if split != NO_SPLIT else 'pictures of no split'}: name the splits in their names "
                "(train, val, test), or move one away."
            )
        files[split] = file
    if NO_SPLIT in files and len(files) > 1:
        raise UserError(
            f"{listing.root}: {files[NO_SPLIT]} names no split and others do ({', '.join(files.keys() - {NO_SPLIT})}): "
            "rename it after its split, or move it away."
        )
    contents = {split: read_annotations(listing.root / file) for split, file in files.items()}
    names = {
        split: _class_names(listing, files[split], content, findings, split) for split, content in contents.items()
    }
    first = next(iter(names))
    for split, own in names.items():
        if set(own.values()) != set(names[first].values()):
            missing = sorted(set(own.values()) ^ set(names[first].values()))
            raise UserError(
                f"{listing.root}: {files[first]} and {files[split]} have different classes; only in one of them: "
                f"{', '.join(missing[:3])}. Export all splits with the same list."
            )
    used = {entry.get("category_id") for content in contents.values() for entry in _objects(content)}
    classes, ids = [], []
    parents = {
        category.get("supercategory") for category in contents[first]["categories"] if isinstance(category, dict)
    }
    for number, name in names[first].items():
        if number not in used and name in parents:  # as an export's root of the tree of classes
            advice = "It has no box and others name it as their parent: it is left out."
            findings.add(first, "classes that only group others", "warning", advice, [name])
        else:
            classes.append(name)
            ids.append(number)
    labels = {name: label for label, name in enumerate(classes)}
    splits = {
        split: _read_split(listing, files[split], split, content, _by_id(names[split], labels), findings)
        for split, content in contents.items()
    }
    return Source("detector", classes, splits, ids if _are_ids(ids) else None)


def _annotation_files(listing: Listing) -> list[str]:
    found = []
    for file in listing.ending(".json"):
        beginning = listing.begins(file).lstrip()
        if beginning.startswith(b"{") and any(key in beginning for key in _KEYS):
            found.append(file)
    official = [file for file in found if PurePosixPath(file).name.startswith(_OFFICIAL)]
    return official or found


def _objects(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in content["annotations"] if isinstance(entry, dict)]


def _class_names(
    listing: Listing, file: str, content: Mapping[str, Any], findings: Findings, split: str
) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for number, category in enumerate(content["categories"]):
        ok = isinstance(category, dict) and isinstance(category.get("name"), str) and "id" in category
        if not ok or isinstance(category["id"], (list, dict)):
            raise UserError(f"{listing.root / file}: categories[{number}] has no name or no id.")
        name = category["name"].strip()
        if name in names.values():
            raise UserError(f"{listing.root / file}: two categories are called {name!r}: give each a name of its own.")
        names[category["id"]] = name
    if not names:
        raise UserError(f"{listing.root / file} has no categories.")
    return names


def _by_id(names: Mapping[Any, str], labels: Mapping[str, int]) -> dict[Any, int]:
    return {number: labels[name] for number, name in names.items() if name in labels}


def _are_ids(values: Sequence[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values) and len(set(values)) == len(values)


def _read_split(
    listing: Listing,
    file: str,
    split: str,
    content: Mapping[str, Any],
    labels: Mapping[Any, int],
    findings: Findings,
) -> list[Picture]:
    images = [image for image in content["images"] if isinstance(image, dict)]
    named = [image["file_name"] for image in images if isinstance(image.get("file_name"), str)]
    near = folder_of(file)
    beside = [name for name in named[:_TRIED] if f"{near}/{name}".lstrip("/") in listing.files]
    folder = near if beside else best_folder(listing, named[:_TRIED], split)
    numbered = _are_ids([image.get("id") for image in images])
    by_id: dict[Any, Picture] = {}
    for number, image in enumerate(images):
        name = image.get("file_name")
        path = listing.find(name, folder) if isinstance(name, str) else None
        if path is None:
            advice = "They are not below the folder: restore them, or take them out of the annotations."
            findings.add(split, "pictures that are missing", "error", advice, [str(name)])
            path = ""
        size = (image.get("width"), image.get("height"))
        annotated = size if all(type(side) is int and side > 0 for side in size) else None
        key = image.get("id")
        if isinstance(key, (list, dict)) or key in by_id:
            raise UserError(f"{listing.root / file}: images[{number}] has no id of its own.")
        by_id[key] = Picture(path, id=key if numbered else None, size=annotated)  # type: ignore[arg-type]
    for number, entry in enumerate(content["annotations"]):
        where = f"{file} annotations[{number}]"
        picture, label = (_look_up(entry, by_id, "image_id"), _look_up(entry, labels, "category_id"))
        if picture is None:
            findings.add(split, "annotations without their picture", "error", _DANGLING, [where])
        elif label is None:
            findings.add(split, "annotations without their class", "error", _DANGLING, [where])
        else:
            picture.objects.append(_object(entry, label, f"{file} annotations[{number}]"))
    return [picture for picture in by_id.values() if picture.file]


def _look_up(entry: Any, known: Mapping[Any, Any], key: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    return None if isinstance(value, (list, dict)) else known.get(value)


def _object(entry: Mapping[str, Any], label: int, source: str) -> dict[str, Any]:
    """Return an annotation with what exports leave out: box and area from the mask, ``iscrowd``."""
    mask, box = entry.get("segmentation"), entry.get("bbox")
    found: dict[str, Any] = {"label": label, "iscrowd": entry.get("iscrowd", 0), "source": source}
    polygons = mask if isinstance(mask, list) and mask and all(map(_is_polygon, mask)) else []
    if box is None and polygons:
        x, y = ([value for points in polygons for value in points[axis::2]] for axis in (0, 1))
        box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
    found["bbox"] = box
    found["area"] = entry.get("area")
    if found["area"] is None and polygons:
        found["area"] = sum(map(polygon_area, polygons))
    elif found["area"] is None and isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)):
        found["area"] = box[2] * box[3]
    if mask:
        found["segmentation"] = mask
    return found


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_polygon(points: Any) -> bool:
    return isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0 and all(map(_is_number, points))
