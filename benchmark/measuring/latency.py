"""Measured time of models: median, 95th percentile and throughput, in rounds that interleave the models compared.

A round runs every model once (A B C A B C), so a clock that slows down or a neighbour on the machine hits all alike,
and ratios are taken within a round. Weights and images are random: a network's forward pass takes no note of either.
"""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from backbones.catalogue import build_network, find_entry, fuse_network, is_fused
from backbones.errors import UserError
from benchmark.config.complete import complete_model
from benchmark.config.load import config_name, load_config
from benchmark.console import track_progress
from benchmark.measuring.complexity import PROPOSALS, count_input
from benchmark.measuring.energy import nvml_joules, rapl_joules
from benchmark.measuring.folding import fold_batch_norm
from benchmark.measuring.rounds import STABLE_CHANGE, in_rounds
from benchmark.measuring.training_step import OBJECTS, make_step
from benchmark.models.build import build_model
from benchmark.models.precision import autocast, check_speed
from benchmark.records.latency import Latency, Ratio, Timed
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from mmdet.models import BaseDetector


MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous_format": torch.contiguous_format}
_ENERGY_SECONDS = 2.0  # of work between two readings of an energy counter


@dataclass(frozen=True)
class Settings:
    """How models are timed.

    Attributes:
        batch_size: images per run.
        input: (height, width) in pixels; None for each model's own.
        device: ``cpu`` or ``cuda``.
        threads: of the CPU; None for PyTorch's choice.
        precision: a key of ``PRECISIONS``, by autocast as in evaluation.
        slow_ok: take bf16 also on a CPU without instructions for it.
        memory_format: a key of ``MEMORY_FORMATS``.
        compile: by torch.compile; of a training step the backbone alone.
        fold_bn: fold batch normalisation into the convolutions before it.
        with_postprocessing: time a detector's whole prediction, box decoding and NMS included.
        training: time configs' training steps instead.
        runs: timed rounds.
        backbone: in place of the configs' own, as in ``load_config``; likewise ``dataset``.
    """

    batch_size: int = 1
    input: tuple[int, int] | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = None
    precision: str = "fp32"
    slow_ok: bool = False
    memory_format: str = "channels_last"
    compile: bool = False
    fold_bn: bool = False
    with_postprocessing: bool = False
    training: bool = False
    runs: int = 50
    backbone: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class _Subject:
    """A model ready to run."""

    name: str
    timed: Timed
    fused: bool
    images: Tensor
    run: Callable[[], Any]
    folding: tuple[int, int] | None
    gpu_memory: int | None


def measure(models: Sequence[str], settings: Settings) -> list[Latency]:
    """Time models in turn, round by round.

    Args:
        models: names of backbones, timed as ImageNet classifiers, and paths of configs.
        settings: how.

    Raises:
        UserError: unknown model, or settings this machine does not have.
    """
    records, _ = measure_rounds(models, settings)
    return records


def latency_rows(records: Sequence[Latency]) -> list[dict[str, str]]:
    """Return one printable row per measurement."""
    return [
        {
            "model": f"{record.model} (branches merged)" if record.fused else record.model,
            "timed": record.timed,
            "batch": str(record.input[0]),
            "input": f"{record.input[2]}x{record.input[3]}",
            "median (ms)": f"{record.median_ms:.1f}",
            "p95 (ms)": f"{record.p95_ms:.1f}",
            "images/s": f"{record.images_per_second:.1f}",
            "to the first": "-" if record.ratio is None else f"{record.ratio.median:.2f}",
            "quartiles": "-" if record.ratio is None else f"{record.ratio.low:.2f} to {record.ratio.high:.2f}",
            "peak (MB)": "-" if record.peak_memory is None else f"{record.peak_memory / 1e6:.0f}",
            "J/image": "-" if record.joules_per_image is None else f"{record.joules_per_image:.3g}",
        }
        for record in records
    ]


def describe(records: Sequence[Latency]) -> str:
    """Return the conditions that measurements side by side share."""
    record, timed = records[0], {record.timed for record in records}
    parts = [
        f"{record.device}, {record.threads} threads, {record.precision}, {record.memory_format}",
        "compiled" if record.compiled else "eager",
        "BN as it is" if record.norms_folded is None else "BN folded" + _norms_left(records),
        f"{record.runs} interleaved rounds after {record.warm_up} of warm-up",
    ]
    lines = [", ".join(parts) + "."]
    if not record.stable:
        lines.append(
            f"The medians still moved by over {STABLE_CHANGE:.0%} when the warm-up ended: the machine is busy."
        )
    if "network" in timed:
        lines.append("Detectors: backbone, neck and heads, without box decoding and NMS.")
    if "training step" in timed:
        lines.append(f"Forward, losses, backward and update, on noise with {OBJECTS} objects a picture in detectors.")
    if "prediction" in timed:
        lines.append("Detectors: with box decoding and NMS, on noise, where few boxes pass the score threshold.")
    return " ".join(lines)


def measure_rounds(models: Sequence[str], settings: Settings) -> tuple[list[Latency], np.ndarray]:
    """Time models as ``measure`` does; return the records, and the milliseconds of every run: (models, rounds)."""
    _check(settings)
    threads = torch.get_num_threads()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        # A training step has an autocast of its own, which leaves its backward pass out.
        precision = "fp32" if settings.training else settings.precision
        with torch.set_grad_enabled(settings.training), autocast(precision, settings.device):
            subjects = [_prepare(model, settings) for model in models]
            milliseconds, warm_up, stable = time_rounds([subject.run for subject in subjects], settings.runs)
            joules = [_joules_per_image(subject, settings) for subject in subjects]
        records = [
            Latency(
                model=subject.name,
                timed=subject.timed,
                input=_shape(subject.images),
                device=torch.cuda.get_device_name() if settings.device == "cuda" else "CPU",
                threads=torch.get_num_threads(),
                precision=settings.precision,
                memory_format=settings.memory_format,
                compiled=settings.compile,
                fused=subject.fused,
                norms_folded=subject.folding and subject.folding[0],
                norms_left=subject.folding and subject.folding[1],
                warm_up=warm_up,
                stable=stable,
                runs=settings.runs,
                median_ms=float(np.median(times)),
                p95_ms=float(np.percentile(times, 95)),
                images_per_second=1000 * settings.batch_size / float(np.median(times)),
                ratio=None if subject is subjects[0] else time_ratio(times, milliseconds[0]),
                peak_memory=_peak_memory(subject, len(subjects)),
                joules_per_image=energy,
            )
            for subject, times, energy in zip(subjects, milliseconds, joules, strict=True)
        ]
    finally:
        torch.set_num_threads(threads)
    return records, milliseconds


def _norms_left(records: Sequence[Latency]) -> str:
    left = [f"{record.norms_left} of {record.model}" for record in records if record.norms_left]
    return f" (but for {', '.join(left)})" if left else ""


def _check(settings: Settings) -> None:
    for name in ("batch_size", "runs", "threads"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} takes a number from 1, found {value}.")
    for name in ("fold_bn", "with_postprocessing"):
        if settings.training and getattr(settings, name):
            raise UserError(f"--{name.replace('_', '-')} is no part of a training step: leave it or --training out.")
    check_speed(settings.precision, slow_ok=settings.slow_ok, device=settings.device)


def _shape(images: Tensor) -> tuple[int, int, int, int]:
    batch, channels, height, width = images.shape
    return batch, channels, height, width


def _prepare(name: str, settings: Settings) -> _Subject:
    if settings.training:
        return _prepare_step(name, settings)
    before = torch.cuda.memory_allocated() if settings.device == "cuda" else 0
    if name.endswith(".py"):
        name, backbone, timed, model, size = _from_config(Path(name), settings)
    else:
        resolution = find_entry(name).resolution
        backbone, timed, model, size = name, "classifier", _classifier(name), (resolution, resolution)
    memory_format = MEMORY_FORMATS[settings.memory_format]
    images = torch.randn(settings.batch_size, 3, *(settings.input or size))
    model = model.eval()
    folding = fold_batch_norm(model, images[:1]) if settings.fold_bn else None
    model = model.to(settings.device).to(memory_format=memory_format)
    images = images.to(settings.device, memory_format=memory_format)
    forward = torch.compile(model) if settings.compile else model
    run = _synchronised(lambda: forward(images), settings)
    _first_run(name, run, settings)
    return _Subject(name, timed, is_fused(backbone), images, run, folding, _gpu_memory(run, before, settings))


def _prepare_step(name: str, settings: Settings) -> _Subject:
    if not name.endswith(".py"):
        raise UserError(f"--training times a config's training step, and {name} is a backbone: give a CONFIG.")
    before = torch.cuda.memory_allocated() if settings.device == "cuda" else 0
    cfg = load_config(Path(name), backbone=settings.backbone, dataset=settings.dataset)
    size = settings.input or count_input(cfg)
    step = make_step(
        cfg,
        settings.batch_size,
        size,
        precision=settings.precision,
        device=settings.device,
        memory_format=MEMORY_FORMATS[settings.memory_format],
        compiled=settings.compile,
    )
    run = _synchronised(step, settings)
    _first_run(config_name(cfg), run, settings)
    shape = torch.empty(settings.batch_size, 3, *size, device="meta")
    return _Subject(config_name(cfg), "training step", False, shape, run, None, _gpu_memory(run, before, settings))


def _from_config(path: Path, settings: Settings) -> tuple[str, str, Timed, nn.Module, tuple[int, int]]:
    """Return name, backbone, what is timed, the model, and its (height, width)."""
    cfg = load_config(path, backbone=settings.backbone, dataset=settings.dataset)
    name, backbone, size = config_name(cfg), cfg.model.backbone.name, count_input(cfg)
    if TASKS[cfg.task].kind == "classifier":
        return name, backbone, "classifier", _classifier(backbone), size
    complete_model(cfg)
    detector = build_model(cfg).eval()
    detector.backbone.fuse()
    if settings.with_postprocessing:
        return name, backbone, "prediction", _Prediction(detector), size
    return name, backbone, "network", _Network(detector), size


def _classifier(backbone: str) -> nn.Module:
    return fuse_network(backbone, build_network(backbone).eval())


class _Network(nn.Module):
    """A detector up to its heads' outputs; a second stage sees a fixed grid of proposals."""

    def __init__(self, detector: "BaseDetector") -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> list[Any]:
        """Map images (N, 3, H, W) to the outputs of the dense head and, if there is one, of the box head."""
        detector = self.detector
        maps = detector.neck(detector.backbone(images))
        if not hasattr(detector, "roi_head"):
            return [detector.bbox_head(maps)]
        roi = detector.roi_head
        regions = _proposals(images, PROPOSALS)
        features = roi.bbox_roi_extractor(maps[: roi.bbox_roi_extractor.num_inputs], regions)
        return [detector.rpn_head(maps), roi.bbox_head(features)]


class _Prediction(nn.Module):
    """A detector from images to boxes."""

    def __init__(self, detector: "BaseDetector") -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> list[Any]:
        """Map images (N, 3, H, W) to detections, one sample per image."""
        from mmdet.structures import DetDataSample

        size = tuple(images.shape[2:])
        shapes = {"img_shape": size, "ori_shape": size, "pad_shape": size, "batch_input_shape": size}
        samples = [DetDataSample(metainfo={**shapes, "scale_factor": (1.0, 1.0)}) for _ in images]
        return self.detector.predict(images, samples)


def _proposals(images: Tensor, count: int) -> Tensor:
    """Return ``count`` boxes per image, (N * count, 5): index of the image and x1, y1, x2, y2 in pixels."""
    height, width = images.shape[2:]
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(len(images) * count, 2, 2, generator=generator).sort(dim=1).values  # (boxes, corner, xy)
    boxes = (corners * torch.tensor([width, height])).flatten(1)
    index = torch.arange(len(images)).repeat_interleave(count)[:, None]
    return torch.cat([index, boxes], dim=1).to(images.device)


def _synchronised(forward: Callable[[], Any], settings: Settings) -> Callable[[], None]:
    if settings.device == "cpu":
        return forward

    def run() -> None:
        forward()
        torch.cuda.synchronize()

    return run


def _first_run(name: str, run: Callable[[], Any], settings: Settings) -> None:
    try:
        run()
    except torch.OutOfMemoryError as error:
        raise UserError(f"{name} does not fit the GPU's memory at batch {settings.batch_size}: give less.") from error
    except ValueError as error:  # BN of one value a channel
        raise UserError(f"{name} cannot run at batch {settings.batch_size}: {error} Give more images.") from error
    except RuntimeError as error:
        if not settings.compile:
            raise
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"torch.compile cannot compile {name} here: {reason}. Leave --compile out.") from error


def _gpu_memory(run: Callable[[], Any], before: int, settings: Settings) -> int | None:
    if settings.device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def _peak_memory(subject: _Subject, models: int) -> int | None:
    if subject.gpu_memory is not None:
        return subject.gpu_memory
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if models == 1 else None  # Linux counts in KiB


def time_rounds(runs: Sequence[Callable[[], Any]], rounds: int) -> tuple[np.ndarray, int, bool]:
    """Time functions in turn, round by round, after a warm-up; see ``rounds.in_rounds``."""
    return in_rounds(lambda: _round(runs), rounds, lambda numbers: track_progress(numbers, "timing"))


def _round(runs: Sequence[Callable[[], Any]]) -> list[float]:
    """Run every function once and return the milliseconds."""
    times = []
    for run in runs:
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def _joules_per_image(subject: _Subject, settings: Settings) -> float | None:
    images = 0

    def work() -> None:
        nonlocal images
        end = time.perf_counter() + _ENERGY_SECONDS
        while time.perf_counter() < end:
            subject.run()
            images += settings.batch_size

    joules = nvml_joules(work) if settings.device == "cuda" else rapl_joules(work)
    return None if joules is None else joules / images


def time_ratio(times: np.ndarray, reference: np.ndarray) -> Ratio:
    """Return the median and the quartiles of one model's times over another's, round by round; both are (rounds,)."""
    low, median, high = np.percentile(times / reference, [25, 50, 75])
    return Ratio(median=median, low=low, high=high)
