"""What every format of an exported SSDLite shares: the model, and the comparison before a file gets its name."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torchvision.ops import nms

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import load_options
from benchmark.console import track_progress
from benchmark.files.atomic import check_file, make_folder, write_atomically
from benchmark.inference.predict import Pictures, Unreadable, load_detector
from benchmark.inference.sources import find_pictures
from benchmark.tasks import TASKS, Ability

if TYPE_CHECKING:
    from mmdet.models import BaseDetector

TOLERANCE = 1e-3  # of boxes in pixels of the input, and of scores
_CHECKED = 8  # validation pictures

Run = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Differences:
    """Largest absolute differences: of boxes in pixels of the input, and of scores."""

    boxes: float = 0.0
    scores: float = 0.0

    def __or__(self, other: "Differences") -> "Differences":
        """Return the larger of each; NaN is the largest."""
        return Differences(float(np.maximum(self.boxes, other.boxes)), float(np.maximum(self.scores, other.scores)))

    def __str__(self) -> str:
        return f"{self.boxes:.2g} px in boxes and {self.scores:.2g} in scores"

    def within(self, tolerance: float) -> bool:
        """Tell whether none is larger."""
        return self.boxes <= tolerance and self.scores <= tolerance


@dataclass(frozen=True)
class Exported:
    """An exported model: kind of file, what ran it, size in bytes, and by how much it differs on how many pictures."""

    kind: str
    runtime: str
    size: int
    pictures: int
    differences: Differences


class DecodedSSDLite(nn.Module):
    """An SSDLite detector from an RGB picture to a box and scores for every anchor, as its own ``predict`` finds them.

    Args:
        detector: in eval mode, on the CPU.
        size: (height, width) of the pictures in pixels.
    """

    def __init__(self, detector: "BaseDetector", size: tuple[int, int]) -> None:
        super().__init__()
        self.detector, self.size = detector, size
        with torch.no_grad():
            maps, _ = detector(self.example, mode="tensor")
        priors = detector.bbox_head.prior_generator.grid_priors([level.shape[-2:] for level in maps], device="cpu")
        self.register_buffer("anchors", torch.cat(priors))  # (A, 4)

    @property
    def example(self) -> Tensor:
        """An image of the right shape, (1, 3, H, W)."""
        return torch.zeros(1, 3, *self.size)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (1, 3, H, W) RGB in 0..255 to xyxy boxes (1, A, 4) in pixels and scores (1, A, classes) in 0..1."""
        head, normalisation = self.detector.bbox_head, self.detector.data_preprocessor
        maps = self.detector.neck(self.detector.backbone((image - normalisation.mean) / normalisation.std))
        logits, deltas = head.flatten(*head(maps))
        scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]  # background is last
        boxes = head.bbox_coder.decode(self.anchors, deltas[0], max_shape=self.size)
        return boxes[None], scores


@dataclass(frozen=True)
class Source:
    """What is exported: a config, its checkpoint's model on the CPU, and the pictures to check on."""

    cfg: Config
    decoded: DecodedSSDLite
    pictures: Pictures


def read_config(options: Options) -> Config:
    """Read the config of a model that can be exported.

    Raises:
        UserError: as ``load_options``, or a task that cannot be exported.
    """
    cfg = load_options(options)
    if Ability.EXPORT not in TASKS[cfg.task].can:
        known = ", ".join(f"{task.title}'s" for task in TASKS.values() if Ability.EXPORT in task.can)
        raise UserError(
            f"Exporting a {cfg.task} model is not supported, only {known}; {options.config} is a {cfg.task} config."
        )
    return cfg


def prepare(cfg: Config, checkpoint: Path, out: Path, pictures: Path | None = None) -> Source:
    """Load what is exported.

    Args:
        cfg: of ``read_config``.
        checkpoint: a .pth file of a run.
        out: the file to write.
        pictures: a picture or a folder to check on; default the first 8 of the config's validation pictures.

    Raises:
        UserError: a folder in place of the file, no pictures, or a checkpoint that does not fit.
    """
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: give a file, such as {out / 'model.onnx'}.")
    check_file(out)
    paths = find_pictures(pictures) if pictures else _validation_pictures(cfg)
    pipeline = cfg.val_dataloader.dataset.pipeline
    detector = load_detector(cfg, checkpoint)
    width, height = next(step.scale for step in pipeline if step.type == "Resize")
    return Source(cfg, DecodedSSDLite(detector, (height, width)).eval(), Pictures(paths, pipeline))


def fused(decoded: DecodedSSDLite) -> DecodedSSDLite:
    """Return a copy whose backbone has its re-parameterised branches merged."""
    merged = copy.deepcopy(decoded)
    merged.detector.backbone.fuse()
    return merged


def write_checked(
    source: Source,
    out: Path,
    content: bytes,
    run: Run,
    *,
    kind: str,
    runtime: str,
    tolerance: float,
    run_final: Run | None = None,
) -> Exported:
    """Write an exported model once its runtime gives PyTorch's boxes and scores on pictures.

    Args:
        source: what was exported.
        out: the file; if the check fails, what was there stays.
        content: of the file.
        run: as in ``compare``.
        kind: of file, for the user.
        runtime: name of what runs it, likewise.
        tolerance: largest difference allowed, of boxes in pixels of the input and of scores.
        run_final: as in ``compare``.

    Raises:
        UserError: a picture that cannot be read, or results that differ by more than the tolerance.
    """
    decoded, count = source.decoded, len(source.pictures)
    samples = track_progress(_samples(source.pictures), "checking", total=count)
    differences = compare(decoded, samples, run, run_final)
    if not differences.within(tolerance):
        own = rounding(decoded, _samples(source.pictures))
        raise UserError(
            f"{runtime} and PyTorch differ on {count} pictures by up to {differences}, {tolerance:g} is "
            f"allowed: {out} was not written.\nThe rounding of PyTorch's own float32 is {own}; if that explains it, "
            "give a larger --tolerance."
        )
    make_folder(out.parent)
    write_atomically(out, lambda temporary: temporary.write_bytes(content))
    return Exported(kind, runtime, len(content), count, differences)


def compare(decoded: DecodedSSDLite, samples: Iterable[dict], run: Run, run_final: Run | None = None) -> Differences:
    """Run an exported model and PyTorch's, and return how far they are apart.

    Every box and score is compared with PyTorch's; each detection of the detector's own ``predict`` with the anchor
    that comes nearest; and what NonMaxSuppression keeps with what torchvision's keeps of the same boxes.

    Args:
        decoded: the detector that was exported.
        samples: pictures as the evaluation's transforms give them, ``inputs`` (3, H, W) BGR and ``data_samples``.
        run: of the exported model, an image (1, 3, H, W) to boxes and scores as ``DecodedSSDLite`` gives them.
        run_final: the same with NMS, if there is one: an image to what ``select`` gives.
    """
    differences = Differences()
    for sample in samples:
        image = sample["inputs"].flip(0)[None].float()  # BGR -> RGB
        boxes, scores = run(image)
        with torch.no_grad():
            expected = decoded(image)
        differences |= Differences(_largest(boxes, expected[0]), _largest(scores, expected[1]))
        differences |= _from_detections(boxes[0], scores[0], decoded.detector, sample)
        if run_final:
            differences |= _from_nms(run_final(image), select(boxes[0], scores[0], decoded.detector.test_cfg))
    return differences


def rounding(decoded: DecodedSSDLite, samples: Iterable[dict]) -> Differences:
    """Return how far PyTorch's own boxes and scores in float32 are from those of a network in float64."""
    differences, precise = Differences(), copy.deepcopy(decoded).double()
    for sample in samples:
        image = sample["inputs"].flip(0)[None].float()  # BGR -> RGB
        with torch.no_grad():
            (boxes, scores), expected = decoded(image), precise(image.double())
        differences |= Differences(_largest(boxes, expected[0]), _largest(scores, expected[1]))
    return differences


def select(boxes: Tensor, scores: Tensor, test_cfg: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress non-maxima class by class with torchvision's kernel.

    Args:
        boxes: (A, 4) xyxy.
        scores: (A, classes).
        test_cfg: the detector's ``score_thr``, ``nms``, ``max_per_img`` and ``min_bbox_size``.

    Returns:
        Boxes (N, 4), scores (N,) and labels (N,) of the detections kept, best first.
    """
    real = (boxes[:, 2:] - boxes[:, :2] > test_cfg.get("min_bbox_size", -1)).all(dim=1)
    iou = float(np.float32(test_cfg["nms"]["iou_threshold"]))
    kept_anchors: list[Tensor] = []
    their_labels: list[Tensor] = []
    for label, own in enumerate(scores.T):
        candidates = (real & (own > test_cfg["score_thr"])).nonzero().flatten()
        kept = candidates[nms(boxes[candidates], own[candidates], iou)]
        kept_anchors.append(kept)
        their_labels.append(torch.full_like(kept, label))
    anchors, labels = torch.cat(kept_anchors), torch.cat(their_labels)
    best = scores[anchors, labels].argsort(descending=True, stable=True)[: test_cfg["max_per_img"]]
    anchors, labels = anchors[best], labels[best]
    return boxes[anchors], scores[anchors, labels], labels


def _validation_pictures(cfg: Config) -> list[Path]:
    dataset = cfg.val_dataloader.dataset
    folder = Path(dataset.data_root) / dataset.data_prefix.img
    if not folder.is_dir():
        raise UserError(
            f"No pictures to check the export on: {folder.absolute()} is absent. Give --pictures with a picture or "
            "folder of your own, or --data-root."
        )
    return find_pictures(folder)[:_CHECKED]


def _samples(pictures: Pictures) -> Iterator[dict]:
    for index in range(len(pictures)):
        sample = pictures[index]
        if isinstance(sample, Unreadable):
            raise UserError(f"{sample.path} cannot be read to check the export on: {sample.reason}.")
        yield sample


def _largest(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max()) if found.numel() else 0.0


def _from_detections(boxes: Tensor, scores: Tensor, detector: "BaseDetector", sample: dict) -> Differences:
    """Compare each detection of the detector's own ``predict`` with the anchor that comes nearest."""
    data = detector.data_preprocessor(pseudo_collate([sample]), False)
    with torch.no_grad():
        kept = detector.predict(data["inputs"], data["data_samples"], rescale=False)[0].pred_instances
    if not len(kept):
        return Differences()
    off_boxes = (boxes[None] - kept.bboxes[:, None]).abs().amax(dim=-1)  # (detections, A)
    off_scores = (scores[:, kept.labels].T - kept.scores[:, None]).abs()  # (detections, A)
    nearest = torch.maximum(off_boxes, off_scores).argmin(dim=1, keepdim=True)
    return Differences(float(off_boxes.gather(1, nearest).max()), float(off_scores.gather(1, nearest).max()))


def _from_nms(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Differences:
    (boxes, scores, labels), (expected_boxes, expected_scores, expected_labels) = found, expected
    if not torch.equal(labels, expected_labels):
        return Differences(np.inf, np.inf)
    return Differences(_largest(boxes, expected_boxes), _largest(scores, expected_scores))
