"""A user's folder -> COCO's JSON, or a list of classified pictures, in a cache; the folder itself is only ever read.

The cache holds a folder for each state of a data set: its place, names, sizes and times decide the folder's name, so a
data set that has changed is read anew. In it are ``train.json``, ``val.json``, ``dataset.json`` (what was found) and
``pictures``, a link to the user's folder. Equal data give equal files wherever they lie: names are relative, and every
picture's entry has the hash of its file.
"""

import dataclasses
import json
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbones.errors import UserError
from benchmark.data.own.formats import Format, recognise
from benchmark.data.own.listing import Listing, list_files
from benchmark.data.own.source import NO_SPLIT, Finding, Findings, Kind, Picture, Source
from benchmark.data.own.survey import Seen, survey
from benchmark.data.subsets import stratified_order
from benchmark.files.atomic import make_folder
from benchmark.files.cache import cache_folder
from benchmark.files.run_folder import slug

PICTURES = "pictures"
RECORD = "dataset.json"
USED = ("train", "val")
VAL_SHARE = 0.2  # of the training pictures, where the data set has nothing to evaluate on
SPLIT_SEED = 0
_VERSION = 2  # of what is written: raise it, and every data set is converted anew
_GIVEN = ("val", "test")  # what is evaluated, the first that is there


@dataclass(frozen=True)
class OwnData:
    """A data set of a user's own, converted.

    Attributes:
        folder: where it lies.
        cache: where what was made of it lies.
        name: in tables and in the names of runs: the folder's.
        layout: how it was recognised.
        kind: what it is for.
        classes: names, in the order of the labels.
        validation: which of its splits is evaluated; ``drawn`` where a part of the training pictures is.
        seed: of the pictures drawn, None where none were.
        images: number of pictures by split, ``train`` and ``val``.
        findings: what is wrong with it.
    """

    folder: Path
    cache: Path
    name: str
    layout: str
    kind: Kind
    classes: tuple[str, ...]
    validation: str
    seed: int | None
    images: Mapping[str, int]
    findings: tuple[Finding, ...] = field(default=())

    def annotations(self, split: str) -> Path:
        """Return the file of a split."""
        return self.cache / f"{split}.json"


def prepare(folder: Path) -> OwnData:
    """Return a user's data set, converted unless exactly this state of it was before.

    Raises:
        UserError: no layout or several, annotations that cannot be read, or no place for the cache.
    """
    listing = list_files(folder)
    cache = cache_root(listing.root) / f"{slug(listing.root.name) or 'data'}-{_key(listing)}"
    if (cache / RECORD).is_file():
        return read_converted(cache)
    layout = recognise(listing)
    make_folder(cache.parent)
    unfinished = cache.with_name(f".{cache.name}-{uuid.uuid4().hex}")
    try:
        unfinished.mkdir()
        (unfinished / PICTURES).symlink_to(listing.root)
        _convert(listing, layout, unfinished)
        unfinished.rename(cache)
    except OSError as error:
        if not (cache / RECORD).is_file():  # else another process was faster, and its copy is the same
            raise UserError(
                f"Cannot write what is made of {folder} to {cache.parent}: {error.strerror}. Set XDG_CACHE_HOME to a "
                "folder with room."
            ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return read_converted(cache)


def read_converted(cache: Path) -> OwnData:
    """Return a data set that was converted before, by its folder in the cache.

    Raises:
        UserError: it is gone, or another file is there.
    """
    try:
        found = json.loads((cache / RECORD).read_text())
        root = (cache / PICTURES).readlink()
        findings = tuple(Finding(**each) for each in found.pop("findings"))
        classes = tuple(found.pop("classes"))
        return OwnData(root, cache, root.name or "data", classes=classes, findings=findings, **found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{cache} holds no converted data set: give --dataset and the data set's folder again, which makes it anew."
        ) from error


def cache_root(folder: Path) -> Path:
    """Return the folder of all converted data sets.

    Raises:
        UserError: it would lie in the user's folder.
    """
    root = cache_folder("data")
    if root.is_relative_to(folder):
        raise UserError(
            f"{folder} holds the cache of converted data sets ({root}), and nothing is written into a data set: set "
            "XDG_CACHE_HOME to another place, or give --dataset the folder of the data alone."
        )
    return root


def _key(listing: Listing) -> str:
    return f"{listing.key[:16]}.{_VERSION}"


def _convert(listing: Listing, layout: Format, place: Path) -> None:
    findings = Findings()
    looked = survey(listing.root, layout.pictures(listing))
    seen = {file: found for file, found in looked.items() if isinstance(found, Seen)}
    source = layout.read(listing, seen, findings)
    for split, pictures in source.splits.items():
        unreadable = [picture.file for picture in pictures if picture.file not in seen]
        examples = (f"{file} ({looked.get(file, 'not there')})" for file in unreadable)
        findings.add(split, "pictures that cannot be read", "warning", "They are left out: restore them.", examples)
        pictures[:] = [picture for picture in pictures if picture.file in seen]
    splits, validation = _divide(listing, source, seen, findings)
    _check(listing, source, splits, seen, findings)
    ids = _picture_ids(splits)
    for split, pictures in splits.items():
        make = _coco if source.kind == "detector" else _listed
        text = json.dumps(make(source, pictures, seen, ids), ensure_ascii=False)
        (place / f"{split}.json").write_text(text, encoding="utf-8")
    record = {
        "layout": layout.title,
        "kind": source.kind,
        "classes": source.classes,
        "validation": validation,
        "seed": SPLIT_SEED if validation == "drawn" else None,
        "images": {split: len(pictures) for split, pictures in splits.items()},
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
    (place / RECORD).write_text(json.dumps(record, indent=2))


def _divide(
    listing: Listing, source: Source, seen: Mapping[str, Seen], findings: Findings
) -> tuple[dict[str, list[Picture]], str]:
    """Return what is trained on and what is evaluated, and which of the data set's splits the latter is."""
    for pictures in source.splits.values():
        pictures.sort(key=lambda picture: picture.file)
    trained = source.splits.get("train") or source.splits.get(NO_SPLIT)
    if not trained:
        found = ", ".join(f"{split} ({len(pictures)})" for split, pictures in source.splits.items()) or "none"
        raise UserError(f"{listing.root}: no pictures to train on; the splits that were found: {found}.")
    given = next((split for split in _GIVEN if source.splits.get(split)), None)
    if given:
        if given == "val" and source.splits.get("test"):
            advice = "Training and evaluation take train and val: nothing is done with them."
            findings.add("test", "pictures", "ok", advice, [picture.file for picture in source.splits["test"]])
        return {"train": trained, "val": source.splits[given]}, given
    drawn = _draw(trained, seen)
    if not drawn or len(drawn) == len(trained):
        raise UserError(
            f"{listing.root}: {len(trained)} pictures, those of one content counted once, are too few to draw some for "
            "evaluation: add a val split."
        )
    kept = [picture for picture in trained if picture.file not in drawn]
    return {"train": kept, "val": [picture for picture in trained if picture.file in drawn]}, "drawn"


def _draw(pictures: Sequence[Picture], seen: Mapping[str, Seen]) -> set[str]:
    """Return a seeded, stratified ``VAL_SHARE`` of the pictures; those of one content stay on one side.

    No class loses its last picture to it, and each with two has one in it as far as the share goes.
    """
    alike: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        alike[seen[picture.file].digest].append(picture)
    groups = sorted(alike.values(), key=lambda group: group[0].file)
    labels = [set().union(*(picture.labels for picture in group)) for group in groups]
    order = stratified_order([group[0].file for group in groups], labels, SPLIT_SEED)
    left = Counter(label for own in labels for label in own)
    wanted = round(VAL_SHARE * len(groups))
    drawn: list[int] = []
    for place in order:
        if len(drawn) < max(wanted, 1) and all(left[label] > 1 for label in labels[place]):
            drawn.append(place)
            left.subtract(labels[place])
    return {picture.file for place in drawn for picture in groups[place]}


def _check(
    listing: Listing,
    source: Source,
    splits: Mapping[str, Sequence[Picture]],
    seen: Mapping[str, Seen],
    findings: Findings,
) -> None:
    """Look for what makes a training useless without being an error of form."""
    shown = {
        split: Counter(label for picture in pictures for label in picture.labels) for split, pictures in splits.items()
    }
    noun = "box" if source.kind == "detector" else "picture"
    for split, counts in shown.items():
        absent = [name for label, name in enumerate(source.classes) if not counts[label]]
        advice = "They cannot be learnt." if split == "train" else "Figures say nothing about them."
        findings.add(split, f"classes without a {noun}", "warning", advice, absent)
    folded: dict[str, list[str]] = defaultdict(list)
    for name in source.classes:
        folded[" ".join(name.casefold().split())].append(name)
    mixed = [" and ".join(names) for names in folded.values() if len(names) > 1]
    findings.add(NO_SPLIT, "names of classes that differ in case alone", "warning", "Are they one class?", mixed)
    # A test split is none of the two unless there is nothing else to evaluate on, and may share pictures with both.
    test = [] if source.splits.get("test") is splits["val"] else source.splits.get("test", [])
    advice = "Their figures say nothing about new pictures: take them out of one of the two."
    for split, pictures, use, others in (
        ("val", splits["val"], "trained", splits["train"]),
        ("test", test, "trained", splits["train"]),
        ("test", test, "evaluated", splits["val"]),
    ):
        known = {seen[picture.file].digest: picture.file for picture in others}
        pairs = [(known.get(seen[picture.file].digest), picture.file) for picture in pictures]
        shared = [file if same == file else f"{file} (as {same})" for same, file in pairs if same]
        findings.add(split, f"pictures whose content is also {use} on", "warning", advice, shared)
    for split, pictures in splits.items():
        counts = Counter(seen[picture.file].digest for picture in pictures)
        again = [picture.file for picture in pictures if counts[seen[picture.file].digest] > 1]
        findings.add(split, "pictures of one content", "warning", "Each counts as often as it is there.", again)


def _picture_ids(splits: Mapping[str, Sequence[Picture]]) -> dict[str, int]:
    """Return the source's ids where they tell all pictures apart, else numbers from 1."""
    pictures = [picture for own in splits.values() for picture in own]
    ids = [picture.id for picture in pictures]
    if None in ids or len(set(ids)) < len(ids):
        # one split's own, if those of both meet
        return {picture.file: number for number, picture in enumerate(pictures, 1)}
    return {picture.file: picture.id for picture in pictures if picture.id is not None}


def _coco(
    source: Source, pictures: Sequence[Picture], seen: Mapping[str, Seen], ids: Mapping[str, int]
) -> dict[str, Any]:
    """Return pictures and their objects as COCO's file has them; category ids are the source's, or numbers from 1."""
    numbers = source.category_ids or list(range(1, len(source.classes) + 1))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        found = seen[picture.file]
        # A source that says the stored size means the picture as it is stored.
        width, height = picture.size or found.size
        images.append(
            {
                "id": ids[picture.file],
                "file_name": picture.file,
                "width": width,
                "height": height,
                "digest": found.digest,
            }
        )
        for entry in picture.objects:
            own = {key: value for key, value in entry.items() if key != "label"}
            place = {"image_id": ids[picture.file], "category_id": numbers[entry["label"]]}
            annotations.append({"id": len(annotations) + 1, **place, **own})
    categories = [{"id": number, "name": name} for number, name in zip(numbers, source.classes, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _listed(
    source: Source, pictures: Sequence[Picture], seen: Mapping[str, Seen], ids: Mapping[str, int]
) -> dict[str, Any]:
    """Return classified pictures as ``benchmark.data.own.listed`` reads them."""
    samples = [[picture.file, picture.label, seen[picture.file].digest] for picture in pictures]
    return {"classes": source.classes, "samples": samples}
