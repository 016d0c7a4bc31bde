"""Writing an exported model: a file gets its name once its runtime has found what PyTorch finds on real pictures."""

import dataclasses
import functools
import itertools
import operator
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.errors import UserError, as_user_errors
from benchmark.cli import Options
from benchmark.console import track_progress
from benchmark.files.atomic import check_file, check_folder, make_folder, place_folder, write_atomically
from benchmark.inference.export.conversion import Conversion
from benchmark.inference.export.differences import Differences
from benchmark.inference.export.exportable import Exportable, call_batch
from benchmark.inference.export.formats import FORMATS, ONE_STAGE, Format, find_format, format_of
from benchmark.inference.export.layouts import check_layout, lay_out, model_folder
from benchmark.inference.export.pictured import Pictured
from benchmark.inference.export.runtime import Run
from benchmark.inference.export.source import Source, kind_of, prepare, read_config, readable


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        kind: of file.
        runtime: what ran it.
        size: of all its files, in bytes.
        pictures: how many it was checked on; none where files of the format are not run here.
        differences: from PyTorch, the largest.
        allowed: likewise, how large they may be.
        unchecked: why it was not checked; empty where it was.
    """

    kind: str
    runtime: str
    size: int
    pictures: int
    differences: Differences
    allowed: Differences
    unchecked: str = ""


def export(
    options: Options,
    checkpoint: Path,
    out: Path,
    *,
    pictures: Path | None = None,
    tolerance: float | None = None,
    canvas: tuple[int, int] | None = None,
    batch: int = 1,
    layout: str | None = None,
    with_preprocessing: bool = False,
    **chosen: Any,
) -> Exported:
    """Write a checkpoint's model to a file once its runtime gives PyTorch's results on pictures.

    The input ``image`` is (B, 3, H, W) float32 RGB in 0..255; normalisation is part of the model. The outputs are, of
    SSDLite, ``boxes`` (B, A, 4), xyxy in pixels of the input, and ``scores`` (B, A, classes), for every anchor; of
    two-stage detectors ``detection_boxes`` (N, 4), ``detection_scores`` (N,), ``detection_labels`` (N,) and
    ``detection_masks`` (N, h, w), best first, with score 0 where there are less than N; of classifiers ``logits``. What
    the file says of itself tells how to prepare a picture, and names the classes.

    Args:
        options: which config.
        checkpoint: a .pth file of a run.
        out: the file to write, whose ending says the format; if the check fails, what was there stays.
        pictures: a picture or a folder to check on; default the first 8 of the config's validation pictures.
        tolerance: largest difference allowed, of boxes in pixels of the input and of all else; default the kind's own.
        canvas: as in ``prepare``; likewise ``batch``.
        batch: B, how many pictures the file takes at once.
        layout: a key of ``LAYOUTS``: a folder for that server, called as ``out`` without its ending, is made instead.
        with_preprocessing: let the input be ``picture``, (H, W, 3) uint8 RGB of any size, and boxes be in pixels of it.
        chosen: options of the format.

    Raises:
        UserError: not a model that the format can hold, a missing package, pictures that cannot be read, or results
            that differ by more than the tolerance.
    """
    if out.is_dir() and not layout:
        if format_of(out):  # some formats' files are folders
            raise UserError(f"--out {out} is there already: remove it or give another name.")
        raise UserError(f"--out {out} is a folder: give a file, such as {out / 'model.onnx'}.")
    of_some = {"batch": batch > 1, "with_preprocessing": with_preprocessing}
    row = find_format(out, chosen.keys() | {name for name, given in of_some.items() if given})
    cfg = read_config(options)
    _check_kind(row, kind_of(cfg))
    if with_preprocessing and kind_of(cfg) not in ONE_STAGE:
        # Another proposal is taken for a grey level more, so nothing could be compared.
        raise UserError("--with-preprocessing is for SSDLite and classifiers: leave it out.")
    if batch > 1 and chosen.get("nms"):
        raise UserError("--nms is of one picture at a time: leave it or --batch out.")
    row.check_installed()
    if hasattr(module := row.load_module(), "check"):
        module.check(cfg, **chosen)
    if layout:
        check_layout(layout, row, out)
        check_folder(out.parent)
    for path in () if layout else row.files(out):
        check_file(path)
    source = prepare(cfg, checkpoint, pictures, canvas, batch)
    if with_preprocessing:
        source = dataclasses.replace(source, original=Pictured(source.original).eval())
    with scratch() as folder:
        made = convert(row, conversion_of(source, row, folder), folder / out.name, **chosen)
        if not layout:
            return place(source, row, made, out, tolerance)
        target = model_folder(out, row)
        found = verify(source, row, made, target, tolerance)
        lay_out(layout, row, made, folder / "layout" / target.name)
        make_folder(target.parent)
        place_folder(folder / "layout" / target.name, target)
        return found


@contextmanager
def scratch() -> Iterator[Path]:
    """Hold a folder for unfinished files, which goes with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        yield Path(folder)


def conversion_of(source: Source, row: Format, folder: Path) -> Conversion:
    """Return what a format's module converts; the ONNX file that it may be made from goes into the folder, once."""
    _check_kind(row, source.original.kind)
    bare = Conversion(source.fused, source.facts)
    if not row.from_onnx:
        return bare
    base = folder / "base.onnx"
    if not base.is_file():
        convert(FORMATS["onnx"], bare, base)
    return Conversion(source.fused, source.facts, base)


def _check_kind(row: Format, kind: str) -> None:
    if kind not in row.kinds:
        raise UserError(f"{row.title} files hold {', '.join(sorted(row.kinds))}, no {kind}.")


def convert(row: Format, conversion: Conversion, out: Path, **chosen: Any) -> Path:
    """Convert a model into a file that nobody relies on yet, and return its path.

    Raises:
        UserError: whatever the converter says.
    """
    with as_user_errors(f"Converting to {row.title}"):
        row.load_module().convert(conversion, out, **chosen)
    return out


def place(source: Source, row: Format, made: Path, out: Path, tolerance: float | None = None) -> Exported:
    """Check a converted model on the source's pictures, and give it its name.

    Args:
        source: what was exported.
        row: the format.
        made: the converted file.
        out: its name; if the check fails, what was there stays.
        tolerance: as in ``export``.

    Raises:
        UserError: a picture that cannot be read, or results that differ by more than the tolerance.
    """
    found = verify(source, row, made, out, tolerance)
    move(row, made, out)
    return found


def verify(source: Source, row: Format, made: Path, out: Path, tolerance: float | None = None) -> Exported:
    """Check a converted model on the source's pictures.

    Args:
        source: what was exported.
        row: the format.
        made: the converted file.
        out: its name to be, for messages.
        tolerance: as in ``export``.

    Raises:
        UserError: as ``place``.
    """
    allowed = source.original.tolerance if tolerance is None else Differences.all(tolerance)
    module = row.load_module()
    checks = [] if row.unchecked else source.checks
    differences = Differences()
    if checks:
        differences = compare(source.original, track_progress(checks, "checking"), module.load(made, None))
    if not differences.within(allowed):
        raise UserError(
            f"{row.runtime} and PyTorch differ on {len(checks)} pictures by up to {differences}, {allowed} is "
            f"allowed: {out} was not written.{_rounding(source)}"
        )
    kind = f"{row.title}, {module.version(made)}" if hasattr(module, "version") else row.title
    size = sum(_size(path) for path in row.files(made))
    return Exported(kind, row.runtime, size, len(checks), differences, allowed, row.unchecked)


def _size(path: Path) -> int:
    """Return the size in bytes of a file, or of all that is in a folder."""
    return sum(part.stat().st_size for part in (path, *path.rglob("*")) if part.is_file())


def _rounding(source: Source) -> str:
    """Say how far PyTorch itself is from exact, where that can be told."""
    own = [source.original.rounding(sample) for sample in readable(source.pictures)]
    known = [differences for differences in own if differences is not None]
    if not known:
        return ""
    largest = functools.reduce(operator.or_, known)
    return f"\nThe rounding of PyTorch's own float32 is {largest}; if that explains it, give a larger --tolerance."


def compare(original: Exportable, checks: Iterable[Any], run: Run) -> Differences:
    """Run an exported model, and return how far it is from the original on pairs of inputs and references."""
    differences, remaining = Differences(), iter(checks)
    while group := list(itertools.islice(remaining, original.batch)):
        filled = list(itertools.islice(itertools.cycle(group), original.batch))  # each place of the batch has a picture
        found = call_batch(run, [inputs for inputs, _ in filled], original.batch)
        for own, (_, reference) in zip(found, filled, strict=True):
            differences |= original.compare(own, reference)
    return differences


def move(row: Format, made: Path, out: Path) -> int:
    """Give a file and its siblings their names, the file itself last; return their size in bytes.

    Raises:
        UserError: they cannot be written.
    """
    make_folder(out.parent)
    for part, target in zip(row.files(made), row.files(out), strict=True):
        if part.is_dir():
            place_folder(part, target)
        else:
            write_atomically(target, functools.partial(shutil.copyfile, part))
    return sum(_size(path) for path in row.files(made))
