"""A folder of pictures a class, for classifiers: ``<split>/<class>/`` or ``<class>/``."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from backbones.errors import UserError
from benchmark.data.own.listing import Listing, split_word
from benchmark.data.own.source import NO_SPLIT, Findings, Picture, Source
from benchmark.data.own.survey import Seen


def recognise(listing: Listing) -> str | None:
    """Return a picture that lies in the folder of a class, if all folders say classes."""
    found = {file: place for file, place in _classified(listing).items() if place}
    return next(iter(found)) if len({name for _, name in found.values()}) > 1 else None


def pictures(listing: Listing) -> list[str]:
    """Return the pictures that lie in the folder of a class."""
    return [file for file, place in _classified(listing).items() if place]


def read(listing: Listing, seen: Mapping[str, Seen], findings: Findings) -> Source:
    """Return every picture with the class of its folder; classes are in alphabetical order.

    Raises:
        UserError: a class that is evaluated and has no picture to train on.
    """
    by_split: dict[str, dict[str, list[str]]] = {}
    for file, found in _classified(listing).items():
        if found:
            by_split.setdefault(found[0], {}).setdefault(found[1], []).append(file)
        else:
            advice = "They are left out: put each into the folder of its class."
            findings.add(NO_SPLIT, "pictures in the folder of no class", "warning", advice, [file])
    if NO_SPLIT in by_split and len(by_split) > 1:
        split, name = next(split for split in by_split if split != NO_SPLIT), next(iter(by_split[NO_SPLIT]))
        raise UserError(
            f"{listing.root} holds {split}/ and beside it {name}/ with pictures: put all into folders of splits, or "
            "none."
        )
    trained = by_split.get("train") or next(iter(by_split.values()))
    classes = sorted(trained)
    for split, own in by_split.items():
        if extra := sorted(own.keys() - trained.keys()):
            raise UserError(
                f"{listing.root}: the splits have different classes; {split}/{extra[0]} has no folder in train/ "
                f"({len(extra)} have none). Move its pictures, or add some to train on."
            )
        absent = sorted(trained.keys() - own.keys())
        findings.add(split, "classes without a picture", "warning", "Figures say nothing about them.", absent)
    labels = {name: label for label, name in enumerate(classes)}
    splits = {
        split: [Picture(file, label=labels[name]) for name, files in sorted(own.items()) for file in files]
        for split, own in by_split.items()
    }
    return Source("classifier", classes, splits)


def _classified(listing: Listing) -> dict[str, tuple[str, str] | None]:
    """Return the split and the class of each picture by its folders, or None for one in the folder of neither.

    A folder of a split's name is one only if there are folders with pictures in it: ``train`` may also be a class.
    """
    parts = {file: PurePosixPath(file).parts for file in listing.pictures}
    divided = any(split_word(own[0]) and len(own) > 2 for own in parts.values())
    return {file: _place(own, divided=divided) for file, own in parts.items()}


def _place(parts: tuple[str, ...], *, divided: bool) -> tuple[str, str] | None:
    split = split_word(parts[0]) if divided else None
    if split:
        return (split, parts[1]) if len(parts) > 2 else None
    return (NO_SPLIT, parts[0]) if len(parts) > 1 else None
