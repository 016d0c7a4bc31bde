"""The layouts that are recognised: one row each. To add one: a module with its functions, and its row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from backbones.errors import UserError
from benchmark.data.own import coco, folders, table, voc, yolo
from benchmark.data.own.listing import Listing
from benchmark.data.own.source import Findings, Source
from benchmark.data.own.survey import Seen


@dataclass(frozen=True)
class Format:
    """A layout.

    Attributes:
        title: its name.
        looks: how it looks, for messages.
        recognise: returns a file that tells that a folder has this layout, or None.
        read: reads it, given what was seen of the pictures that can be read.
        pictures: returns the pictures that may belong to it; by default all.
        unless: where any other layout is recognised this one is not looked for.
    """

    title: str
    looks: str
    recognise: Callable[[Listing], str | None]
    read: Callable[[Listing, Mapping[str, Seen], Findings], Source]
    pictures: Callable[[Listing], list[str]] = attrgetter("pictures")
    unless: bool = False


FORMATS = (
    Format("COCO", "COCO's JSON", coco.recognise, coco.read),
    Format("YOLO", "YOLO's data.yaml with labels/*.txt", yolo.recognise, yolo.read, yolo.pictures),
    Format("Pascal VOC", "Pascal VOC's XML files", voc.recognise, voc.read),
    Format("CSV", "one CSV with columns filename and class", table.recognise, table.read),
    Format(
        "class folders",
        "a folder of pictures a class",
        folders.recognise,
        folders.read,
        folders.pictures,
        unless=True,
    ),
)


def recognise(listing: Listing) -> Format:
    """Return the layout of a folder.

    Raises:
        UserError: none, or several.
    """
    told = {row: file for row in FORMATS if not row.unless and (file := row.recognise(listing))}
    told = told or {row: file for row in FORMATS if row.unless and (file := row.recognise(listing))}
    if len(told) > 1:
        found = " and ".join(f"{row.title} ({file})" for row, file in told.items())
        raise UserError(f"{listing.root} holds more than one layout: {found}. Move all but one out of the folder.")
    if not told:
        expected = ", ".join(row.looks for row in FORMATS)
        hint = ""
        if any("/labels/" in f"/{file}" for file in listing.ending(".txt")):
            hint = " Its labels/*.txt look like YOLO's, which need a data.yaml with the names of the classes."
        raise UserError(
            f"{listing.root}: no layout is recognised among {len(listing.files)} files, {len(listing.pictures)} of "
            f"them pictures; expected {expected}.{hint}"
        )
    return next(iter(told))
