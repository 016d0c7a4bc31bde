"""One CSV file: a row a box or, without boxes, a picture and its class."""

import csv
import math
from collections.abc import Mapping, Sequence
from typing import Any

from backbones.errors import UserError
from benchmark.data.own.listing import Listing, folder_of, split_word
from benchmark.data.own.source import NO_SPLIT, Findings, Kind, Picture, Source, box_object
from benchmark.data.own.survey import Seen

# What a column is for -> what it may be called.
_COLUMNS = {
    "file": ("filename", "file_name", "file", "image_path", "image", "path", "filepath", "img", "image_name"),
    "class": ("class", "label", "class_name", "category", "name"),
    "split": ("split", "set", "subset"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
}
_ENDS = ("xmin", "ymin", "xmax", "ymax")


def recognise(listing: Listing) -> str | None:
    """Return a CSV file with a column of pictures and one of classes, if there is one."""
    return next(iter(_tables(listing)), None)


def read(listing: Listing, seen: Mapping[str, Seen], findings: Findings) -> Source:
    """Read the table; boxes whose ends all lie in 0..1 are shares of the picture's sides.

    Raises:
        UserError: two tables, some but not all columns of a box, a split of another name.
    """
    file, rows, columns = _read_rows(listing)
    boxed = [key for key in _ENDS if key in columns]
    if boxed and len(boxed) < len(_ENDS):
        absent = ", ".join(key for key in _ENDS if key not in columns)
        raise UserError(
            f"{listing.root / file} has the columns {', '.join(boxed)} and not {absent}: a box needs all four."
        )
    kind: Kind = "detector" if boxed else "classifier"
    names = {row["class"] for _, row in rows if row["class"]}
    if not names:
        raise UserError(f"{listing.root / file} names no class.")
    classes = sorted(names)
    labels = {name: label for label, name in enumerate(classes)}
    pictures: dict[str, tuple[str, Picture]] = {}
    shares = bool(boxed) and _all_shares(rows)
    for number, row in rows:
        where = f"{file}:{number}"
        split = _split(listing, file, row, where) if "split" in columns else NO_SPLIT
        path = listing.find(row["file"], folder_of(file))
        if path is None:
            advice = "They are not below the folder: restore them, or take them out of the table."
            findings.add(split, "pictures that are missing", "error", advice, [f"{where} ({row['file']})"])
            continue
        before, picture = pictures.setdefault(path, (split, Picture(path)))
        if before != split:
            raise UserError(f"{listing.root / where}: {row['file']} is in {split}, and in {before} in another row.")
        if not row["class"]:
            if kind == "classifier":
                findings.add(split, "rows without a class", "error", "Fill it in, or remove them.", [where])
            continue
        if kind == "classifier":
            if picture.label not in (None, labels[row["class"]]):
                advice = "A classifier's picture has one: correct the table."
                findings.add(split, "pictures with two classes", "error", advice, [f"{where} ({row['file']})"])
            picture.label = labels[row["class"]]
        elif (box := _box(row)) is None:
            findings.add(split, "rows whose box is no numbers", "error", "Correct them, or remove them.", [where])
        else:
            width, height = seen[path].size if shares and path in seen else (1, 1)
            left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
            picture.objects.append(box_object(labels[row["class"]], (left, top, right - left, bottom - top), where))
    splits: dict[str, list[Picture]] = {}
    for split, picture in pictures.values():
        if kind == "detector" or picture.label is not None:
            splits.setdefault(split, []).append(picture)
    unused = [name for name in listing.pictures if name not in pictures]
    findings.add(NO_SPLIT, "pictures that the table does not name", "warning", "They are left out.", unused)
    return Source(kind, classes, splits)


def _tables(listing: Listing) -> list[str]:
    found = []
    for file in listing.ending(".csv"):
        first = listing.begins(file).decode("utf-8-sig", "replace").splitlines()
        if first and {"file", "class"} <= _columns(_split_line(first[0])).keys():
            found.append(file)
    return found


def _split_line(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)), [])


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Return the place of each column that is known, by what it is for; the first name in ``_COLUMNS`` counts."""
    places = {name.strip().lower(): place for place, name in reversed(list(enumerate(header)))}
    return {
        key: next(places[name] for name in names if name in places)
        for key, names in _COLUMNS.items()
        if any(name in places for name in names)
    }


def _read_rows(listing: Listing) -> tuple[str, list[tuple[int, dict[str, str]]], dict[str, int]]:
    files = _tables(listing)
    if len(files) > 1:
        raise UserError(f"{listing.root}: {files[0]} and {files[1]} are both tables of pictures: put them into one.")
    lines = listing.read_text(files[0]).splitlines()
    columns = _columns(_split_line(lines[0]))
    rows = []
    for number, cells in enumerate(csv.reader(lines[1:], delimiter=_delimiter(lines[0])), 2):
        if any(cell.strip() for cell in cells):
            row = {key: cells[place].strip() if place < len(cells) else "" for key, place in columns.items()}
            rows.append((number, row))
    return files[0], rows, columns


def _split(listing: Listing, file: str, row: Mapping[str, str], where: str) -> str:
    split = split_word(row["split"])
    if split is None:
        raise UserError(f"{listing.root / file}, {where}: expected a split train, val or test, found {row['split']!r}.")
    return split


def _box(row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    try:
        ends = [float(row[key]) for key in _ENDS]
    except ValueError:
        return None
    return (ends[0], ends[1], ends[2], ends[3]) if all(map(math.isfinite, ends)) else None


def _all_shares(rows: Sequence[tuple[int, Mapping[str, str]]]) -> bool:
    ends = [value for _, row in rows if (box := _box(row)) for value in box]
    return bool(ends) and all(0 <= value <= 1 for value in ends)
