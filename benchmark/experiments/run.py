"""Running an experiment by its name: its folder, its artefact, its figure."""

import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backbones.errors import UserError, did_you_mean
from benchmark.experiments import artefact
from benchmark.experiments.artefact import Artefact
from benchmark.experiments.drawing import save_figure
from benchmark.experiments.frame import Experiment, Published, Run
from benchmark.experiments.settings import apply_settings
from benchmark.experiments.small_data import check_data
from benchmark.experiments.table import DATA, EXPERIMENTS, OFFICIAL, SMALL
from benchmark.files.atomic import check_folder, make_folder, write_atomically
from benchmark.files.ownership import owned
from benchmark.files.reading import read_regular
from benchmark.files.run_folder import ARTEFACT, EXPERIMENT, FIGURE
from benchmark.measuring.machine import available_cores, processor
from benchmark.records.verdicts import Verdict
from benchmark.training.provenance import provenance

WORK_DIRS = Path("work_dirs/experiments")


def run_experiment(
    name: str,
    *,
    work_dir: Path | None = None,
    data_root: Path | None = None,
    data: str | None = None,
    quick: bool = False,
    settings: Sequence[str] = (),
    claims: Sequence[str] = (),
    published: Callable[[], Sequence[Published]] = tuple,
) -> tuple[Artefact, Path]:
    """Run an experiment, or what is left of it, and return its artefact and folder.

    Args:
        name: of ``EXPERIMENTS``.
        work_dir: its folder, by default one of its name below ``WORK_DIRS``.
        data_root: of official data; None for small data, made or packaged.
        data: name of ``DATA``; None for CIFAR-100 with ``data_root`` and generated shapes without.
        quick: the small form of under two minutes.
        settings: ``key=value`` in place of the config's.
        claims: that will be asked for; checked before anything is run.
        published: see ``Run``.

    Raises:
        UserError: unknown experiment, claim or setting, data that are not there, a folder of something else or in use.
    """
    experiment = find_experiment(name)
    check_claims(experiment, claims)
    data = _choose_data(name, data, data_root)
    small = experiment.small if data and not DATA[data].official else {}
    config = plain({**experiment.config, **small, **(experiment.quick if quick else {})})
    config = apply_settings(config, settings, experiment.settable, name)
    folder = work_dir or WORK_DIRS / (f"{name}_quick" if quick else name)
    _check_folder(folder, _identity(name, config, data))
    experiment.check(config)
    make_folder(folder)
    with owned(folder):
        _settle(folder, _identity(name, config, data))
        load = os.getloadavg()[0]
        findings = experiment.run(Run(folder, config, data_root, available_cores(), data, published))
        marks = [findings.data, "small data: no reproduction of the paper's" if findings.small_data else ""]
        made = Artefact(
            experiment=name,
            title="; ".join(filter(None, [_title(name, quick), *marks])),
            measured=findings.measured,
            small_data=findings.small_data,
            config=config,
            seeds=list(findings.seeds),
            figures=list(findings.figures),
            series=list(findings.series),
            claims=[
                artefact.Claim(
                    claim=key, text=claim.text, source=claim.source, test=claim.test, verdict=verdict, evidence=evidence
                )
                for key, claim in experiment.claims.items()
                for verdict, evidence in [findings.verdicts.get(key, (Verdict.NOT_TESTED, "not in this run"))]
            ],
            machine=machine(),
            load=(round(load, 2), round(os.getloadavg()[0], 2)),
            provenance=provenance("fp32"),
        )
        made.write(folder)
        draw(made, folder)
    return made, folder


def draw(made: Artefact, folder: Path) -> None:
    """Draw the figure of an artefact as SVG and PNG."""
    save_figure(find_experiment(made.experiment).draw, made, folder / FIGURE)


def find_experiment(name: str) -> Experiment:
    """Return an experiment.

    Raises:
        UserError: there is none of this name.
    """
    if name not in EXPERIMENTS:
        raise UserError(
            f"No experiment {name!r}.{did_you_mean(name, EXPERIMENTS)} Expected one of {', '.join(EXPERIMENTS)}."
        )
    return importlib.import_module(f"benchmark.experiments.{EXPERIMENTS[name].module}").EXPERIMENT


def check_claims(experiment: Experiment, claims: Sequence[str]) -> None:
    """Check that an experiment has claims of these names.

    Raises:
        UserError: it has not.
    """
    for claim in claims:
        if claim not in experiment.claims:
            raise UserError(
                f"No claim {claim!r}.{did_you_mean(claim, experiment.claims)} "
                f"Expected one of {', '.join(experiment.claims)}."
            )


def machine() -> str:
    """Return the processor and the number of cores."""
    return f"{processor()}, {available_cores()} cores"


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as JSON's values: what two runs compare."""
    return json.loads(json.dumps(config))


def _title(name: str, quick: bool) -> str:
    title = EXPERIMENTS[name].title
    return f"{title[0].upper()}{title[1:]}{', quick run' if quick else ''}"


def _choose_data(name: str, data: str | None, data_root: Path | None) -> str | None:
    """Return the name of an experiment's data, checked; None for one that takes none."""
    given = f"--data-root {data_root}" if data_root else f"--data {data}" if data else None
    if not EXPERIMENTS[name].takes_data:
        if given:
            raise UserError(f"{name} takes no data: leave {given} out.")
        return None
    chosen = data or (OFFICIAL if data_root else SMALL)
    if DATA[chosen].official and data_root is None:
        raise UserError(f"{DATA[chosen].title} is read from its official files: give their folder with --data-root.")
    if data_root and not DATA[chosen].official:
        raise UserError(f"{DATA[chosen].title} are not read from a folder: leave --data-root {data_root} out.")
    check_data(chosen, data_root)
    return chosen


def _identity(name: str, config: Mapping[str, Any], data: str | None) -> dict[str, Any]:
    # The place of the data may differ between machines, which they are may not.
    return {"experiment": name, "data": data, **config}


def _check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    check_folder(folder)
    path = folder / EXPERIMENT
    if path.is_file():
        _compare(path, identity)
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something else than an experiment: give another --work-dir.")


def _compare(path: Path, expected: Mapping[str, Any]) -> None:
    try:
        found = json.loads(read_regular(path))
        differing = [key for key in expected | found if found.get(key) != expected.get(key)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not readable JSON: {error}. Give another --work-dir.") from error
    if differing:
        key = differing[0]
        raise UserError(
            f"{path.parent} belongs to another config: its {key} is {_short(found.get(key))}, this one's "
            f"{_short(expected.get(key))}. Give another --work-dir."
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _settle(folder: Path, identity: Mapping[str, Any]) -> None:
    path = folder / EXPERIMENT
    if path.is_file():
        _compare(path, identity)
        return
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(identity, indent=1) + "\n"))


def list_artefacts(folders: Sequence[Path]) -> list[Path]:
    """Return the artefacts below folders."""
    return sorted({path for folder in folders for path in folder.rglob(ARTEFACT) if path.is_file()})
