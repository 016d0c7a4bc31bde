"""From a checkpoint to the table of its formats; what an interrupted call has done is not done again."""

import contextlib
import datetime
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbones.errors import UserError, did_you_mean
from backbones.tensors import file_sha256
from benchmark.cli import Options
from benchmark.config.identity import config_sha256
from benchmark.config.load import config_name
from benchmark.console import track_progress
from benchmark.files.atomic import check_folder, make_folder, remove_leftovers, write_atomically
from benchmark.files.checkpoints import resolve_checkpoint
from benchmark.files.ownership import owned
from benchmark.files.reading import read_regular
from benchmark.files.run_folder import UNITS
from benchmark.inference.deploy.labelled import Labelled, calibration_pictures, inputs_of, label_pictures
from benchmark.inference.deploy.portable import BUNDLE, TABLE, write_bundle
from benchmark.inference.deploy.pytorch import Recipe
from benchmark.inference.deploy.workers import OTHERS, SAMPLE, Subject, Timed, time_subjects
from benchmark.inference.export.checked import conversion_of, convert, move, place, scratch
from benchmark.inference.export.formats import FORMATS, Format
from benchmark.inference.export.runtime import Arrays
from benchmark.inference.export.source import Source, prepare, read_config
from benchmark.inference.quantise.arithmetic import arithmetic_here
from benchmark.inference.quantise.search import Quantised, Task, check_quantisable, quantisable, quantise
from benchmark.measuring.machine import available_cores, busy_share, processor
from benchmark.records.deploy import DeployTable, TimedRow

_IDENTITY = "deployed.json"  # in UNITS: what the folder is of
_TIMES = "times.npz"  # in UNITS
_BUSY = 0.2  # share of the machine
_PYTORCH = "pytorch"
_COMPILED = "pytorch_compiled"
_NAMES = (*OTHERS, *FORMATS)
WORKER = (sys.executable, "-m", "benchmark.inference.deploy.portable", "--worker")


@dataclass(frozen=True)
class Settings:
    """What is made, and how it is measured.

    Attributes:
        formats: names, or ``all``: every one that this machine can run.
        int8: INT8 files too, of the formats that have them.
        max_drop: of the figure by INT8, in percent: a file that loses as much is not kept.
        calibration: folder of pictures to calibrate on; None for the config's training pictures.
        calibrate: how many of them.
        canvas: as in ``prepare``.
        pictures: to check files on, as in ``prepare``.
        rounds: that are timed.
        busy_ok: time on a busy machine too; the table says so.
    """

    formats: Sequence[str] = ("all",)
    int8: bool = False
    max_drop: float = 0.5
    calibration: Path | None = None
    calibrate: int = 128
    canvas: tuple[int, int] | None = None
    pictures: Path | None = None
    rounds: int = 50
    busy_ok: bool = False


@dataclass(frozen=True)
class Unit:
    """A row of the table before it is timed, as its file in the folder keeps it.

    Attributes:
        name: of the format.
        precision: ``fp32`` or ``int8``.
        file: its name in the folder, None where there is none.
        digests: of all its files, by name.
        size: of them, in bytes.
        found: what it finds in every validation picture; None where that was not asked.
        verified: as in ``DeployRow``.
        note: for the reader.
    """

    name: str
    precision: str
    file: str | None = None
    digests: Mapping[str, str] | None = None
    size: int | None = None
    found: list[Any] | None = None
    verified: str = "unchecked"
    note: str = ""

    @property
    def key(self) -> str:
        """Name of its file in the folder."""
        return f"{self.name}_{self.precision}"


def deploy(options: Options, checkpoint: Path, folder: Path | None, settings: Settings) -> tuple[DeployTable, Path]:
    """Make every file, check, evaluate and time it; return the table and its folder, which holds all.

    Args:
        options: which config.
        checkpoint: a .pth file of a run.
        folder: of the files; None for one of the config's name below ``work_dirs/deploy``.
        settings: what is made.

    Raises:
        UserError: a format that is absent or unknown, no pictures, a busy machine; what was done until then is kept.
    """
    chosen, absent = choose_formats(settings.formats)
    quantised, absent_int8 = _choose_quantised(chosen, settings)
    cfg = read_config(options)
    folder = folder or Path("work_dirs") / "deploy" / config_name(cfg)
    check_folder(folder)
    check_quiet(settings.busy_ok)
    resolved = resolve_checkpoint(checkpoint)
    source = prepare(cfg, resolved, settings.pictures, settings.canvas)
    _check_identity(folder, cfg, resolved, settings)
    labelled = label_pictures(source)
    calibration = calibration_pictures(source, settings.calibration, settings.calibrate) if quantised else []
    make_folder(folder)
    with owned(folder):
        _settle(folder, cfg, resolved, settings)
        work = _Work(source, labelled, folder, config_name(cfg))
        units = [work.do(_PYTORCH, "fp32", work.evaluate_pytorch)]
        if _COMPILED in chosen:
            units.append(Unit(_COMPILED, "fp32", note="the same network, compiled: not evaluated again"))
        with scratch() as shared:
            for name in (name for name in chosen if name in FORMATS):
                units.append(work.do(name, "fp32", functools.partial(work.export, name, shared)))
                if name in quantised and units[-1].file:
                    make = functools.partial(work.quantise, name, calibration, units[0], settings.max_drop)
                    units.append(work.do(name, "int8", make))
        sample = inputs_of(source, source.pictures.paths[:1])[0]
        write_atomically(folder / SAMPLE, functools.partial(_write_arrays, arrays=sample))
        recipe = Recipe(options, resolved, source.pictures.paths[0], settings.canvas)
        times, busy = _time(folder, units, recipe, settings)
        rows = _rows(units, times, labelled, chosen)
        rows += [
            TimedRow(format=name, precision=precision, figure=labelled.figure, note=reason)
            for names, precision in ((absent, "fp32"), (absent_int8, "int8"))
            for name, reason in names.items()
        ]
        timed = [each for each in times.values() if isinstance(each, Timed)]
        table = DeployTable(
            backbone=cfg.model.backbone.name,
            config=config_name(cfg),
            run=str(checkpoint.parent),
            device="CPU",
            threads=1,
            rows=tuple(rows),
            machine=f"{processor()}, {available_cores()} cores",
            busy=busy,
            rounds=settings.rounds,
            stable=all(each.stable for each in timed),
            pictures=len(labelled.paths),
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        table.write(folder / TABLE)
        write_atomically(folder / BUNDLE, write_bundle)
    return table, folder


def choose_formats(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the formats asked for that can be made and run here, and why the others of ``all`` cannot.

    Raises:
        UserError: an unknown format, or one that is named and absent.
    """
    for name in names:
        if name != "all" and name not in _NAMES:
            raise UserError(
                f"Unknown format {name!r}.{did_you_mean(name, _NAMES)} Expected all or some of {', '.join(_NAMES)}."
            )
    if "all" not in names:
        for name in names:
            if name in FORMATS:
                FORMATS[name].check_installed()
        return [name for name in _NAMES if name in names], {}
    chosen, absent = list(OTHERS), {}
    for name, row in FORMATS.items():
        try:
            row.check_installed()
            chosen.append(name)
        except UserError as error:
            absent[name] = str(error)
    return chosen, absent


def _choose_quantised(chosen: Sequence[str], settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Return the formats that get INT8 files, and why others that could do not."""
    if not settings.int8:
        return [], {}
    possible, absent = [name for name in chosen if name in quantisable()], {}
    if not possible:
        raise UserError(f"--int8 is made of {' and '.join(quantisable())} files: name one of these in --formats.")
    for name in possible:
        try:
            check_quantisable(name)
        except UserError as error:
            if "all" not in settings.formats:
                raise
            absent[name] = str(error)
    return [name for name in possible if name not in absent], absent


def check_quiet(busy_ok: bool) -> float:
    """Return the share of the machine that others take.

    Raises:
        UserError: it is too much to time anything, and nobody said that this is well.
    """
    busy = busy_share()
    if busy > _BUSY and not busy_ok:
        raise UserError(
            f"Other processes take {busy:.0%} of this machine, so times would say little (up to {_BUSY:.0%} is well). "
            "Wait, or give --busy-ok: the table then says so. What is done is kept."
        )
    return busy


class _Work:
    """The work on one folder.

    Args:
        source: what is exported.
        labelled: validation pictures.
        folder: of all files.
        stem: how the files' names begin.
    """

    def __init__(self, source: Source, labelled: Labelled, folder: Path, stem: str) -> None:
        self.source, self.labelled, self.folder, self.stem = source, labelled, folder, stem

    def do(self, name: str, precision: str, make: Callable[[], Unit]) -> Unit:
        """Return a unit that is done already and whose files are as they were, or make it and note it."""
        place = self.folder / UNITS / f"{name}_{precision}.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            unit = Unit(**json.loads(read_regular(place)))
            digests = unit.digests or {}
            if all(_digest(self.folder / path) == digest for path, digest in digests.items()):
                return unit
        unit = make()
        write_atomically(place, lambda temporary: temporary.write_text(json.dumps(asdict(unit))))
        return unit

    def evaluate_pytorch(self) -> Unit:
        """Evaluate the model that files are made of."""

        def run(inputs: Arrays) -> dict[str, Any]:
            tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
            return {name: value.numpy() for name, value in self.source.original.run(tensors).items()}

        return Unit(_PYTORCH, "fp32", found=self.labelled.find(run), verified="yes")

    def export(self, name: str, shared: Path) -> Unit:
        """Write a file in float; ``shared`` keeps what several formats are made of. One that fails has a note."""
        row, out = FORMATS[name], self.folder / f"{self.stem}{FORMATS[name].ending}"
        try:
            made = convert(row, conversion_of(self.source, row, shared), shared / out.name)
            placed = place(self.source, row, made, out)
        except UserError as error:
            return Unit(name, "fp32", note=str(error).replace("\n", " "))
        if row.unchecked:
            return self._unit(name, "fp32", out, placed.size, None, "unchecked", f"not checked, for {row.unchecked}")
        note = f"differs from PyTorch by {placed.differences}"
        return self._unit(name, "fp32", out, placed.size, self._find(row, out), "yes", note)

    def quantise(self, name: str, calibration: Sequence[Path], reference: Unit, max_drop: float) -> Unit:
        """Write an INT8 file, if one of them loses little."""
        row, out = FORMATS[name], self.folder / f"{self.stem}_int8{FORMATS[name].ending}"
        scored = self.labelled.score(reference.found or [])
        found: dict[Path, list[Any]] = {}

        def drop(path: Path) -> float:
            found[path] = self._find(row, path)
            difference, _ = self.labelled.compare(self.labelled.score(found[path]), scored)
            return -(difference or 0.0)

        task = Task(
            name=name,
            source=self.folder / f"{self.stem}{row.ending}",
            facts={**self.source.facts, "precision": "int8"},
            pictures=inputs_of(self.source, calibration),
            arithmetic=arithmetic_here(),
        )
        with scratch() as place:
            made: Quantised = quantise(task, place, drop, max_drop)
            if made.path is None:
                return Unit(name, "int8", note=made.note)
            size = move(row, made.path, out)
            return self._unit(name, "int8", out, size, found[made.path], "by figure", made.note)

    def _find(self, row: Format, path: Path) -> list[Any]:
        return self.labelled.find(row.load_module().load(path, None))

    def _unit(
        self, name: str, precision: str, out: Path, size: int, found: list[Any] | None, verified: str, note: str
    ) -> Unit:
        digests = {path.name: _digest(path) for path in FORMATS[name].files(out)}
        return Unit(name, precision, out.name, digests, size, found, verified, note)


def _digest(path: Path) -> str:
    """Return the hash of a file, or of all files in a folder."""
    if path.is_file():
        return file_sha256(path)
    parts = sorted(part for part in path.rglob("*") if part.is_file())
    text = "".join(f"{part.relative_to(path)} {file_sha256(part)}\n" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


Times = dict[tuple[str, int], Timed | str]  # by a unit's key and 0 for one thread, 1 for all


def _time(folder: Path, units: Sequence[Unit], recipe: Recipe, settings: Settings) -> tuple[Times, float]:
    """Time all files together, or return the times of an earlier call on the same files."""
    subjects = [unit for unit in units if unit.name in OTHERS or unit.found is not None]
    text = json.dumps([[unit.key, unit.digests] for unit in subjects] + [settings.rounds], sort_keys=True)
    key, place = hashlib.sha256(text.encode()).hexdigest(), folder / UNITS / _TIMES
    if (earlier := _read_times(place, key)) is not None:
        return earlier
    busy = check_quiet(settings.busy_ok)
    times: Times = {}
    with scratch() as temporary:
        recipe.write(temporary / "recipe")
        for place_of, threads in enumerate((1, available_cores())):
            asked = [
                Subject(unit.name, folder / unit.file if unit.file else temporary / "recipe", threads)
                for unit in subjects
            ]
            progress = functools.partial(track_progress, description=f"timing, {threads} threads")
            found = time_subjects(asked, folder / SAMPLE, WORKER, settings.rounds, progress)
            times |= {(unit.key, place_of): each for unit, each in zip(subjects, found, strict=True)}
    write_atomically(place, functools.partial(_write_times, key=key, times=times, busy=busy))
    return times, busy


def _write_times(path: Path, key: str, times: Times, busy: float) -> None:
    arrays = {"key": np.array(key), "busy": np.array(busy)}
    for (name, number), each in times.items():
        if isinstance(each, str):
            arrays[f"{name}.{number}.why"] = np.array(each)
        else:
            arrays[f"{name}.{number}.ms"] = np.stack([each.wall, each.cpu])
            arrays[f"{name}.{number}.rest"] = np.array([each.peak, each.warm_up, each.stable])
    _write_arrays(path, arrays)


def _read_times(path: Path, key: str) -> tuple[Times, float] | None:
    """Return the times of an earlier call on the same files, None if there are none."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError), np.load(path, allow_pickle=False) as file:
        if str(file["key"]) != key:
            return None
        times: Times = {}
        for name in file.files:
            unit, _, rest = name.rpartition(".")
            if rest == "why":
                stem, _, number = unit.rpartition(".")
                times[stem, int(number)] = str(file[name])
            elif rest == "ms":
                stem, _, number = unit.rpartition(".")
                peak, warm_up, stable = file[f"{unit}.rest"].tolist()
                wall, cpu = file[name]
                times[stem, int(number)] = Timed(wall, cpu, int(peak), int(warm_up), bool(stable))
        return times, float(file["busy"])
    return None


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # np.savez would add an ending to a name
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _rows(units: Sequence[Unit], times: Times, labelled: Labelled, chosen: Sequence[str]) -> list[TimedRow]:
    reference = labelled.score(units[0].found or [])
    return [
        _row(unit, times.get((unit.key, 0)), times.get((unit.key, 1)), labelled, reference)
        for unit in units
        if unit.name != _PYTORCH or _PYTORCH in chosen
    ]


def _row(
    unit: Unit, one: Timed | str | None, every: Timed | str | None, labelled: Labelled, reference: Any
) -> TimedRow:
    value = interval = delta = delta_interval = None
    if unit.found is not None:
        scored = labelled.score(unit.found)
        value, interval = labelled.value(scored)
        if unit.name != _PYTORCH:
            delta, delta_interval = labelled.compare(scored, reference)
    timed: dict[str, Any] = {}
    note = unit.note
    for prefix, each in (("", one), ("all_", every)):
        if isinstance(each, Timed):
            timed[f"{prefix}ms"], timed[f"{prefix}ms_interval"] = each.median, each.quartiles
            timed[f"{prefix}cpu_ms"] = each.cpu_median
        elif each and not prefix:
            note = "; ".join(filter(None, [note, f"not timed: {each}"]))
    return TimedRow(
        format=unit.name,
        precision=unit.precision,
        file=unit.file,
        mb=unit.size and unit.size / 1e6,
        figure=labelled.figure,
        value=value,
        interval=interval,
        delta=delta,
        delta_interval=delta_interval,
        peak_mb=one.peak / 1e6 if isinstance(one, Timed) else None,
        verified=unit.verified,
        note=note,
        **timed,
    )


def _identity(cfg: Any, checkpoint: Path, settings: Settings) -> dict[str, Any]:
    return {
        "config": config_sha256(cfg),
        "checkpoint": file_sha256(checkpoint),
        "canvas": settings.canvas and list(settings.canvas),
        "max_drop": settings.max_drop,
        "calibration": settings.calibration and str(settings.calibration.absolute()),
        "calibrate": settings.calibrate,
    }


def _check_identity(folder: Path, cfg: Any, checkpoint: Path, settings: Settings) -> None:
    """Refuse a folder of something else.

    Raises:
        UserError: it is.
    """
    place, expected = folder / UNITS / _IDENTITY, _identity(cfg, checkpoint, settings)
    if not place.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} holds something else than deployed files: give another --work-dir.")
        return
    try:
        found = json.loads(read_regular(place))
        differing = [key for key, value in expected.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{place} is not readable JSON: {error}. Give another --work-dir.") from error
    if differing:
        raise UserError(f"{folder} was made with another {differing[0]}: give another --work-dir.")


def _settle(folder: Path, cfg: Any, checkpoint: Path, settings: Settings) -> None:
    make_folder(folder / UNITS)
    for each in (folder, folder / UNITS):
        remove_leftovers(each)
    text = json.dumps(_identity(cfg, checkpoint, settings), indent=1)
    write_atomically(folder / UNITS / _IDENTITY, lambda temporary: temporary.write_text(text + "\n"))
