"""Networks of random channel configurations that meet a constraint, each trained several times.

Model ``i`` of a search is drawn by (seed, search, i) alone, and so is each of its trainings: killed and resumed, or
done by another number of processes, a search has the same models with the same figures. Models are drawn at random, so
that tenths by accuracy speak of the space and not of what a sampler prefers; how the paper draws its own is not said.

Every search is an Optuna study of one journal in the experiment's folder, and a model one trial of it, whose number is
the model's: ``optuna-dashboard`` shows them while they run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from torch import nn

from backbones.errors import UserError, did_you_mean
from benchmark.experiments.channel_configs import (
    EXPANSION,
    PENULTIMATE,
    SEARCHES,
    SIDE,
    STEM,
    Config,
    choose_penultimate,
    draw_config,
    strides_of,
)
from benchmark.experiments.frame import Run
from benchmark.experiments.measures import feature_measures, log_synflow
from benchmark.experiments.small_data import Source
from benchmark.experiments.small_nets import Classifier, InvertedBottleneck, Recipe, pointwise, test, train
from benchmark.experiments.units import Values
from benchmark.files.run_folder import SEARCH
from benchmark.seeding import derive_seed, seed_all

# What every training leaves, each a number: see ``measures``; ``first`` is the accuracy after one epoch on the pictures
# held out.
FIGURES = ("top1", "first", "epochs", "nuclear", "normalised", "effective", "synflow")

CONFIG: dict[str, Any] = {
    "models": 200,
    "trainings": 3,
    "epochs": 30,
    "patience": 10,
    "batch_size": 64,
    "learning_rate": 0.05,
    "first_channels": [16, 56],
    "knots": 3,
    "tolerance": 0.05,
    "train": 50_000,
    "test": 10_000,
    "scenes": [400, 300],
    "seed": 0,
}
SETTABLE = ("searches", "models", "trainings", "epochs", "patience", "tolerance", "train", "test", "scenes")


@dataclass(frozen=True)
class Searched:
    """The models of a search.

    Attributes:
        configs: of every model.
        figures: by the names of ``FIGURES``, (model, training).
    """

    configs: Sequence[Config]
    figures: Mapping[str, np.ndarray]

    @property
    def channels(self) -> np.ndarray:
        """Channels (model, block)."""
        return np.array([config.channels for config in self.configs], float)


def check(config: Mapping[str, Any]) -> None:
    """Check that the searches are known and that configurations meet their constraints.

    Raises:
        UserError: they are not, or none does.
    """
    for search in config["searches"]:
        if search not in SEARCHES:
            raise UserError(
                f"No search {search!r}.{did_you_mean(search, SEARCHES)} Expected some of {', '.join(SEARCHES)}."
            )
        _draw(search, config, 0, set())


def draw_models(search: str, config: Mapping[str, Any]) -> list[Config]:
    """Return the models of a search, all different.

    Raises:
        UserError: too few configurations meet the constraint.
    """
    found: list[Config] = []
    taken: set[tuple[int, ...]] = set()
    for number in range(config["models"]):
        found.append(_draw(search, config, number, taken))
        taken.add(found[-1].channels)
    return found


def _draw(search: str, config: Mapping[str, Any], number: int, taken: set[tuple[int, ...]]) -> Config:
    constraint, penultimate = SEARCHES[search], choose_penultimate(PENULTIMATE)
    low, high = config["first_channels"]
    found = draw_config(
        constraint,
        strides_of(search, penultimate),
        penultimate,
        first=(low, high),
        knots=config["knots"],
        tolerance=config["tolerance"],
        seed=(config["seed"], _place(search), number),
        taken=taken,
    )
    if found is None:
        params = f" and {constraint.params}M params" if constraint.params else ""
        raise UserError(
            f"No {'other ' if taken else ''}configuration of {constraint.blocks} blocks meets {constraint.macs:g}M "
            f"multiply-adds within {config['tolerance']:.3%}{params} (search {search}, model {number}): "
            "give a wider tolerance or fewer models."
        )
    return found


def _place(search: str) -> int:
    return list(SEARCHES).index(search)


def build(channels: Sequence[int], strides: Sequence[int], penultimate: int, classes: int) -> Classifier:
    """Return the network of a configuration; see ``channel_configs``."""
    inputs = (STEM, *channels[:-1])
    blocks: list[nn.Module] = [
        InvertedBottleneck(low, high, EXPANSION, nn.ReLU6, nn.ReLU6, 2 if at in strides else 1)
        for at, (low, high) in enumerate(zip(inputs, channels, strict=True))
    ]
    last = pointwise(channels[-1], penultimate, nn.ReLU6)
    return Classifier(STEM, [*blocks, last], penultimate, classes, act=nn.ReLU)


def train_model(unit: Mapping[str, Any]) -> Values:
    """Train one model once and return its figures, each (): see ``FIGURES``."""
    config, pictures, channels = unit["config"], unit["source"].load(), unit["channels"]
    penultimate = choose_penultimate(PENULTIMATE)
    seed_all(unit["seed"])
    net = build(channels, strides_of(unit["search"], penultimate), penultimate, pictures.classes)
    synflow = log_synflow(net, (1, 3, SIDE, SIDE))
    recipe = Recipe(config["epochs"], config["batch_size"], config["learning_rate"], config["patience"])
    history = train(net, pictures, recipe, unit["seed"])
    top1, features = test(net, pictures)
    found = {
        "top1": top1,
        "first": history[0],
        "epochs": len(history),
        "synflow": synflow,
        **feature_measures(features),
    }
    return {name: np.array(found[name]) for name in FIGURES}


def train_models(run: Run, source: Source) -> dict[str, Searched]:
    """Train the models of every search of a run's config, or what is left of them."""
    config = run.config
    models = {search: draw_models(search, config) for search in config["searches"]}
    studies = {search: _open_study(run.folder / SEARCH, search, drawn) for search, drawn in models.items()}
    recipe = {key: config[key] for key in ("epochs", "patience", "batch_size", "learning_rate")}
    units = {
        _name(search, number, training): {
            "search": search,
            "channels": model.channels,
            "seed": derive_seed(config["seed"], _place(search), number, training),
            "source": source,
            "config": recipe,
        }
        for training in range(config["trainings"])
        for search, drawn in models.items()
        for number, model in enumerate(drawn)
    }
    done: dict[str, Values] = {}

    def note(name: str, values: Values) -> None:
        done[name] = values
        search, number = name.split("_")[:2]
        own = [done.get(_name(search, int(number), training)) for training in range(config["trainings"])]
        if all(own):
            _finish(studies[search], int(number), float(np.mean([found["top1"] for found in own if found])))

    run.do(units, train_model, note=note)
    return {
        search: Searched(drawn, {name: _collect(done, search, name, config) for name in FIGURES})
        for search, drawn in models.items()
    }


def _name(search: str, number: int, training: int) -> str:
    return f"{search}_{number}_{training}"


def _collect(done: Mapping[str, Values], search: str, figure: str, config: Mapping[str, Any]) -> np.ndarray:
    return np.array(
        [
            [float(done[_name(search, number, training)][figure]) for training in range(config["trainings"])]
            for number in range(config["models"])
        ]
    )


def _open_study(journal: Path, search: str, models: Sequence[Config]) -> optuna.Study:
    """Return the study of a search with a trial that runs or is finished for every model, in the models' order."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    try:
        study = optuna.create_study(storage=storage, study_name=search, direction="maximize", load_if_exists=True)
        for model in models[len(study.get_trials(deepcopy=False)) :]:
            study.enqueue_trial(
                {"first": model.channels[0], "a": model.a},
                user_attrs={
                    "f": list(model.f),
                    "channels": list(model.channels),
                    "params": model.params,
                    "multiply_adds": model.macs,
                },
            )
    except ValueError as error:
        raise UserError(f"{journal} is damaged: {error}. Remove it: it is made again from {journal.parent}.") from error
    most = max(model.a for model in models)
    space: dict[str, BaseDistribution] = {
        "first": IntDistribution(1, max(model.channels[0] for model in models)),
        "a": FloatDistribution(0, most),
    }
    while study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.ask(space)
    return study


def _finish(study: optuna.Study, number: int, accuracy: float) -> None:
    if study.get_trials(deepcopy=False)[number].state is TrialState.RUNNING:
        study.tell(number, accuracy)
