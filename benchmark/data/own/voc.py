"""Pascal VOC: an XML file a picture, beside it or in ``Annotations``; splits by ``ImageSets/Main`` or by folders.

Pixels are numbered from 1 and a box holds its last ones (VOC's development kit); ``difficult`` objects neither have to
be found nor count as wrong, as crowds do in COCO.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from xml.etree import ElementTree

from backbones.errors import UserError
from benchmark.data.own.listing import Listing, folder_of, split_of
from benchmark.data.own.source import NO_SPLIT, Findings, Picture, Source, box_object
from benchmark.data.own.survey import Seen

_SETS = "ImageSets/Main"
_LISTED = {"train": ("train", "trainval"), "val": ("val",), "test": ("test",)}
_FORM = "An object has a name and a bndbox of xmin, ymin, xmax and ymax."


def recognise(listing: Listing) -> str | None:
    """Return an XML file that begins as VOC's do, if there is one."""
    return next(iter(_annotation_files(listing)), None)


def read(listing: Listing, seen: Mapping[str, Seen], findings: Findings) -> Source:
    """Read every annotation file; the classes are those of the objects, in alphabetical order.

    Raises:
        UserError: no class at all.
    """
    by_stem = _pictures_by_stem(listing)
    listed = _listed_splits(listing)
    splits: dict[str, list[Picture]] = {}
    named: list[tuple[Picture, list[tuple[str, tuple[float, float, float, float], bool, str]]]] = []
    used = set()
    for file in _annotation_files(listing):
        stem = PurePosixPath(file).stem
        split = listed.get(stem) if listed else split_of(folder_of(file)) or NO_SPLIT
        if split is None:
            advice = f"No list in {_SETS} names them: nothing is read of them."
            findings.add(NO_SPLIT, "annotation files of no split", "warning", advice, [file])
            continue
        try:
            tree = ElementTree.fromstring(listing.read(file))
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            advice = "Export them again, or remove them."
            findings.add(split, "annotation files that are no XML", "error", advice, [f"{file} ({error})"])
            continue
        picture_file = _picture_of(listing, file, tree, by_stem)
        if picture_file is None:
            advice = "Restore the pictures, or remove the annotations."
            findings.add(split, "annotation files without their picture", "error", advice, [file])
            continue
        used.add(picture_file)
        picture = Picture(picture_file, size=_size(tree))
        splits.setdefault(split, []).append(picture)
        named.append((picture, _objects(tree, file, split, findings)))
    classes = sorted({name for _, objects in named for name, *_ in objects})
    if not classes:
        raise UserError(f"{listing.root}: no annotation file names an object.")
    labels = {name: label for label, name in enumerate(classes)}
    for picture, objects in named:
        for name, box, difficult, where in objects:
            picture.objects.append({**box_object(labels[name], box, where), "iscrowd": int(difficult)})
    unused = [file for file in listing.pictures if file not in used]
    findings.add(NO_SPLIT, "pictures without an annotation file", "warning", "They are left out.", unused)
    return Source("detector", classes, splits)


def _annotation_files(listing: Listing) -> list[str]:
    return [file for file in listing.ending(".xml") if b"<annotation" in listing.begins(file)]


def _pictures_by_stem(listing: Listing) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in listing.pictures:
        found.setdefault(PurePosixPath(file).stem, []).append(file)
    return found


def _listed_splits(listing: Listing) -> dict[str, str]:
    """Return the split of each picture's stem by the lists, where there are such; ``trainval`` is for training."""
    found: dict[str, str] = {}
    for file in listing.ending(".txt"):
        path = PurePosixPath(file)
        if str(path.parent).endswith(_SETS):
            for split, names in _LISTED.items():
                if path.stem in names:
                    stems = (line.split()[0] for line in listing.read_text(file).splitlines() if line.strip())
                    for stem in stems:
                        # What is also listed for evaluation is not trained on: trainval holds val.
                        if split != "train" or stem not in found:
                            found[stem] = split
    return found


def _picture_of(listing: Listing, file: str, tree: ElementTree.Element, by_stem: Mapping[str, list[str]]) -> str | None:
    """Return the picture of an annotation file, by its own name or the one it says: beside it, or in JPEGImages."""
    folder, stem = folder_of(file), PurePosixPath(file).stem
    said = PurePosixPath((tree.findtext("filename") or "").replace("\\", "/")).stem
    for name in (stem, said):
        candidates = by_stem.get(name, [])
        near = [
            picture
            for picture in candidates
            if folder_of(picture) in (folder, f"{folder_of(folder)}/JPEGImages".lstrip("/"))
        ]
        if len(near or candidates) == 1:
            return (near or candidates)[0]
    return None


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    texts = [tree.findtext(f"size/{side}") or "" for side in ("width", "height")]
    width, height = (int(text) if text.strip().isdecimal() else 0 for text in texts)
    return (width, height) if width and height else None


def _objects(
    tree: ElementTree.Element, file: str, split: str, findings: Findings
) -> list[tuple[str, tuple[float, float, float, float], bool, str]]:
    objects = []
    for number, node in enumerate(tree.iter("object"), 1):
        where, name = f"{file} object {number}", (node.findtext("name") or "").strip()
        try:
            ends = [float(node.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            ends = []
        if not name or not ends:
            findings.add(split, "objects without a name or a box", "error", _FORM, [where])
            continue
        left, top = max(ends[0] - 1, 0), max(ends[1] - 1, 0)
        difficult = (node.findtext("difficult") or "").strip() == "1"
        objects.append((name, (left, top, ends[2] - left, ends[3] - top), difficult, where))
    return objects
