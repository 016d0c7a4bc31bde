"""A run made ready for others: weights as .safetensors, the config, the result, and a model card made from it."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from mmengine.config import Config
from tabulate import tabulate

from backbones.catalogue import find_entry
from backbones.entry import describe_licence
from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.files.atomic import check_folder, make_folder, write_atomically
from benchmark.files.checkpoints import check_fit, load_weights, save_tensors
from benchmark.files.hub import is_address, parse_address, push
from benchmark.files.run_folder import CARD, CONFIG, RESULT, WEIGHTS, checkpoint_path
from benchmark.models.build import build_skeleton
from benchmark.records.figures import FIGURES
from benchmark.records.result import Result, read_result
from benchmark.tasks import TASKS, Ability
from benchmark.training.registration import register

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # as the hub names them
_OF_THE_MACHINE = ("work_dir", "load_from", "resume", "launcher", "log_level")
_DATA = "data"  # stands for the place of the data
_LIBRARY = "rexnet-benchmark"
_PIPELINES = {"ssdlite": "object-detection", "faster_rcnn": "object-detection", "mask_rcnn": "image-segmentation"}


def publish(run: Path, to: Path, *, licence: str | None = None, private: bool = False) -> str:
    """Publish the weights that a result is of.

    Args:
        run: folder of a run, whose last weights are taken, or of an evaluation, whose checkpoint is.
        to: a folder that is new or empty, or ``hf:ORG/NAME``.
        licence: of the weights, by the hub's name of it.
        private: a repository that is made is.

    Returns:
        What to tell the user: where it is, and how it is loaded.

    Raises:
        UserError: no finished run, weights that are not those of the result, a place that cannot be written.
    """
    on_hub = is_address(to)
    if private and not on_hub:
        raise UserError(f"--private is of a repository of the hub, and {to} is a folder: leave it out.")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise UserError(f"--licence takes a name as the hub has it, such as apache-2.0 or mit; found {licence!r}.")
    if on_hub:
        parse_address(to)
    else:
        _check_new(to)
    result, checkpoint = _find(run)
    weights = load_weights(checkpoint)
    cfg = load_config(checkpoint.parent / CONFIG)
    complete_model(cfg)
    register()
    check_fit(build_skeleton(cfg), weights["state_dict"], checkpoint)
    own = Config.fromfile(checkpoint.parent / CONFIG)
    meta = {key: weights["meta"][key] for key in ("iter", "dataset_meta") if key in weights["meta"]}
    if on_hub:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), weights["state_dict"], meta, own, result, to, licence)
            url = push(Path(folder), to, message=f"{result.config.name}, by {_LIBRARY}", private=private)
        return f"{url}\nCHECKPOINT of every tool takes {to}."
    make_folder(to)
    _write(to, weights["state_dict"], meta, own, result, to, licence)
    return f"{to} holds {WEIGHTS}, {CONFIG}, {RESULT} and {CARD}; CHECKPOINT of every tool takes the folder."


def _check_new(to: Path) -> None:
    if to.exists() and not to.is_dir():
        raise UserError(f"--to {to} is a file: give a folder, or hf:ORG/NAME.")
    check_folder(to)
    if to.is_dir() and any(to.iterdir()):
        raise UserError(f"--to {to} holds files, and none are replaced: give a new or an empty folder.")


def _find(run: Path) -> tuple[Result, Path]:
    """Return a run's result and the checkpoint that it is of."""
    if not (run / RESULT).is_file():
        raise UserError(f"{run} holds no {RESULT}: give the folder of a training that has ended, or of an evaluation.")
    result = read_result(run / RESULT)
    if result.checkpoint is None:
        if result.training is None:
            raise UserError(f"{run / RESULT} does not say which weights it is of: evaluate a checkpoint.")
        checkpoint = checkpoint_path(run, result.training.iterations)
    else:
        checkpoint = run.resolve().parent / result.checkpoint.file
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint} is gone, and {run / RESULT} is of these weights: evaluate one that is there.")
    if result.checkpoint and file_sha256(checkpoint) != result.checkpoint.sha256:
        raise UserError(
            f"{checkpoint} is not the file that {run / RESULT} is of (its SHA-256 differs): evaluate again."
        )
    if not (checkpoint.parent / CONFIG).is_file():
        raise UserError(f"{checkpoint.parent} holds no {CONFIG}, without which nobody can load the weights.")
    return result, checkpoint


def _write(
    folder: Path,
    state: dict[str, Any],
    meta: dict[str, Any],
    own: Config,
    result: Result,
    to: Path,
    licence: str | None,
) -> None:
    write_atomically(folder / WEIGHTS, lambda temporary: save_tensors(state, meta, temporary))
    text = _without_machine(own).pretty_text
    write_atomically(folder / CONFIG, lambda temporary: temporary.write_text(text))
    result.write(folder)
    card = model_card(result, to, licence=licence, sha256=file_sha256(folder / WEIGHTS))
    write_atomically(folder / CARD, lambda temporary: temporary.write_text(card))


def _without_machine(cfg: Config) -> Config:
    """Return a run's config without what tells of the machine: its folders, and where its data lay."""
    content = {key: value for key, value in cfg.to_dict().items() if key not in _OF_THE_MACHINE}
    root = str(content.get("data_root", _DATA))

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(moved(each) for each in value)
        if isinstance(value, str) and (value == root or value.startswith(f"{root}/")):
            return _DATA + value[len(root) :]
        return value

    content = moved(content)
    backbone = content["model"]["backbone"]
    if backbone.get("pretrained"):
        backbone["pretrained"] = Path(backbone["pretrained"]).name
    return Config(content, format_python_code=False)


def model_card(result: Result, to: Path, *, licence: str | None, sha256: str) -> str:
    """Return the model card of a result: the hub's metadata, and what a reader needs to judge and load the weights.

    Args:
        result: of the weights.
        to: where they will be.
        licence: of the weights.
        sha256: of the file of weights.
    """
    task = TASKS[result.task]
    name = f"{result.backbone}, {task.title}"
    data = ModelCardData(
        license=licence or "unknown",
        library_name=_LIBRARY,
        pipeline_tag=_PIPELINES.get(result.task, "image-classification"),
        tags=[result.backbone, result.task],
        model_name=name,
        eval_results=list(_eval_results(result)),
    )
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name}",
        "\n".join(_notes(result)),
        f"## Figures\n\n{_figures(result)}",
        f"## Data\n\n{_data(result)}",
        f"## Training\n\n{_training(result)}",
        f"## Licence\n\n{_licences(result, licence)}",
        f"## Load it\n\n{_loading(result, to)}",
        f"`{WEIGHTS}` has the SHA-256 `{sha256}`. It holds tensors and nothing else: no code runs when it is read.",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _eval_results(result: Result) -> Iterable[EvalResult]:
    for key, value in result.metrics.items():
        if value is not None:
            yield EvalResult(
                task_type=_PIPELINES.get(result.task, "image-classification"),
                dataset_type=result.data.name.lower(),
                dataset_name=result.data.name,
                dataset_split=result.data.split,
                metric_type=key,
                metric_name=FIGURES[key].title,
                metric_value=round(value, 2),
            )


def _notes(result: Result) -> Iterable[str]:
    """Yield what a reader must know before any figure."""
    if result.data.demo:
        yield "**Generated pictures of shapes: the figures say that the code runs, and nothing of the backbone.**"
    if result.data.partial:
        yield "**Evaluated on fewer pictures than the official split has.**"
    if result.data.unreadable:
        yield f"**{len(result.data.unreadable)} pictures could not be read and do not count.**"
    if result.other_weights:
        yield f"**Not the last weights of a training: {result.other_weights}.**"


def _figures(result: Result) -> str:
    rows = []
    for key, value in result.metrics.items():
        figure = FIGURES[key]
        ends = result.intervals.get(key)
        interval = "not computed" if ends is None else " to ".join(map(figure.format, ends))
        name = f"{figure.group} {figure.heading}".strip()
        rows.append([name, "-" if value is None else figure.format(value), interval, figure.title])
    note = (
        "The intervals are by bootstrap over the evaluated pictures; another training seed moves the figures as well."
        if result.intervals
        else "No intervals were computed: `--bootstrap 1000` of the evaluation does."
    )
    cost = (
        f"{result.cost.params / 1e6:.2f}M parameters, {result.cost.macs / 1e9:.3f}B multiply-adds at "
        f"{result.cost.input[3]}x{result.cost.input[2]} pixels."
    )
    return f"{_table(rows, ['figure', '%', '95% interval', 'what it is'])}\n\n{note} {cost}{_per_class(result)}"


def _per_class(result: Result) -> str:
    parts = [
        _table([[name, "-" if value is None else f"{value:.1f}"] for name, value in classes.items()], [prefix, "%"])
        for prefix, classes in result.per_class.items()
    ]
    return "".join(f"\n\n{part}" for part in parts)


def _data(result: Result) -> str:
    data = result.data
    return (
        f"Evaluated on {data.images} pictures of {_plain(data.name)}, split {_plain(data.split)}; the SHA-256 of the "
        f"annotations is `{data.annotations_sha256}`."
    )


def _training(result: Result) -> str:
    training = result.training
    if training is None:
        return "How the weights were trained is not recorded."
    seed = "unknown" if training.seed is None else training.seed
    hours = f", {training.hours:.2f} hours" if training.hours is not None else ""
    origin = result.provenance
    return (
        f"{training.iterations} iterations of {training.batch_size} pictures, learning rate "
        f"{training.learning_rate:g}, {training.precision}, seed {seed}{hours}. Config "
        f"`{result.config.name}` (SHA-256 `{result.config.sha256}`), code at commit `{origin.git_commit}`"
        f"{' with changes' if origin.git_dirty else ''}, on {_plain(origin.device)}."
    )


def _licences(result: Result, licence: str | None) -> str:
    ours = (
        f"These weights: {licence}, says who published them." if licence else "These weights: their licence is unknown."
    )
    training = result.training
    if training is None:
        return f"{ours} What their training began with is not recorded."
    if training.pretrained is None:
        return f"{ours} Their training began with random weights."
    if training.pretrained == "imagenet":
        terms = describe_licence(find_entry(result.backbone).licence)
        return f"{ours} Their training began with ImageNet weights of {result.backbone}: {terms}."
    return f"{ours} Their training began with `{Path(training.pretrained).name}`: licence not recorded."


def _loading(result: Result, to: Path) -> str:
    task = TASKS[result.task]
    folder = to.name if not is_address(to) else "model"
    lines = [f"hf download {parse_address(to)[0]} {CONFIG} --local-dir {folder}"] if is_address(to) else []
    checkpoint = str(to) if is_address(to) else folder
    if Ability.PREDICT in task.can:
        lines.append(f"python tools/predict.py {folder}/{CONFIG} {checkpoint} pictures --out found")
    lines.append(f"python tools/{task.tool} {folder}/{CONFIG} {checkpoint} --data-root data")
    block = "\n".join(lines)
    return f"```sh\n{block}\n```\n\n`{CONFIG}` is Python, and runs when it is read: read it first."


def _table(rows: list[list[str]], headers: list[str]) -> str:
    cells = [[_plain(cell) for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def _plain(text: str) -> str:
    """Return a name of a user's data as text that breaks no table and is no markup."""
    return re.sub(r"([|<>`*_\\\[\]])", r"\\\1", " ".join(text.split()))
