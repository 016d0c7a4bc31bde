"""Write a data set in COCO's layout as every other layout that `--dataset DIR` recognises.

    python dev/make_layouts.py ../shared/coco-mini /tmp/layouts

Crowds are left out, for no other layout has them. Pictures are linked, not copied.
"""

import argparse
import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from PIL import Image

from benchmark.data.annotations import read_annotations


@dataclass(frozen=True)
class Split:
    """A split of the source: ``train`` or ``val``, its pictures and their objects by the picture's id."""

    name: str
    folder: Path
    images: list[dict[str, Any]]
    objects: dict[int, list[dict[str, Any]]]
    content: dict[str, Any]

    def link(self, image: dict[str, Any], place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.folder / image["file_name"], place)


def read_source(root: Path) -> tuple[list[str], list[Split]]:
    """Return the classes and the splits of a data set in COCO's layout."""
    splits, classes = [], []
    for name in ("train", "val"):
        content = read_annotations(root / f"annotations/instances_{name}2017.json")
        names = {category["id"]: category["name"] for category in content["categories"]}
        classes = list(names.values())
        content["annotations"] = [entry for entry in content["annotations"] if not entry["iscrowd"]]
        objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for entry in content["annotations"]:
            objects[entry["image_id"]].append({**entry, "name": names[entry["category_id"]]})
        splits.append(Split(name, root / f"{name}2017", content["images"], objects, content))
    return classes, splits


def write_coco(classes: list[str], splits: list[Split], out: Path) -> None:
    """COCO's own layout."""
    for split in splits:
        place = out / f"annotations/instances_{split.name}2017.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(split.content))
        for image in split.images:
            split.link(image, out / f"{split.name}2017" / image["file_name"])


def write_coco_export(classes: list[str], splits: list[Split], out: Path) -> None:
    """A JSON a split beside its pictures, with a root of the tree of classes, as annotation tools export."""
    for split in splits:
        folder = out / {"train": "train", "val": "valid"}[split.name]
        for image in split.images:
            split.link(image, folder / image["file_name"])
        numbers = {name: number for number, name in enumerate(classes, 1)}
        categories = [{"id": 0, "name": "things", "supercategory": "none"}]
        categories += [{"id": number, "name": name, "supercategory": "things"} for name, number in numbers.items()]
        annotations = [
            {key: entry[key] for key in ("id", "image_id", "bbox")} | {"category_id": numbers[entry["name"]]}
            for own in split.objects.values()
            for entry in own
        ]
        content = {"images": split.images, "annotations": annotations, "categories": categories}
        (folder / "_annotations.coco.json").write_text(json.dumps(content))


def write_yolo(classes: list[str], splits: list[Split], out: Path, *, polygons: bool = False) -> None:
    """YOLO's data.yaml, boxes or polygons."""
    for split in splits:
        for image in split.images:
            split.link(image, out / "images" / split.name / image["file_name"])
            width, height = image["width"], image["height"]
            lines = []
            for entry in split.objects[image["id"]]:
                x, y, w, h = entry["bbox"]
                shares = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
                if polygons:
                    points = max(entry["segmentation"], key=len)
                    shares = [value / (height if place % 2 else width) for place, value in enumerate(points)]
                lines.append(" ".join([str(classes.index(entry["name"])), *(f"{share:.8f}" for share in shares)]))
            place = (out / "labels" / split.name / image["file_name"]).with_suffix(".txt")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("\n".join(lines) + "\n" if lines else "")
    content = {
        "path": "../somewhere/else",
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(classes)),
    }
    (out / "data.yaml").write_text(yaml.safe_dump(content))


def write_voc(classes: list[str], splits: list[Split], out: Path) -> None:
    """Pascal VOC's folders and lists."""
    for split in splits:
        stems = []
        for image in split.images:
            split.link(image, out / "JPEGImages" / image["file_name"])
            root = ElementTree.Element("annotation")
            ElementTree.SubElement(root, "filename").text = image["file_name"]
            size = ElementTree.SubElement(root, "size")
            for side in ("width", "height"):
                ElementTree.SubElement(size, side).text = str(image[side])
            for entry in split.objects[image["id"]]:
                node = ElementTree.SubElement(root, "object")
                ElementTree.SubElement(node, "name").text = entry["name"]
                box = ElementTree.SubElement(node, "bndbox")
                x, y, w, h = entry["bbox"]
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (x + 1, y + 1, x + w, y + h), strict=True):
                    ElementTree.SubElement(box, key).text = f"{value:.4f}"
            stem = Path(image["file_name"]).stem
            stems.append(stem)
            place = out / "Annotations" / f"{stem}.xml"
            place.parent.mkdir(parents=True, exist_ok=True)
            ElementTree.ElementTree(root).write(place, encoding="utf-8")
        listed = out / f"ImageSets/Main/{split.name}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(stems) + "\n")


def write_csv(classes: list[str], splits: list[Split], out: Path) -> None:
    """One table with a row a box; pictures without one have a row without a class."""
    rows = []
    for split in splits:
        for image in split.images:
            split.link(image, out / "images" / image["file_name"])
            size = {"filename": image["file_name"], "width": image["width"], "height": image["height"]}
            row = {**size, "split": split.name}
            own = split.objects[image["id"]]
            rows += [] if own else [row]
            for entry in own:
                x, y, w, h = entry["bbox"]
                rows.append({**row, "class": entry["name"], "xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h})
    with (out / "boxes.csv").open("w", newline="") as file:
        names = ("filename", "width", "height", "split", "class", "xmin", "ymin", "xmax", "ymax")
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _crops(split: Split, least: int = 24) -> list[tuple[str, str, Image.Image]]:
    """Return the class, a name and the pixels of the objects of a split that are large enough."""
    found = []
    for image in split.images:
        with Image.open(split.folder / image["file_name"]) as picture:
            for entry in split.objects[image["id"]]:
                x, y, w, h = entry["bbox"]
                if min(w, h) >= least:
                    crop = picture.convert("RGB").crop((round(x), round(y), round(x + w), round(y + h)))
                    found.append((entry["name"], f"{split.name}_{entry['id']}.png", crop))
    return found


def write_folders(classes: list[str], splits: list[Split], out: Path, *, flat: bool = False) -> None:
    """A folder of pictures a class, below folders of the splits or, ``flat``, of no split."""
    crops = {split.name: _crops(split) for split in splits}
    trained = {name for name, *_ in crops["train"]}
    for split, found in crops.items():
        for name, file, crop in found:
            if name in trained:
                place = out / ("" if flat else split) / name / file
                place.parent.mkdir(parents=True, exist_ok=True)
                crop.save(place)


def write_csv_classes(classes: list[str], splits: list[Split], out: Path) -> None:
    """One table of pictures and their classes, without splits."""
    (out / "pictures").mkdir(parents=True)
    lines = ["image;label"]
    for name, file, crop in (found for split in splits for found in _crops(split)):
        crop.save(out / "pictures" / file)
        lines.append(f"pictures/{file};{name}")
    (out / "classes.csv").write_text("\n".join(lines) + "\n")


Write = Callable[[list[str], list[Split], Path], None]
DETECTION: dict[str, Write] = {
    "coco": write_coco,
    "coco_export": write_coco_export,
    "yolo": write_yolo,
    "yolo_polygons": lambda classes, splits, out: write_yolo(classes, splits, out, polygons=True),
    "voc": write_voc,
    "csv": write_csv,
}
CLASSIFICATION: dict[str, Write] = {
    "folders": write_folders,
    "folders_flat": lambda classes, splits, out: write_folders(classes, splits, out, flat=True),
    "csv_classes": write_csv_classes,
}
LAYOUTS = {**DETECTION, **CLASSIFICATION}


def make_layout(name: str, source: Path, out: Path) -> Path:
    """Write a data set in COCO's layout as another one, into a new folder, and return that."""
    out.mkdir(parents=True)
    LAYOUTS[name](*read_source(source), out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a data set in COCO's layout")
    parser.add_argument("out", type=Path, help="a folder, in which every layout gets one")
    args = parser.parse_args()
    for name in LAYOUTS:
        print(make_layout(name, args.source, args.out / name))


if __name__ == "__main__":
    main()
