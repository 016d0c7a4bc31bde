"""Objects cut out of COCO-format pictures, one folder per class."""

from collections.abc import Collection
from pathlib import Path

from PIL import Image

from benchmark.data.annotations import read_annotations


def crop_objects(annotations: Path, images: Path, folder: Path, *, min_side: float, classes: Collection[str]) -> None:
    """Write the boxes of a COCO annotation file as ``folder/<class>/<annotation id>.png``.

    Args:
        annotations: the annotation file.
        images: folder of its pictures.
        folder: where to write.
        min_side: leave out boxes with a side shorter than this, in pixels.
        classes: names of the classes to write; crowds are left out.
    """
    content = read_annotations(annotations)
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = {image["id"]: images / image["file_name"] for image in content["images"]}
    for entry in content["annotations"]:
        name, (left, top, width, height) = names[entry["category_id"]], entry["bbox"]
        if name not in classes or entry["iscrowd"] or min(width, height) < min_side:
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        with Image.open(files[entry["image_id"]]) as picture:
            crop = picture.convert("RGB").crop((left, top, left + width, top + height))
        crop.save(folder / name / f"{entry['id']}.png")
