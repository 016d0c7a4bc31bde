"""What a series trains, kept in its folder, so that one that is started again is the same series or is refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.cli import Options
from benchmark.config.load import load_options
from benchmark.data.own.convert import USED
from benchmark.files.atomic import check_folder, make_folder, write_atomically
from benchmark.files.run_folder import RESULT, SERIES, slug
from benchmark.records.schema import Strict, read_record
from benchmark.training.plan import plan_training

_OF_TRAINING = ("pretrained", "steps", "subset")


class Recipe(Strict):
    """What the runs of a series have in common.

    Attributes:
        template: path of the config.
        dataset: name or folder, None for the template's own.
        data_sha256: of a user's own data, by split.
        steps: iterations of each run.
        subset: part of the training pictures, as ``benchmark.data.subsets`` has it.
    """

    template: str
    dataset: str | None
    data_root: str | None
    data_sha256: dict[str, str]
    steps: int
    batch_size: int | None
    pretrained: str | None
    precision: str
    subset: dict[str, int | float] | None
    cfg_options: tuple[str, ...]


class Dropped(Strict):
    """A backbone that is run no more, since it lies clearly behind.

    Attributes:
        runs: how many it had then; they stay.
        leader: the backbone that was ahead.
        figure: what they were compared by, a key of ``benchmark.records.figures.FIGURES``.
        value: its mean over the runs, in the unit of result.json; ``leader_value`` likewise.
        difference: value - leader_value.
        interval: 95% interval of the difference, over pictures and seeds.
    """

    backbone: str
    runs: int
    leader: str
    figure: str
    value: float
    leader_value: float
    difference: float
    interval: tuple[float, float]


class Series(Strict):
    """A series.

    Attributes:
        seconds: of a training step by backbone, as it was timed here before the first run.
        drop_clear_losers: whether backbones may be dropped; see ``benchmark.training.series.halving``.
        dropped: those that were, in this order.
    """

    recipe: Recipe
    backbones: tuple[str, ...]
    seeds: int
    seconds: dict[str, float]
    drop_clear_losers: bool = False
    dropped: tuple[Dropped, ...] = ()

    def leaves_out(self, job: "Job") -> bool:
        """Tell whether a run is not to be, since its backbone was dropped before."""
        return any(each.backbone == job.backbone and job.seed >= each.runs for each in self.dropped)


class Job(Strict):
    """One run of a series: a training like any other, in a folder of its own."""

    recipe: Recipe
    backbone: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.backbone}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether its result is there."""
        return (self.folder / RESULT).is_file()

    @property
    def options(self) -> Options:
        """The run's options."""
        return _options(self.recipe, self.backbone, self.folder)

    @property
    def training(self) -> dict[str, Any]:
        """The other arguments of ``benchmark.training.train.train``; a run that had begun goes on."""
        return {**_training(self.recipe), "seed": self.seed, "resume": "auto"}


def plan_series(
    recipe: Mapping[str, Any],
    backbones: Sequence[str],
    seeds: int,
    folder: Path,
    *,
    drop_clear_losers: bool = False,
) -> Series:
    """Return the series of a command line, with what is known of it where its folder holds it already.

    Args:
        recipe: see ``Recipe``; ``data_sha256`` is found here.
        backbones: each once, of the catalogue or ``timm:NAME``.
        seeds: runs a backbone, with the seeds 0, 1, ...
        folder: of the series.
        drop_clear_losers: whether backbones may be dropped.

    Raises:
        UserError: whatever speaks against a training of any backbone, nothing that could be dropped, or a folder with
            another series or anything else.
    """
    if repeated := [name for name in backbones if backbones.count(name) > 1]:
        raise UserError(f"--backbones names {repeated[0]} twice: name each once.")
    if drop_clear_losers and min(len(backbones), seeds) < 2:
        raise UserError(
            f"--drop-clear-losers compares backbones after each seed: it needs 2 backbones and 2 seeds, found "
            f"{len(backbones)} and {seeds}."
        )
    chosen = Recipe(data_sha256={}, **recipe)
    for backbone in backbones:
        cfg = load_options(_options(chosen, backbone, folder), **_training(chosen))
        if "own_data" in cfg:
            hashes = {split: file_sha256(Path(cfg.data_root) / f"{split}.json") for split in USED}
            chosen = chosen.model_copy(update={"data_sha256": hashes})
    series = Series(
        recipe=chosen, backbones=tuple(backbones), seeds=seeds, seconds={}, drop_clear_losers=drop_clear_losers
    )
    check_folder(folder)
    path = folder / SERIES
    if path.is_file():
        series = _same(read_series(path), series, path)
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds other files and no {SERIES}: give --work-dir a new or an empty folder.")
    for job in jobs(series, folder):
        if job.seed == 0 and not job.finished:
            plan_training(job.options, **job.training)  # which changes nothing, and finds what speaks against it
    return series


def write_series(series: Series, folder: Path) -> None:
    """Write a series into its folder, which is made."""
    make_folder(folder)
    text = series.model_dump_json(indent=2) + "\n"
    write_atomically(folder / SERIES, lambda temporary: temporary.write_text(text))


def read_series(path: Path) -> Series:
    """Read a series.

    Raises:
        UserError: another file.
    """
    return read_record(Series, path, "no plan of a series")


def jobs(series: Series, folder: Path) -> list[Job]:
    """Return the runs of a series: all backbones with the first seed, then with the next."""
    return [
        Job(recipe=series.recipe, backbone=backbone, seed=seed, folder=folder / f"{slug(backbone)}_seed{seed}")
        for seed in range(series.seeds)
        for backbone in series.backbones
    ]


def _options(recipe: Recipe, backbone: str, folder: Path) -> Options:
    return Options(
        Path(recipe.template),
        work_dir=folder,
        cfg_options=recipe.cfg_options,
        data_root=Path(recipe.data_root) if recipe.data_root else None,
        precision=recipe.precision,
        batch_size=recipe.batch_size,
        backbone=backbone,
        dataset=recipe.dataset,
    )


def _training(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in _OF_TRAINING}


def _same(theirs: Series, ours: Series, path: Path) -> Series:
    """Return the series that is there, if it is ours; more seeds and more backbones may be asked for later."""
    then, now = theirs.recipe.model_dump(), ours.recipe.model_dump()
    if then["data_sha256"] != now["data_sha256"] and then["dataset"] == now["dataset"]:
        raise UserError(
            f"The data set {now['dataset']} has changed since {path} was made: restore it, or give another --work-dir "
            "for runs that can be compared."
        )
    if differing := [f"{key}: {then[key]!r} then, {now[key]!r} now" for key in then if then[key] != now[key]]:
        raise UserError(f"{path} is of another series; different are {'; '.join(differing)}. Give another --work-dir.")
    absent = [backbone for backbone in theirs.backbones if backbone not in ours.backbones]
    if absent or theirs.seeds > ours.seeds:
        missing = absent[0] if absent else f"seed {theirs.seeds - 1}"
        raise UserError(f"{path} also plans {missing}: name it again, or give another --work-dir.")
    as_then = ours.drop_clear_losers and theirs.drop_clear_losers and ours.backbones == theirs.backbones
    return ours.model_copy(update={"seconds": theirs.seconds, "dropped": theirs.dropped if as_then else ()})
