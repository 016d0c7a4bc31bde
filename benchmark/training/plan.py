"""What a run needs to know, put together and checked before anything is changed or built.

A command that is refused has changed nothing: whatever can be wrong is found here, and what a run does to its folder
comes after.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmengine.config import Config

from backbones.errors import UserError
from backbones.tensors import file_sha256, tensors_sha256
from benchmark.cli import Options
from benchmark.config.complete import DATALOADERS, complete_model
from benchmark.config.identity import config_sha256, flatten, identity
from benchmark.config.load import config_name, load_options
from benchmark.config.overrides import check_arguments
from benchmark.config.recipe import EARLY_STOP, Recipe
from benchmark.data.subsets import describe_part, part_size
from benchmark.files.atomic import check_folder, make_folder, remove_leftovers
from benchmark.files.checkpoints import check_fit, load_checkpoint, load_weights, newest_intact, resolve_checkpoint
from benchmark.files.hub import is_address
from benchmark.files.ownership import owned
from benchmark.files.run_folder import (
    EVALUATION,
    JOURNAL,
    OWNER,
    POINT,
    RESULT,
    RUN_NAMES,
    VIS_DATA,
    checkpoint_iteration,
    evaluation_folder,
    list_checkpoints,
    run_files,
    set_aside,
    slug,
)
from benchmark.models.build import build_skeleton, check_model_type
from benchmark.models.compiled import check_compilable
from benchmark.preflight import Preflight, check_data
from benchmark.preflight.run import check_disk
from benchmark.records.result import CheckpointRecord, read_result
from benchmark.tasks import TASKS
from benchmark.training.processes import find_launcher, init_distributed, is_main, is_restart, world_size

if TYPE_CHECKING:
    from benchmark.measuring.complexity import Complexity

_SHOWN = 8


@dataclass(frozen=True)
class Plan:
    """A run that nothing speaks against.

    Attributes:
        cfg: complete.
        work_dir: folder of the run.
        precision: of training or, for an evaluation, of the forward pass.
        complexity: of the model.
        sha256: hash of the config's identity.
        notes: what is to be said before it starts.
        record: what decides every number of a training, in plain containers; empty for an evaluation.
        checkpoint: what a training resumes from or an evaluation is of; None for one of pretrained weights.
        replaces: the run that is in the folder goes first.
        keeps_damaged: but for its checkpoints, all of which are damaged; they are set aside.
        evaluates: the weights of an evaluation alone; None for a training.
    """

    cfg: Config
    work_dir: Path
    precision: str
    complexity: "Complexity"
    sha256: str
    notes: tuple[str, ...] = ()
    record: dict[str, Any] | None = None
    checkpoint: Path | None = None
    replaces: bool = False
    keeps_damaged: bool = False
    evaluates: CheckpointRecord | None = None


def plan_training(
    options: Options,
    *,
    pretrained: str | None = None,
    steps: int | None = None,
    subset: Mapping[str, Any] | None = None,
    seed: int = 0,
    resume: bool | Literal["auto"] = False,
    resume_anyway: bool = False,
    overwrite: bool = False,
    save_interval: str | None = None,
    keep: int | None = None,
    compiled: bool = False,
    pictures: int = 0,
    recipe: Recipe | None = None,
    trackers: Sequence[str] = (),
) -> Plan:
    """Check a training; arguments as in ``benchmark.training.train.train``.

    Raises:
        UserError: whatever the user can fix.
    """
    cfg = load_options(options, pretrained=pretrained, steps=steps, subset=subset, recipe=recipe or Recipe())
    _check_accumulation(cfg)
    if pictures and TASKS[cfg.task].kind != "detector":
        raise UserError(f"--pictures draws detections, and {options.config} is a {cfg.task} config: leave it out.")
    if compiled:
        check_compilable(cfg)
    if trackers:
        from benchmark.training.trackers import add_trackers

        add_trackers(cfg, trackers)
    cfg.compiled = compiled
    if cfg.get("load_from") or cfg.get("resume"):
        raise UserError(f"{options.config} sets load_from or resume: use --pretrained FILE or --resume.")
    cfg.setdefault("randomness", {})["seed"] = seed
    saving = {key: value for key, value in (("interval", save_interval), ("keep", keep)) if value is not None}
    cfg.default_hooks.checkpoint.update(saving)
    demo = "_demo" if options.demo else ""
    work_dir = options.work_dir or Path("work_dirs") / (config_name(cfg) + describe_part(subset) + demo)
    automatic = resume == "auto" or is_restart()
    checkpoint, skipped = newest_intact(work_dir) if automatic or resume or resume_anyway else (None, [])
    if not (automatic or checkpoint) and (resume or resume_anyway):
        raise _nothing_to_resume(work_dir, skipped)
    replaces = checkpoint is None and (overwrite or automatic)
    anew = ("No checkpoint is intact: the training begins anew.",) if skipped and checkpoint is None else ()
    check_folder(work_dir)
    if is_main() and checkpoint is None:
        check_unused(work_dir, overwrite=replaces)
    check = partial(_check_beginning, weights=checkpoint is None)
    found = prepare_data(cfg, options, DATALOADERS, check)
    if found and subset:
        part_size(subset, found.splits["train_dataloader"].usable)
    cfg.optim_wrapper.type, cfg.optim_wrapper.precision = "AutocastOptimWrapper", options.precision
    complexity = _complete(cfg, options, work_dir)
    check(cfg)
    _check_room(cfg, complexity.params)
    record: dict[str, Any] = {}
    if found:
        record = _describe_run(cfg, *(found.splits[name].sha256 for name in DATALOADERS))
        if checkpoint and not resume_anyway:
            _check_same_run(load_checkpoint(checkpoint).get("run"), record)
    cfg.resume, cfg.load_from = checkpoint is not None, checkpoint and str(checkpoint)
    return Plan(
        cfg=cfg,
        work_dir=work_dir,
        precision=options.precision,
        complexity=complexity,
        sha256=config_sha256(cfg),
        notes=(*(found.warnings if found else ()), *(f"Skipped: {problem}" for problem in skipped), *anew),
        record=record,
        checkpoint=checkpoint,
        replaces=replaces,
        keeps_damaged=not overwrite,
    )


def plan_evaluation(options: Options, checkpoint: Path | None, *, tool: str, pretrained: str | None = None) -> Plan:
    """Check an evaluation; arguments as in ``benchmark.training.evaluate.evaluate``.

    Raises:
        UserError: whatever the user can fix.
    """
    cfg = load_options(options, pretrained=pretrained)
    if TASKS[cfg.task].tool != tool:
        raise UserError(f"{options.config} is a {cfg.task} config: evaluate it with tools/{TASKS[cfg.task].tool}.")
    # A file that is none is an error before anything is built, or made.
    given, checkpoint = checkpoint, checkpoint and resolve_checkpoint(checkpoint)
    weights = load_weights(checkpoint) if checkpoint else {}
    work_dir = options.work_dir or _evaluation_folder(cfg, given, checkpoint)
    check_folder(work_dir)
    if given and checkpoint:
        iteration = weights.get("meta", {}).get("iter")
        name = str(given) if is_address(given) else checkpoint.name
        record = CheckpointRecord(file=name, sha256=file_sha256(checkpoint), iteration=iteration)
    else:
        record = _pretrained_record(cfg)
    _check_place(work_dir, cfg, record)
    found = prepare_data(cfg, options, ("val_dataloader",))
    complexity = _complete(cfg, options, work_dir)
    if checkpoint:
        _check_classes(weights.get("meta", {}).get("dataset_meta", {}), cfg)
        check_fit(build_skeleton(cfg), weights["state_dict"], checkpoint)
        cfg.load_from = str(checkpoint)
    return Plan(
        cfg=cfg,
        work_dir=work_dir,
        precision=options.precision,
        complexity=complexity,
        sha256=config_sha256(cfg),
        notes=tuple(found.warnings) if found else (),
        checkpoint=checkpoint,
        evaluates=record,
    )


def _evaluation_folder(cfg: Config, given: Path | None, checkpoint: Path | None) -> Path:
    """Return where an evaluation goes: beside its checkpoint, but never into the hub's cache."""
    if given is None or checkpoint is None:
        return Path("work_dirs") / f"{config_name(cfg)}_pretrained"
    return Path("work_dirs") / f"{EVALUATION}{slug(str(given))}" if is_address(given) else evaluation_folder(checkpoint)


def check_unused(work_dir: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a run, unless it is to be replaced, and to replace what is none.

    Raises:
        UserError: it does.
    """
    if (work_dir / JOURNAL).is_file() and not overwrite:
        raise UserError(f"{work_dir} holds a sweep ({JOURNAL}): give another --work-dir.")
    found = run_files(work_dir)
    if found and not overwrite:
        raise UserError(
            f"{work_dir} already holds a run ({found[0].name}): --resume continues it, --overwrite replaces it, "
            "--work-dir puts the new one elsewhere."
        )
    _check_names(work_dir)
    others = {path.name for path in work_dir.iterdir()} - {OWNER, POINT} if work_dir.is_dir() else set()
    if overwrite and not found and any(not name.startswith(EVALUATION) for name in others):
        raise UserError(
            f"{work_dir} holds no run that --overwrite could replace, but other files: give an empty folder."
        )


def _check_names(work_dir: Path) -> None:
    """Refuse a folder in which a file of a run's name would be written into a pipe, a device or a folder.

    Other files of a user's own may lie in it, what the run prints, say: a run writes none of their names.
    """
    if taken := [path for name in RUN_NAMES if (path := work_dir / name).exists() and not path.is_file()]:
        raise UserError(f"{taken[0]} is no file, and a run would write one: give another --work-dir.")


@contextmanager
def ownership(plan: Plan) -> Iterator[None]:
    """Own a run's folder within the block, on the main process for all of them.

    Raises:
        UserError: the folder cannot be made, another process owns it, or it has changed since it was planned.
    """
    if not is_main():
        yield
        return
    make_folder(plan.work_dir)
    with owned(plan.work_dir):
        if plan.evaluates is None and not plan.replaces and plan.checkpoint is None:
            check_unused(plan.work_dir, overwrite=False)
        yield


def rewind(work_dir: Path, checkpoint: Path) -> list[str]:
    """Set the damaged checkpoints aside, take out of the logs what the run will do again, and say what is lost."""
    from benchmark.training import tensorboard

    iteration = checkpoint_iteration(checkpoint)
    remove_leftovers(work_dir)
    for path in list_checkpoints(work_dir):
        if checkpoint_iteration(path) > iteration:
            set_aside(path)
    return tensorboard.rewind(work_dir / VIS_DATA, iteration)


def _nothing_to_resume(work_dir: Path, problems: Sequence[str]) -> UserError:
    found = " ".join(problems) or f"{work_dir} holds no checkpoint iter_*.pth."
    return UserError(f"Nothing to resume: {found} Leave --resume out to begin, or give --resume auto: it does either.")


def prepare_data(
    cfg: Config, options: Options, loaders: Sequence[str], check: Callable[[Config], object] = lambda complete: None
) -> Preflight | None:
    """Generate the demo's data and check the data before anything heavy is imported; None in the other processes.

    ``check`` is called with the complete config before data are generated, since a refused command makes none.
    """
    if not is_main():
        return None
    find_launcher(options.launcher)
    if cfg.get("demo"):
        complete = cfg.copy()
        complete_model(complete)
        _check_registered(complete, options)
        check(complete)
        make_demo_data = import_module(cfg.demo.module).make_demo_data
        make_demo_data(Path(cfg.data_root), train_images=cfg.train_images, val_images=cfg.val_images)
    return check_data(cfg, loaders)


def _complete(cfg: Config, options: Options, work_dir: Path) -> "Complexity":
    """Fill in what follows from the backbone, join the other processes, register everything, and count the model."""
    complete_model(cfg)  # first: an unknown name need not wait for all of MMDetection
    from benchmark.measuring.complexity import config_complexity

    cfg.launcher = init_distributed(options.launcher)
    _check_registered(cfg, options)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f"{config_name(cfg)}-{uuid.uuid4().hex}"  # MMEngine keeps one log and hub per name
    return config_complexity(cfg)


def _check_registered(cfg: Config, options: Options) -> None:
    """Check the types of a complete config and their arguments, and the precision."""
    from benchmark.models.precision import check_speed
    from benchmark.training.registration import register

    check_speed(options.precision, slow_ok=options.slow_ok)
    register()
    check_model_type(cfg)
    check_arguments(cfg)


def _pretrained_record(cfg: Config) -> CheckpointRecord:
    """Read the pretrained weights of a classifier's config, its own classifier included, and say which they are."""
    import torch

    from backbones.catalogue import build_network
    from backbones.weights import find_weights

    name, classes, source = cfg.model.backbone.name, cfg.model.num_classes, cfg.model.backbone.pretrained
    if source is None:
        raise UserError("--pretrained none: random weights are nothing to evaluate; give imagenet or a file.")
    with torch.device("meta"):
        whole = build_network(name, classes)
    state, origin, left_out = find_weights(whole, name, source)
    if left_out:
        raise UserError(
            f"Weights of {origin} have no classifier for the {classes} classes of {cfg.dataset_name} "
            f"({', '.join(left_out)}): there is nothing to evaluate. Give weights that have one."
        )
    return CheckpointRecord(file=origin, sha256=tensors_sha256(state), iteration=None)


def _check_place(work_dir: Path, cfg: Config, checkpoint: CheckpointRecord) -> None:
    """Refuse a folder with other figures than those of an earlier evaluation of this checkpoint on these data."""
    path = work_dir / RESULT
    _check_names(work_dir)
    if not path.is_file():
        if checkpoints := list_checkpoints(work_dir):
            raise UserError(f"{work_dir} holds a training ({checkpoints[0].name}): give another --work-dir.")
        return
    found = read_result(path)
    ours = (config_name(cfg), cfg.dataset_name, checkpoint)
    theirs = (found.config.name, found.data.name, found.checkpoint)
    if ours != theirs:
        what = found.checkpoint.file if found.checkpoint else "its training"
        raise UserError(
            f"{path} holds the figures of {what}, {found.config.name} on {found.data.name}; those of "
            f"{checkpoint.file}, {ours[0]} on {ours[1]}, must not replace them: give another --work-dir."
        )


def _check_classes(trained: Mapping[str, Any], cfg: Config) -> None:
    """Refuse a classifier's checkpoint that was trained to tell other classes apart than the config's."""
    found, expected = len(trained.get("classes", ())), cfg.model.get("num_classes")
    if expected and found and found != expected:
        raise UserError(
            f"The checkpoint was trained on {trained.get('name', 'another data set')} ({found} classes), the "
            f"config is for {cfg.dataset_name} ({expected} classes): give the checkpoint's own config."
        )


def _check_beginning(cfg: Config, *, weights: bool) -> None:
    """Refuse an interval between checkpoints that is none.

    Of a training that begins, also ``weights`` that it cannot begin with, and stages to freeze that there are not.
    """
    from benchmark.training.saving import parse_interval  # takes PyTorch with it

    parse_interval(cfg.default_hooks.checkpoint.interval)
    backbone = cfg.model.backbone
    if weights and (backbone.get("pretrained") or backbone.get("frozen_stages", -1) >= 0):
        for module in build_skeleton(cfg).modules():
            if check := getattr(module, "check_weights", None):
                check()


def _check_accumulation(cfg: Config) -> None:
    """Refuse MMEngine's own accumulation, which loses gradients where a training resumes."""
    if cfg.optim_wrapper.get("accumulative_counts", 1) != 1:
        raise UserError(
            f"{cfg.filename} sets optim_wrapper.accumulative_counts: leave it out, and give --accumulate N, which "
            "takes a batch of --batch-size in N parts."
        )


def _check_room(cfg: Config, params: int) -> None:
    """Refuse a training whose checkpoints the disk cannot hold."""
    row = check_disk(cfg, params)
    if row.status == "error":
        raise UserError(row.message)


def _describe_run(cfg: Config, training: str, validation: str) -> dict[str, Any]:
    """Return what decides every number of a training, in plain containers, given the hashes of its data."""
    stops_early = any(hook.type == EARLY_STOP for hook in cfg.custom_hooks)
    return {
        "config": flatten(identity(cfg)),
        "seed": cfg.randomness.seed,
        "precision": cfg.optim_wrapper.precision,
        "processes": world_size(),
        "training data": training,
        **({"validation data": validation} if stops_early else {}),
        **({"compiled": True} if cfg.compiled else {}),  # checkpoints from before there was a choice say nothing
    }


def _check_same_run(theirs: dict | None, ours: dict) -> None:
    if theirs is None:
        raise UserError("The checkpoint does not say which run it belongs to: --resume-anyway resumes nonetheless.")
    theirs, ours = ({**run["config"], **run} for run in (theirs, ours))
    differing = [
        f"{key}: {theirs.get(key)!r} then, {ours.get(key)!r} now"
        for key in sorted({*theirs, *ours} - {"config"})
        if theirs.get(key) != ours.get(key)
    ]
    if differing:
        more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise UserError(
            f"The checkpoint belongs to another run; different are {'; '.join(differing[:_SHOWN])}{more}. Take these "
            "back, begin anew in another --work-dir, or give --resume-anyway: the result is then of neither run."
        )
