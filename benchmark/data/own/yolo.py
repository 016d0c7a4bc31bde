"""YOLO: ``data.yaml`` with the classes and the splits' folders, a text file of labels a picture; boxes and polygons.

A line is ``class x y width height`` with the box's centre, or ``class x1 y1 x2 y2 x3 y3 ...`` for a polygon, as shares
of the picture's sides as it is seen upright (Ultralytics' format).
"""

import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from backbones.errors import UserError
from benchmark.data.own.listing import SPLITS, Listing
from benchmark.data.own.source import NO_SPLIT, Findings, Picture, Source, box_object, polygon_object
from benchmark.data.own.survey import Seen

_ENDINGS = (".yaml", ".yml")
_IMAGES, _LABELS = "images", "labels"
_FAR = 2.0  # shares of a side: beyond, they are none
_FORM = "A line is `class x y width height` or `class x1 y1 x2 y2 x3 y3 ...`, in shares of the picture's sides."


def recognise(listing: Listing) -> str | None:
    """Return the YAML file that names classes and the training pictures, if there is one."""
    return next(iter(_yaml_files(listing)), None)


def pictures(listing: Listing) -> list[str]:
    """Return the pictures that the splits name."""
    _, content = _read_yaml(listing)
    return sorted({file for files in _split_files(listing, content).values() for file in files})


def read(listing: Listing, seen: Mapping[str, Seen], findings: Findings) -> Source:
    """Read every label file.

    Raises:
        UserError: a data.yaml without classes, with other keys, or that names folders that are not there.
    """
    file, content = _read_yaml(listing)
    classes = _class_names(listing, file, content)
    labels = set(listing.ending(".txt"))
    splits: dict[str, list[Picture]] = {}
    used = set()
    for split, files in _split_files(listing, content).items():
        splits[split] = []
        for name in files:
            label_file = _label_file(name)
            picture = Picture(name)
            splits[split].append(picture)
            if label_file not in labels:
                advice = "They are taken to show no object."
                findings.add(split, "pictures without a label file", "warning", advice, [name])
                continue
            used.add(label_file)
            if name in seen:
                width, height = seen[name].size
                picture.objects = _read_labels(listing, label_file, split, len(classes), width, height, findings)
    stray = sorted(label for label in labels - used if f"/{_LABELS}/" in f"/{label}")
    findings.add(NO_SPLIT, "label files without a picture", "warning", "Nothing is read of them.", stray)
    return Source("detector", classes, splits)


def _yaml_files(listing: Listing) -> list[str]:
    found = [file for file in listing.ending(*_ENDINGS) if "/" not in file]
    return [
        file
        for file in found
        if any(line.startswith(b"names") for line in listing.begins(file).splitlines())
        or (b"\nnames" in listing.read(file))
    ]


def _read_yaml(listing: Listing) -> tuple[str, dict[str, Any]]:
    files = _yaml_files(listing)
    if len(files) > 1:
        raise UserError(f"{listing.root}: {' and '.join(files)} both name classes: move one away.")
    try:
        content = yaml.safe_load(listing.read_text(files[0]))
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{listing.root / files[0]} is no YAML: {reason}.") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{listing.root / files[0]}: expected keys (names, train, val), found {type(content).__name__}."
        )
    if "kpt_shape" in content:
        raise UserError(f"{listing.root / files[0]} is of keypoints (kpt_shape): only boxes and polygons are read.")
    return files[0], content


def _class_names(listing: Listing, file: str, content: Mapping[str, Any]) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise UserError(
                f"{listing.root / file}: names are numbered {sorted(map(str, names))[:5]}, expected 0, 1 ..."
            )
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names or any(isinstance(name, (dict, list)) for name in names):
        raise UserError(f"{listing.root / file}: names are no list of classes.")
    classes = [str(name).strip() for name in names]
    if repeated := [name for name in classes if classes.count(name) > 1]:
        raise UserError(f"{listing.root / file}: two classes are called {repeated[0]!r}: give each a name of its own.")
    if (count := content.get("nc")) is not None and count != len(classes):
        raise UserError(f"{listing.root / file}: nc is {count}, and there are {len(classes)} names: correct one.")
    return classes


def _split_files(listing: Listing, content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the pictures of each split, sorted; a picture may be named twice and counts once."""
    base = str(content.get("path") or "")
    splits: dict[str, list[str]] = {}
    for split in SPLITS:
        places = content.get(split, content.get("valid") if split == "val" else None) or []
        places = places if isinstance(places, list) else [places]
        files = {file for place in places for file in _expand(listing, base, str(place), split)}
        if files:
            splits[split] = sorted(files)
    if not splits:
        raise UserError(f"{listing.root}: data.yaml names no folder of pictures: give train: and val: in it.")
    return splits


def _expand(listing: Listing, base: str, place: str, split: str) -> list[str]:
    """Return the pictures of a folder or a list; exports say ``../train/images`` also where it is ``train/images``."""
    for candidate in (
        os.path.join(base, place),
        place,
        place.removeprefix("../"),
        os.path.basename(base) + "/" + place,
    ):
        path = os.path.normpath(candidate)
        if os.path.isabs(path):
            if not path.startswith(f"{listing.root}{os.sep}") and path != str(listing.root):
                continue
            path = os.path.relpath(path, listing.root)
        path = "" if path == "." else path
        if path in listing.files and path.lower().endswith(".txt"):
            lines = [line.strip() for line in listing.read_text(path).splitlines() if line.strip()]
            found = [listing.find(line, "" if os.path.isabs(line) else os.path.dirname(path)) for line in lines]
            if None in found:
                raise UserError(f"{listing.root / path}: {lines[found.index(None)]} is not below the folder.")
            return [file for file in found if file is not None]
        files = [file for file in listing.pictures if file.startswith(f"{path}/" if path else "")]
        if files:
            return files
    if split == "test":
        return []  # nothing is done with it
    raise UserError(
        f"{listing.root}: data.yaml's {split}: {place} holds no pictures below this folder. Correct it, or give "
        "--dataset the folder that holds all splits."
    )


def _label_file(picture: str) -> str:
    """Return the place of a picture's labels: in ``labels`` where the picture is in ``images``, else beside it."""
    parts = list(PurePosixPath(picture).with_suffix(".txt").parts)
    if _IMAGES in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index(_IMAGES)
        parts[last] = _LABELS
    return "/".join(parts)


def _read_labels(
    listing: Listing, file: str, split: str, classes: int, width: int, height: int, findings: Findings
) -> list[dict[str, Any]]:
    lines = listing.read_text(file).splitlines()
    if not any(line.strip() for line in lines):
        findings.add(
            split, "label files that are empty", "warning", "Their pictures are taken to show no object.", [file]
        )
    objects = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{file}:{number}"
        try:
            label, shares = float(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            findings.add(split, "lines of labels that are no numbers", "error", _FORM, [where])
            continue
        if not (len(shares) == 4 or (len(shares) >= 6 and len(shares) % 2 == 0)):
            check = "lines of labels that are neither a box nor a polygon from 3 points"
            findings.add(split, check, "error", _FORM, [f"{where} ({len(shares)} numbers)"])
        elif not (label.is_integer() and 0 <= label < classes):
            advice = f"data.yaml names {classes} classes, 0..{classes - 1}: correct the labels, or the names."
            findings.add(
                split, "labels of a class that data.yaml does not name", "error", advice, [f"{where} ({words[0]})"]
            )
        elif not all(abs(share) <= _FAR for share in shares):
            findings.add(split, "labels that are no shares of the picture's sides", "error", _FORM, [where])
        elif len(shares) == 4:
            x, y, w, h = shares
            box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
            objects.append(box_object(int(label), box, where))
        else:
            points = [share * (height if place % 2 else width) for place, share in enumerate(shares)]
            objects.append(polygon_object(int(label), points, where))
    return objects
