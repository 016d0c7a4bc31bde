"""A detector on pictures and videos of the user's own: detections drawn, and written down."""

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from backbones.errors import UserError, did_you_mean
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_options
from benchmark.console import track_progress
from benchmark.data.annotations import read_annotations
from benchmark.data.decode import UnreadableImageError, read_image
from benchmark.files.atomic import check_folder, make_folder
from benchmark.files.checkpoints import fill, load_weights, resolve_checkpoint
from benchmark.inference.exported import ExportedDetector
from benchmark.inference.results import NAMES, STYLES, Results
from benchmark.inference.sources import Place, Sources, Video, find_sources
from benchmark.models.build import build_model
from benchmark.models.precision import autocast, check_speed
from benchmark.records.figures import IouType
from benchmark.tasks import TASKS, Ability
from benchmark.training.registration import register

if TYPE_CHECKING:
    from mmdet.models import BaseDetector

    from benchmark.inference.video import Frame

_DRAWN_SUFFIXES = (".jpg", ".jpeg", ".png")  # other pictures are drawn as PNG
_DRAWN_VIDEO = ".mp4"
_JPEG_QUALITY = 95
_MOST_FRAMES = 8  # at once, unless the command line says so: whole frames wait in memory, and cameras do not wait
_NO_CLASS = ("__background__", "N/A")  # places of torchvision's list of COCO's names that are no class


@dataclass
class Predicted:
    """What came out: numbers of what was written, and why the rest was not.

    Attributes:
        pictures: that were read.
        frames: of videos, likewise.
        detections: in both.
        not_finite: detections that are not finite; they are in none of the files.
        seconds: that reading, finding, drawing and writing took.
        unreadable: pictures and videos that cannot be read, and why.
        broken: videos that broke off, and when and why.
    """

    pictures: int = 0
    frames: int = 0
    detections: int = 0
    not_finite: int = 0
    seconds: float = 0.0
    unreadable: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Pictures and frames a second."""
        return (self.pictures + self.frames) / self.seconds if self.seconds else 0.0


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
        self._transform = _transform(pipeline)

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
        return _prepare(self._transform, image, path, index + 1)


def predict(
    options: Options,
    checkpoint: Path,
    source: Sequence[Place],
    out: Path,
    *,
    score_threshold: float,
    style: str = "coco",
    frames: int | None = None,
    device: str = "auto",
) -> Predicted:
    """Run a checkpoint's detector on pictures and videos; write each with its detections drawn, and all detections.

    ``predictions.json`` holds all detections in COCO's results format, boxes in pixels of the upright picture.
    ``images.json`` holds COCO's lists ``images``, ``categories`` and, for videos, ``videos``, which name the files,
    frames and classes meant. In the other style ``predictions.jsonl`` has a line per picture or frame.

    What was found is kept, whatever ends the work.

    Args:
        options: which config, and how to run it.
        checkpoint: of a run, see ``benchmark.files.checkpoints.resolve_checkpoint``.
        source: pictures, folders, patterns, videos, numbers of cameras and addresses of streams, see
            ``benchmark.inference.sources``.
        out: folder to write to; pictures and videos keep their places below what is common to them.
        score_threshold: lowest score drawn, in 0..1.
        style: ``coco`` or ``jsonl``.
        frames: how many frames of each video to take; all by default.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: whatever the user can fix; an unreadable picture or a video that breaks off is none, it is returned.
    """
    cfg = load_options(options)
    if Ability.PREDICT not in TASKS[cfg.task].can:
        raise UserError(
            f"{options.config} is a {cfg.task} config, and only detectors find boxes or masks in pictures: "
            f"evaluate it with tools/{TASKS[cfg.task].tool}."
        )
    if cfg.val_dataloader.batch_size < 1:
        raise UserError(f"--batch-size takes a number of pictures from 1, found {cfg.val_dataloader.batch_size}.")
    device = check_speed(options.precision, slow_ok=options.slow_ok, device=None if device == "auto" else device)
    if options.data_root and not options.data_root.is_dir():
        raise UserError(f"Data folder not found: {options.data_root}. Leave --data-root out, or give another one.")

    def prepare() -> _Finder:
        ids = category_ids(cfg)
        detector = load_detector(cfg, checkpoint)
        detector.to(device, memory_format=getattr(torch, cfg.get("memory_format", "contiguous_format")))
        return _finder_of(detector, cfg, ids, partial(autocast, options.precision, device.type), options.batch_size)

    return _predict(prepare, source, out, score_threshold=score_threshold, style=style, frames=frames)


def predict_exported(
    file: Path,
    source: Sequence[Place],
    out: Path,
    *,
    score_threshold: float,
    style: str = "coco",
    frames: int | None = None,
) -> Predicted:
    """Do as ``predict`` does with the detector of an exported file, as many pictures at a time as it takes.

    Args:
        file: of tools/export.py.
        source: as in ``predict``; likewise the others.
        out: folder to write to.
        score_threshold: lowest score drawn, in 0..1.
        style: ``coco`` or ``jsonl``.
        frames: how many frames of each video to take; all by default.

    Raises:
        UserError: whatever the user can fix.
    """
    detector = ExportedDetector(file)
    iou_types: tuple[IouType, ...] = ("bbox", "segm") if detector.has_masks else ("bbox",)
    finder = _Finder(detector.find, detector.names, detector.pipeline, iou_types, detector.batch, detector.batch, 0)
    return _predict(lambda: finder, source, out, score_threshold=score_threshold, style=style, frames=frames)


def _predict(
    prepare: Callable[[], "_Finder"],
    source: Sequence[Place],
    out: Path,
    *,
    score_threshold: float,
    style: str,
    frames: int | None,
) -> Predicted:
    """Do what ``predict`` says, with the detector that ``prepare`` gives once nothing else can be wrong."""
    if not 0 <= score_threshold <= 1:
        raise UserError(f"--score-threshold takes a score in 0..1, found {score_threshold}.")
    if style not in STYLES:
        raise UserError(f"--format takes {' or '.join(STYLES)}, found {style!r}.{did_you_mean(style, STYLES)}")
    for each in source:
        if isinstance(each, Path) and each.exists():
            _check_apart(each, out)
    _check_out(out)
    sources = find_sources(source, leave_out=out)
    if frames and not sources.videos:
        raise UserError("--frames is of videos, cameras and streams, and the sources have none: leave it out.")
    targets = _targets(sources, out)
    outcome = Predicted()
    videos = _readable(sources, outcome)
    finder = prepare()

    draw = partial(_drawn, names=finder.names, threshold=score_threshold)
    started = time.monotonic()
    with STYLES[style](out, finder.names, [_file_name(video, sources) for video in sources.videos]) as results:
        _predict_pictures(finder, sources, targets, draw, results, outcome)
        for video in videos:
            _predict_video(finder, video, sources, targets[video.address], draw, results, outcome, frames)
    outcome.seconds = time.monotonic() - started
    return outcome


def load_detector(cfg: Config, checkpoint: Path) -> "BaseDetector":
    """Build a config's detector in eval mode on the CPU and fill it with a checkpoint's weights; every key must fit.

    Raises:
        UserError: not a checkpoint, one of another model, or an unknown backbone.
    """
    state = load_weights(resolve_checkpoint(checkpoint))[
        "state_dict"
    ]  # a file that is none is an error before anything is built
    complete_model(cfg)
    register()
    detector = build_model(cfg)
    fill(detector, state, checkpoint)
    return detector.eval()


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


def _check_apart(source: Path, out: Path) -> None:
    """Refuse a folder in which a picture of the user's could be overwritten."""
    folder = source if source.is_dir() else source.parent
    if folder.resolve().is_relative_to(out.resolve()):
        raise UserError(f"--out {out} holds the pictures themselves, which would be overwritten: give another folder.")


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder.")
    check_folder(out)
    if out.is_dir() and any(out.iterdir()) and not any((out / name).is_file() for name in NAMES):
        raise UserError(
            f"--out {out} holds files that are no earlier predictions (it has none of {', '.join(NAMES)}), and they "
            "could be overwritten: give a new or an empty folder."
        )


def _targets(sources: Sources, out: Path) -> dict[Path | str, Path]:
    """Return where each picture, by its path, and each video, by its address, is drawn.

    That is the same place below ``out``, with .png added if it is no JPEG or PNG, and .mp4 if it is no such video.
    """
    targets: dict[Path | str, Path] = {}
    taken: dict[Path, Path | str] = {}
    wanted: list[tuple[Path | str, Path | str, Path]] = [
        (path, path, _with_suffix(sources.place_of(path), _DRAWN_SUFFIXES, ".png")) for path in sources.pictures
    ]
    for video in sources.videos:
        place = sources.place_of(video.path) if video.path else Path(re.sub(r"[^\w.-]+", "_", video.name))
        wanted.append((video.address, video.name, _with_suffix(place, (_DRAWN_VIDEO,), _DRAWN_VIDEO)))
    for key, name, place in wanted:
        target = out / place
        if target in taken:
            raise UserError(f"{taken[target]} and {name} would both be drawn as {target}: rename one.")
        targets[key], taken[target] = target, name
    return targets


def _with_suffix(path: Path, kept: Sequence[str], other: str) -> Path:
    return path if path.suffix.lower() in kept else path.with_name(path.name + other)


def _readable(sources: Sources, outcome: Predicted) -> list[Video]:
    """Return the videos that can be opened, and note the others; a camera or a stream must be there.

    Raises:
        UserError: it is not, or nothing is left.
    """
    if not sources.videos:
        return []
    from benchmark.inference.video import UnreadableVideoError, check_video

    readable = []
    for video in sources.videos:
        try:
            check_video(video)
        except UnreadableVideoError as error:
            outcome.unreadable[video.name] = error.reason
            if not video.path or len(outcome.unreadable) == len(sources.videos) + len(sources.pictures):
                raise
        else:
            readable.append(video)
    return readable


def _file_name(video: Video, sources: Sources) -> str:
    return sources.place_of(video.path).as_posix() if video.path else video.name


class _Finder:
    """What finds objects in pictures, and how pictures are prepared for it.

    Args:
        detect: gives MMDetection's samples of prepared pictures, filled.
        names: class name by COCO category id, in the labels' order.
        pipeline: configs of the transforms.
        iou_types: ``bbox`` and, where it finds masks, ``segm``.
        batch_size: pictures at once.
        frames: likewise, of a video.
        workers: processes that read pictures.
    """

    def __init__(
        self,
        detect: Callable[[Sequence[dict[str, Any]]], Sequence[Any]],
        names: Mapping[int, str],
        pipeline: Sequence[dict],
        iou_types: Sequence[IouType],
        batch_size: int,
        frames: int,
        workers: int,
    ) -> None:
        from benchmark.evaluation.coco_ap import CocoAP

        self._detect, self.names, self.pipeline = detect, dict(names), pipeline
        self.batch_size, self.frames, self.workers = batch_size, frames, workers
        self._metric = CocoAP("", iou_types)  # for how it reads samples: nothing is evaluated
        self.transform = _transform(pipeline)

    def find(self, prepared: Sequence[dict[str, Any]]) -> Iterator[tuple[dict, list[dict], int]]:
        """Yield, for each of some prepared pictures, its id and size, its detections and how many were not finite."""
        from benchmark.evaluation.coco_ap import to_coco

        if not prepared:
            return
        for sample in self._detect(prepared):
            height, width = sample.ori_shape
            self._metric.process({}, [sample.to_dict()])
            record = self._metric.results.pop()
            own = to_coco(record, list(self.names))
            yield {"id": sample.img_id, "width": width, "height": height}, own, len(record["scores"]) - len(own)


def _finder_of(
    detector: "BaseDetector",
    cfg: Config,
    ids: Sequence[int],
    precision: Callable[[], AbstractContextManager],
    frames: int | None,
) -> _Finder:
    """Return what finds objects with a detector.

    Args:
        detector: in eval mode on its device.
        cfg: complete.
        ids: the COCO category id of every label.
        precision: makes the context of a forward pass.
        frames: of a video that the detector takes at once; by default few, as many as pictures at most.
    """

    def detect(prepared: Sequence[dict[str, Any]]) -> Sequence[Any]:
        try:
            with torch.no_grad(), precision():
                return detector.test_step(pseudo_collate(prepared))
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{len(prepared)} pictures do not fit the GPU's memory: give a smaller --batch-size."
            ) from error

    val = cfg.val_dataloader
    return _Finder(
        detect,
        dict(zip(ids, val.dataset.metainfo.classes, strict=True)),
        val.dataset.pipeline,
        cfg.val_evaluator.iou_types,
        val.batch_size,
        frames or min(_MOST_FRAMES, val.batch_size),
        val.num_workers,
    )


def _predict_pictures(
    finder: _Finder,
    sources: Sources,
    targets: dict[Path | str, Path],
    draw: Callable[[Image.Image, list[dict]], Image.Image],
    results: Results,
    outcome: Predicted,
) -> None:
    paths = sources.pictures
    if not paths:
        return
    for found in track_progress(_find_in_pictures(finder, paths), "pictures", total=len(paths)):
        if isinstance(found, Unreadable):
            outcome.unreadable[str(found.path)] = found.reason
            continue
        image, own, broken = found
        path = paths[image["id"] - 1]
        _save(draw(Image.fromarray(read_image(str(path), "RGB")), own), targets[path])
        results.add({**image, "file_name": sources.place_of(path).as_posix()}, own)
        outcome.pictures, outcome.detections = outcome.pictures + 1, outcome.detections + len(own)
        outcome.not_finite += broken


def _find_in_pictures(finder: _Finder, paths: Sequence[Path]) -> Iterator[tuple[dict, list[dict], int] | Unreadable]:
    for batch in _loader(finder, paths):
        yield from (item for item in batch if isinstance(item, Unreadable))
        yield from finder.find([item for item in batch if not isinstance(item, Unreadable)])


def _predict_video(
    finder: _Finder,
    video: Video,
    sources: Sources,
    target: Path,
    draw: Callable[[Image.Image, list[dict]], Image.Image],
    results: Results,
    outcome: Predicted,
    most: int | None,
) -> None:
    """Find, draw and write what is in the frames of a video; ids go on after those of what came before.

    Args:
        finder: the detector.
        video: that can be opened.
        sources: it is one of them.
        target: the video to write.
        draw: draws detections on a picture.
        results: gets what was found.
        outcome: likewise the numbers.
        most: how many frames to take; all where None.
    """
    from benchmark.inference.video import Frames, VideoWriter

    first_id = len(sources.pictures) + outcome.frames + 1
    place = {"file_name": _file_name(video, sources), "video_id": sources.videos.index(video) + 1}
    done, seconds = 0, 0.0
    make_folder(target.parent)
    with Frames(video) as frames, VideoWriter(target, frames.rate) as writer:
        read = frames.read()
        total = min(filter(None, (frames.total, most)), default=None)
        for found in track_progress(
            _find_in_frames(finder, itertools.islice(read, most), first_id), "frames", total=total
        ):
            frame, image, own, broken = found
            drawn = draw(Image.fromarray(np.ascontiguousarray(frame.image[..., ::-1])), own)
            writer.write(np.asarray(drawn), frame.seconds)
            results.add({**image, **place, "frame_id": frame.number, "seconds": float(frame.seconds)}, own)
            done, seconds = done + 1, float(frame.seconds)
            outcome.frames, outcome.detections = outcome.frames + 1, outcome.detections + len(own)
            outcome.not_finite += broken
    if frames.problem:
        outcome.broken[video.name] = f"broke off after {done} frames ({seconds:.1f} s): {frames.problem}"
    if frames.damaged:
        outcome.unreadable[video.name] = f"{frames.damaged} of its frames are damaged"


def _find_in_frames(
    finder: _Finder, frames: Iterable["Frame"], first_id: int
) -> Iterator[tuple["Frame", dict, list[dict], int]]:
    """Yield the frames of a video, some at a time, with what ``_Finder.find`` says of them."""
    remaining = iter(frames)
    while batch := list(itertools.islice(remaining, finder.frames)):
        prepared = [
            _prepare(finder.transform, frame.image, Path(f"frame {frame.number}"), first_id + frame.number)
            for frame in batch
        ]
        for item in prepared:
            if isinstance(item, Unreadable):  # all frames are of one size
                raise UserError(f"The video's frames cannot be used: {item.reason}.")
        found = finder.find([item for item in prepared if not isinstance(item, Unreadable)])
        for frame, (image, own, broken) in zip(batch, found, strict=True):
            yield frame, image, own, broken


def _transform(pipeline: Iterable[dict]) -> Compose:
    """Return an evaluation's transforms without the one that reads the file."""
    return Compose([step for step in pipeline if step["type"] != "LoadImage"])


def _prepare(transform: Compose, image: np.ndarray, path: Path, image_id: int) -> dict[str, Any] | Unreadable:
    """Return a sample of a picture (H, W, 3; uint8, BGR), or what is wrong with it."""
    shape = image.shape[:2]
    try:
        return transform(
            {"img": image, "img_path": str(path), "img_id": image_id, "img_shape": shape, "ori_shape": shape}
        )
    except cv2.error as error:
        return Unreadable(path, f"{shape[1]}x{shape[0]} pixels cannot be resized for the detector: {error.err}")


def _loader(finder: _Finder, paths: Sequence[Path]) -> DataLoader:
    batches = -(-len(paths) // finder.batch_size)
    return DataLoader(
        Pictures(paths, finder.pipeline),
        batch_size=finder.batch_size,
        num_workers=min(finder.workers, batches - 1),
        collate_fn=list,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)  # the processes share the cores


def _drawn(image: Image.Image, detections: list[dict], names: dict[int, str], threshold: float) -> Image.Image:
    from benchmark.evaluation.pictures import draw_on

    return draw_on(image, detections, names, threshold)


def _save(drawn: Image.Image, target: Path) -> None:
    try:
        make_folder(target.parent)
        drawn.save(target, quality=_JPEG_QUALITY)
    except OSError as error:
        raise UserError(f"Could not write {target}: {error}.") from error
