"""A detector on pictures of the user's own: detections drawn, and written in COCO's results format."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_options
from benchmark.console import track_progress
from benchmark.data.annotations import read_annotations
from benchmark.data.decode import UnreadableImageError, read_image
from benchmark.files.atomic import check_folder, make_folder, write_atomically
from benchmark.files.checkpoints import fill, load_weights
from benchmark.models.build import build_model
from benchmark.models.precision import autocast, check_speed
from benchmark.tasks import TASKS, Ability
from benchmark.training.registration import register

if TYPE_CHECKING:
    from mmdet.models import BaseDetector


PREDICTIONS = "predictions.json"
IMAGES = "images.json"
_DRAWN_SUFFIXES = (".jpg", ".jpeg", ".png")  # other pictures are drawn as PNG
_JPEG_QUALITY = 95
_NO_CLASS = ("__background__", "N/A")  # places of torchvision's list of COCO's names that are no class


@dataclass(frozen=True)
class Predicted:
    """What came out: numbers of pictures and detections written, and why the other pictures were not.

    Detections that are not finite are in neither of the files.
    """

    pictures: int
    detections: int
    not_finite: int
    unreadable: dict[Path, str]


@dataclass(frozen=True)
class Unreadable:
    """A picture that cannot be decoded or resized, and why."""

    path: Path
    reason: str


class Pictures(Dataset[dict[str, Any] | Unreadable]):
    """Pictures as a config's evaluation prepares them, upright.

    Args:
        paths: the files; a picture's id is its place among them, from 1.
        pipeline: configs of the evaluation's transforms.
    """

    def __init__(self, paths: Sequence[Path], pipeline: Iterable[dict]) -> None:
        self.paths = paths
        self._transform = Compose([step for step in pipeline if step["type"] != "LoadImage"])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any] | Unreadable:
        """Return ``inputs`` (3, H, W) uint8 BGR and ``data_samples``, or what is wrong with the picture."""
        path = self.paths[index]
        try:
            image = read_image(str(path))
        except UnreadableImageError as error:
            cause = error.__cause__  # without advice about data sets
            return Unreadable(path, str(cause) or type(cause).__name__)
        shape = image.shape[:2]
        try:
            return self._transform(
                {"img": image, "img_path": str(path), "img_id": index + 1, "img_shape": shape, "ori_shape": shape}
            )
        except cv2.error as error:
            return Unreadable(path, f"{shape[1]}x{shape[0]} pixels cannot be resized for the detector: {error.err}")


def predict(
    options: Options,
    checkpoint: Path,
    source: Path,
    out: Path,
    *,
    score_threshold: float,
    device: str = "auto",
) -> Predicted:
    """Run a checkpoint's detector on pictures; write each with its detections drawn, and two files about all.

    ``predictions.json`` holds all detections in COCO's results format, boxes in pixels of the upright picture.
    ``images.json`` holds COCO's lists ``images`` and ``categories``, which name the files and classes meant.

    Args:
        options: which config, and how to run it.
        checkpoint: a .pth file of a run.
        source: a picture, or a folder of pictures and folders.
        out: folder to write to; pictures keep their places below the source.
        score_threshold: lowest score drawn, in 0..1.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: whatever the user can fix; an unreadable picture is none, it is returned.
    """
    cfg = load_options(options)
    if Ability.PREDICT not in TASKS[cfg.task].can:
        raise UserError(
            f"{options.config} is a {cfg.task} config, and only detectors find boxes or masks in pictures: "
            f"evaluate it with tools/{TASKS[cfg.task].tool}."
        )
    if not 0 <= score_threshold <= 1:
        raise UserError(f"--score-threshold takes a score in 0..1, found {score_threshold}.")
    if cfg.val_dataloader.batch_size < 1:
        raise UserError(f"--batch-size takes a number of pictures from 1, found {cfg.val_dataloader.batch_size}.")
    device = check_speed(options.precision, slow_ok=options.slow_ok, device=None if device == "auto" else device)
    _check_out(source, out)
    if options.data_root and not options.data_root.is_dir():
        raise UserError(f"Data folder not found: {options.data_root}. Leave --data-root out, or give another one.")
    paths = find_pictures(source, leave_out=out)
    root = source if source.is_dir() else source.parent
    targets = _targets(paths, root, out)
    ids = category_ids(cfg)
    detector = load_detector(cfg, checkpoint)
    detector.to(device, memory_format=getattr(torch, cfg.get("memory_format", "contiguous_format")))

    names = dict(zip(ids, cfg.val_dataloader.dataset.metainfo.classes, strict=True))
    images, detections, not_finite, unreadable = [], [], 0, {}
    found = _detect(detector, cfg, paths, ids, partial(autocast, options.precision, device.type))
    for picture in track_progress(found, "pictures", total=len(paths)):
        if isinstance(picture, Unreadable):
            unreadable[picture.path] = picture.reason
            continue
        image, own, broken = picture
        not_finite += broken
        path = paths[image["id"] - 1]
        _draw(path, targets[path], own, names, score_threshold)
        images.append({**image, "file_name": path.relative_to(root).as_posix()})
        detections += own
    categories = [{"id": category_id, "name": name} for category_id, name in names.items()]
    make_folder(out)
    _write_json(out / IMAGES, {"images": images, "annotations": [], "categories": categories})
    _write_json(out / PREDICTIONS, detections)
    return Predicted(len(images), len(detections), not_finite, unreadable)


def load_detector(cfg: Config, checkpoint: Path) -> "BaseDetector":
    """Build a config's detector in eval mode on the CPU and fill it with a checkpoint's weights; every key must fit.

    Raises:
        UserError: not a checkpoint, one of another model, or an unknown backbone.
    """
    state = load_weights(checkpoint)["state_dict"]  # a file that is none is an error before anything is built
    complete_model(cfg)
    register()
    detector = build_model(cfg)
    fill(detector, state, checkpoint)
    return detector.eval()


def find_pictures(source: Path, leave_out: Path | None = None) -> list[Path]:
    """Return the picture, or those of a folder and the folders below by name; hidden ones are left out.

    Args:
        source: a file, of any suffix, or a folder.
        leave_out: a folder whose pictures do not count.

    Raises:
        UserError: no such place, or no pictures in it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"No such picture or folder: {source}.")
    top, other = source.resolve(), leave_out and leave_out.resolve()
    found = []
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        hidden = any(part.startswith(".") for part in relative.parts)
        own = other in (top / relative).parents
        if path.suffix.lower() in IMG_EXTENSIONS and not (hidden or own or path.is_dir()):
            found.append(path)
    if not found:
        raise UserError(f"No pictures in {source} and below: expected files ending in {', '.join(IMG_EXTENSIONS)}.")
    return sorted(found)


def category_ids(cfg: Config) -> list[int]:
    """Return the COCO category id of every label of a detector.

    They are those of the config's annotation file where it is on disk, else COCO's own for COCO's 80 classes, else
    1, 2, 3 ...

    Raises:
        UserError: the annotation file lacks a class.
    """
    classes, annotations = cfg.val_dataloader.dataset.metainfo.classes, Path(cfg.val_evaluator.ann_file)
    if annotations.is_file():
        ids = {category["name"]: category["id"] for category in read_annotations(annotations)["categories"]}
        if absent := [name for name in classes if name not in ids]:
            raise UserError(
                f"The config's class {absent[0]!r} is not in {annotations}: give the --data-root of its data "
                "set, or of a folder without annotations."
            )
        return [ids[name] for name in classes]
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    places = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # 91 names, each at the place of its id
    if set(classes) == set(places).difference(_NO_CLASS):
        return [places.index(name) for name in classes]
    return list(range(1, len(classes) + 1))


def _check_out(source: Path, out: Path) -> None:
    """Refuse a folder in which a picture of the user's could be overwritten."""
    folder = source if source.is_dir() else source.parent
    if folder.resolve().is_relative_to(out.resolve()):
        raise UserError(f"--out {out} holds the pictures themselves, which would be overwritten: give another folder.")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder.")
    check_folder(out)
    if out.is_dir() and any(out.iterdir()) and not (out / PREDICTIONS).is_file():
        raise UserError(
            f"--out {out} holds files that are no earlier predictions (it has no {PREDICTIONS}), and they could be "
            "overwritten: give a new or an empty folder."
        )


def _targets(paths: Sequence[Path], root: Path, out: Path) -> dict[Path, Path]:
    """Return where each picture is drawn: the same place below ``out``, with .png added if it is no JPEG or PNG."""
    targets: dict[Path, Path] = {}
    sources: dict[Path, Path] = {}
    for path in paths:
        suffix = "" if path.suffix.lower() in _DRAWN_SUFFIXES else ".png"
        target = out / f"{path.relative_to(root)}{suffix}"
        if target in sources:
            raise UserError(f"{sources[target]} and {path} would both be drawn as {target}: rename one.")
        targets[path], sources[target] = target, path
    return targets


def _detect(
    detector: "BaseDetector",
    cfg: Config,
    paths: Sequence[Path],
    ids: Sequence[int],
    precision: Callable[[], AbstractContextManager],
) -> Iterator[tuple[dict, list[dict], int] | Unreadable]:
    """Yield, for each picture, its id and size, its detections and how many were not finite, or why there are none."""
    from benchmark.evaluation.coco_ap import CocoAP, to_coco

    metric = CocoAP(cfg.val_evaluator.ann_file, cfg.val_evaluator.iou_types)
    for batch in _loader(cfg, paths):
        yield from (item for item in batch if isinstance(item, Unreadable))
        readable = [item for item in batch if not isinstance(item, Unreadable)]
        if not readable:
            continue
        try:
            with torch.no_grad(), precision():
                samples = detector.test_step(pseudo_collate(readable))
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{len(readable)} pictures do not fit the GPU's memory: give a smaller --batch-size."
            ) from error
        for sample in samples:
            height, width = sample.ori_shape
            metric.process({}, [sample.to_dict()])
            record = metric.results.pop()
            own = to_coco(record, ids)
            yield {"id": sample.img_id, "width": width, "height": height}, own, len(record["scores"]) - len(own)


def _loader(cfg: Config, paths: Sequence[Path]) -> DataLoader:
    val = cfg.val_dataloader
    batches = -(-len(paths) // val.batch_size)
    return DataLoader(
        Pictures(paths, val.dataset.pipeline),
        batch_size=val.batch_size,
        num_workers=min(val.num_workers, batches - 1),
        collate_fn=list,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)  # the processes share the cores


def _draw(path: Path, target: Path, detections: list[dict], names: dict[int, str], threshold: float) -> None:
    from benchmark.evaluation.pictures import draw_on

    drawn = draw_on(Image.fromarray(read_image(str(path), "RGB")), detections, names, threshold)
    try:
        make_folder(target.parent)
        drawn.save(target, quality=_JPEG_QUALITY)
    except OSError as error:
        raise UserError(f"Could not write {target}: {error}.") from error


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content)))
