"""What INT8 costs different designs: SSDLite on eight backbones, trained shortly, quantised for two runtimes.

Saturation is the real one: for the arms without VNNI, oneDNN (with which OpenVINO computes) is told to take no newer
instructions than AVX2. onnxruntime cannot be told so; its arm with the fix has unsigned weights, on whatever the
processor does.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.data.demo.pictures import make_demo_data
from benchmark.evaluation.bootstrap import average_precision, resample
from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.drawing import COLOURS, new_figure
from benchmark.experiments.frame import Claim, Experiment, Findings, Run
from benchmark.experiments.units import Values, write_arrays
from benchmark.files.atomic import make_folder, write_atomically
from benchmark.files.run_folder import checkpoint_path
from benchmark.inference.deploy.labelled import Detected, calibration_pictures, inputs_of
from benchmark.inference.deploy.run import WORKER
from benchmark.inference.deploy.workers import SAMPLE, Subject, Timed, time_subjects
from benchmark.inference.export.checked import conversion_of, convert
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.export.runtime import muted
from benchmark.inference.export.source import Source, prepare, read_config
from benchmark.inference.quantise import onnx_int8, openvino_int8
from benchmark.inference.quantise.arithmetic import LIMIT, Arithmetic, arithmetic_here
from benchmark.measuring.machine import processor_flags
from benchmark.records.verdicts import Verdict, judge_all

Interval = tuple[float, float]
_WITHOUT_VNNI = "AVX2"
_RESAMPLES = 1000
_MARGIN = 0.5  # points of AP: less is no loss
_LEAST = 5.0  # AP in float32 of a network that has something to lose
_SEED = 0  # of the resamples: the same pictures for every network
# Backbone -> its design.
DESIGNS = {
    "mobilenet_v1": "ReLU",
    "mobilenet_v2": "ReLU6",
    "efficientnet_lite0": "ReLU6",
    "rexnet_lite_x1.0": "ReLU6",
    "mobileone_s0": "ReLU, re-parameterised",
    "mobilenet_v3_large": "Hard Swish, SE",
    "efficientnet_b0": "SiLU, SE",
    "rexnet_x1.0": "SiLU, SE",
}
_PLAIN = [name for name, design in DESIGNS.items() if "SE" not in design]
_REXNET = "rexnet_x1.0"
# Arm -> runtime, whether weights have all 8 bits, signed, and whether it runs without VNNI.
ARMS = {
    "ONNX Runtime, signed": ("onnx", True, False),
    "ONNX Runtime, unsigned (fix)": ("onnx", False, False),
    "OpenVINO, 8 bits": ("openvino", True, False),
    "OpenVINO without VNNI, 8 bits": ("openvino", True, True),
    "OpenVINO without VNNI, 7 bits (fix)": ("openvino", False, True),
}
_EXACT = ("ONNX Runtime, signed", "OpenVINO, 8 bits")
_SATURATING, _FIXED = "OpenVINO without VNNI, 8 bits", "OpenVINO without VNNI, 7 bits (fix)"
_QUANTISERS = {"onnx": onnx_int8, "openvino": openvino_int8}
_TITLES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}

CONFIG: dict[str, Any] = {
    "backbones": list(DESIGNS),
    "steps": 800,
    "batch_size": 4,
    "learning_rate": 0.02,
    "side": 320,
    "train_images": 400,
    "val_images": 100,
    "calibration": 64,
    "rounds": 50,
    "seed": 0,
}
QUICK: dict[str, Any] = {
    "backbones": ["mobilenet_v2", _REXNET],
    "steps": 40,
    "side": 128,
    "train_images": 80,
    "val_images": 20,
    "calibration": 16,
    "rounds": 10,
}

_ASKED = "asked here, no document"
_OVER = "with its paired interval over pictures"
CLAIMS = {
    "rexnet_quantises_worse": Claim(
        "ReXNet x1.0 loses more AP by INT8 than networks of ReLU or ReLU6 without squeeze-and-excitation.",
        _ASKED,
        f"its drop minus the mean of theirs is over 0, {_OVER}, in both runtimes where nothing saturates",
    ),
    "saturation_costs": Claim(
        "Without VNNI, weights of all 8 bits cost more AP than those of 7.",
        _ASKED,
        f"the mean drop over the networks with 8 bits minus that with 7 is over {_MARGIN}, {_OVER}",
    ),
    "fix_suffices": Claim(
        f"With the fix, INT8 costs less than {_MARGIN} AP also without VNNI.",
        _ASKED,
        f"the mean drop over the networks with 7 bits is under {_MARGIN}, {_OVER}",
    ),
    "faster": Claim(
        "INT8 is faster than float32, for every network in both runtimes.",
        _ASKED,
        "the ratio of times in a round is over 1 between its quartiles",
    ),
}


def run(run: Run) -> Findings:
    """Train, quantise, evaluate, time and judge."""
    config, data = run.config, run.folder / "data"
    if not (data / "demo.json").is_file():
        make_demo_data(data, train_images=config["train_images"], val_images=config["val_images"])
    names = config["backbones"]
    units = {name: {"name": name, "folder": str(run.folder), "config": dict(config)} for name in names}
    run.do({f"train_{name}": unit for name, unit in units.items()}, train_network)
    scores = run.do({f"score_{name}": {**unit, "limited": False} for name, unit in units.items()}, score_arms)
    limited: dict[str, Values] = {}
    if processor_flags() and run.processes:
        with _without_vnni():
            limited = run.do({f"limited_{name}": {**unit, "limited": True} for name, unit in units.items()}, score_arms)
    times = run.do({f"times_{name}": unit for name, unit in units.items()}, time_network, alone=True)
    found = {
        name: {**scores[f"score_{name}"], **limited.get(f"limited_{name}", {}), **times[f"times_{name}"]}
        for name in names
    }
    return Findings(
        measured=(
            f"SSDLite at {config['side']}x{config['side']} on {len(names)} backbones, {config['steps']} steps of "
            f"{config['batch_size']} from random weights on {config['train_images']} generated pictures; AP on "
            f"{config['val_images']} others. INT8 by onnxruntime and NNCF, calibrated on {config['calibration']} "
            f"training pictures; {arithmetic_here().title}, without VNNI by {LIMIT}={_WITHOUT_VNNI}. Left and middle: "
            "change of AP by INT8, paired 95% bootstrap intervals over pictures, one training each. Right: time of "
            f"float32 over INT8, one thread, median and quartiles of {config['rounds']} interleaved rounds."
        ),
        verdicts=judge(found),
        figures=_figures(found),
        series=_series(found),
        seeds=[config["seed"]],
        data="generated pictures",
    )


@contextlib.contextmanager
def _without_vnni() -> Iterator[None]:
    """Have the processes that are started in the block compute without VNNI."""
    before = os.environ.get(LIMIT)
    os.environ[LIMIT] = _WITHOUT_VNNI
    try:
        yield
    finally:
        if before is None:
            del os.environ[LIMIT]
        else:
            os.environ[LIMIT] = before


def _options(unit: Mapping[str, Any]) -> Options:
    config, folder = unit["config"], Path(unit["folder"])
    changes = {
        "input_size": config["side"],
        "train_images": config["train_images"],
        "val_images": config["val_images"],
        "learning_rate": config["learning_rate"],
        "train_dataloader.num_workers": 0,
        "val_dataloader.num_workers": 0,
    }
    return Options(
        CONFIGS / "ssdlite.py",
        work_dir=folder / "models" / unit["name"],
        cfg_options=[f"{key}={value}" for key, value in changes.items()],
        data_root=folder / "data",
        demo=True,
        batch_size=config["batch_size"],
        backbone=unit["name"],
    )


def train_network(unit: Mapping[str, Any]) -> Values:
    """Train SSDLite on a backbone, and return its ``ap``; the checkpoint is in the experiment's folder."""
    from benchmark.training.train import train

    config = unit["config"]
    with muted():
        made = train(
            _options(unit), pretrained="none", steps=config["steps"], seed=config["seed"], resume="auto", keep=1
        )
    return {"ap": np.array(made.metrics["box_AP"] or 0.0)}


def _source(unit: Mapping[str, Any]) -> Source:
    options = _options(unit)
    assert options.work_dir is not None
    cfg = read_config(options)
    return prepare(cfg, checkpoint_path(options.work_dir, unit["config"]["steps"]))


def _files(unit: Mapping[str, Any]) -> Path:
    return Path(unit["folder"]) / "files" / unit["name"]


def score_arms(unit: Mapping[str, Any]) -> Values:
    """Return AP in float and INT8 by arm: (1 + resamples,), the figure first, then those of drawn pictures."""
    source, folder, values = _source(unit), _files(unit), {}
    labelled = Detected(source)
    make_folder(folder)
    pictures = inputs_of(source, calibration_pictures(source, None, unit["config"]["calibration"]))
    for name in _QUANTISERS:
        out = folder / f"fp32{FORMATS[name].ending}"
        if not out.is_file():
            convert(FORMATS[name], conversion_of(source, FORMATS[name], folder), out)
        values[f"{name} float"] = _resampled(labelled, name, out)
    for arm, (name, exact, limited) in ARMS.items():
        if limited != unit["limited"]:
            continue
        out = folder / f"{'8' if exact else '7'}{FORMATS[name].ending}"
        if not out.is_file():
            place = folder / f"{name}_prepared"
            make_folder(place)
            prepared = _QUANTISERS[name].prepare(folder / f"fp32{FORMATS[name].ending}", place)
            _, outside = _QUANTISERS[name].layers(prepared)
            _QUANTISERS[name].quantise(
                prepared, pictures, out, source.facts, arithmetic=Arithmetic(exact, ""), floats=outside
            )
        values[arm] = _resampled(labelled, name, out)
    write_atomically(folder / SAMPLE, functools.partial(write_arrays, values=dict(pictures[0])))
    if unit["limited"]:  # the float files of the other call are the reference
        values = {key: value for key, value in values.items() if not key.endswith(" float")} | {
            "openvino limited float": values["openvino float"]
        }
    return values


def _resampled(labelled: Detected, name: str, path: Path) -> np.ndarray:
    matches = labelled.score(labelled.find(FORMATS[name].load_module().load(path, 1)))
    figure = average_precision(matches)["AP"]
    return np.array([np.nan if figure is None else figure, *resample(matches, _RESAMPLES, _SEED)["AP"]])


def time_network(unit: Mapping[str, Any]) -> Values:
    """Return the ratios of times, float over INT8, by runtime and round, and the median milliseconds."""
    folder = _files(unit)
    subjects = [
        Subject(name, folder / f"{stem}{FORMATS[name].ending}", 1) for name in _QUANTISERS for stem in ("fp32", "8")
    ]
    timed = time_subjects(subjects, folder / SAMPLE, WORKER, unit["config"]["rounds"])
    values = {}
    for name, float32, int8 in zip(_QUANTISERS, timed[::2], timed[1::2], strict=True):
        if not (isinstance(float32, Timed) and isinstance(int8, Timed)):
            raise UserError(f"{_TITLES[name]} cannot run a file of {unit['name']}: {float32} {int8}")
        values[f"{name} ratio"] = float32.wall / int8.wall
        values[f"{name} ms"] = np.array([float32.median, int8.median])
    return values


Found = Mapping[str, Mapping[str, np.ndarray]]  # by backbone


def drops(found: Found, arm: str) -> dict[str, np.ndarray]:
    """Return by how much AP drops in an arm, by backbone: (1 + resamples,), the figure first."""
    name, _, limited = ARMS[arm]
    reference = f"{name} limited float" if limited else f"{name} float"
    return {backbone: values[reference] - values[arm] for backbone, values in found.items() if arm in values}


def estimate(drawn: np.ndarray) -> tuple[float, Interval]:
    """Return a figure and its basic bootstrap interval, from the figure and those of resamples."""
    low, high = np.nanpercentile(2 * drawn[0] - drawn[1:], [2.5, 97.5])
    return float(drawn[0]), (float(low), float(high))


def _mean(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.mean(list(parts.values()), axis=0)


def judge(found: Found) -> dict[str, tuple[Verdict, str]]:
    """Judge every claim that can be; of losses, by the networks that have something to lose, if they are most."""
    left = [name for name, values in found.items() if values["onnx float"][0] < _LEAST]
    trained = {name: values for name, values in found.items() if name not in left}
    if len(left) >= len(trained) or _REXNET in left:
        told = f"only {len(trained)} of {len(found)} networks reach {_LEAST:g} AP in float32: trained too shortly."
        verdicts = {claim: (Verdict.CANNOT_TELL, told) for claim in CLAIMS if claim != "faster"}
    else:
        without = f" Without {', '.join(left)}, under {_LEAST:g} AP in float32." if left else ""
        verdicts = {claim: (verdict, told + without) for claim, (verdict, told) in _judge_losses(trained).items()}
    return {**verdicts, "faster": _judge_speed(found)}


def _judge_losses(found: Found) -> dict[str, tuple[Verdict, str]]:
    verdicts: dict[str, tuple[Verdict, str]] = {}
    plain = [name for name in found if name in _PLAIN]
    if _REXNET in found and plain:
        pairs = []
        for arm in _EXACT:
            own = drops(found, arm)
            pairs.append((arm, *estimate(own[_REXNET] - _mean({name: own[name] for name in plain}))))
        verdicts["rexnet_quantises_worse"] = (judge_all([ends for _, _, ends in pairs]), _told(pairs))
    saturating, fixed = drops(found, _SATURATING), drops(found, _FIXED)
    if saturating:
        more, left = estimate(_mean(saturating) - _mean(fixed)), estimate(_mean(fixed))
        verdicts["saturation_costs"] = (judge_all([more[1]], _MARGIN), _told([("8 bits against 7", *more)]))
        low, high = left[1]
        verdicts["fix_suffices"] = (judge_all([(-high, -low)], -_MARGIN), _told([("mean drop", *left)]))
    return verdicts


def _judge_speed(found: Found) -> tuple[Verdict, str]:
    ratios = {
        f"{backbone} in {_TITLES[name]}": values[f"{name} ratio"]
        for backbone, values in found.items()
        for name in _QUANTISERS
    }
    quartiles = {key: np.percentile(ratio, [25, 50, 75]) for key, ratio in ratios.items()}
    slowest = min(quartiles, key=lambda key: quartiles[key][1])
    low, middle, high = quartiles[slowest]
    return (
        judge_all([(float(each[0]), float(each[2])) for each in quartiles.values()], 1.0),
        f"{len(ratios)} ratios, median {np.median([each[1] for each in quartiles.values()]):.2f}; the lowest "
        f"{middle:.2f} ({low:.2f} to {high:.2f}), {slowest}.",
    )


def _told(pairs: list[tuple[str, float, Interval]]) -> str:
    return "; ".join(f"{name} {value:+.2f} ({low:+.2f} to {high:+.2f}) AP" for name, value, (low, high) in pairs) + "."


def _figures(found: Found) -> list[Figure]:
    figures = []
    for name, values in found.items():
        design = DESIGNS.get(name, "other")
        figures.append(Figure(name=f"{name} ({design}): AP in float32", value=float(values["onnx float"][0]), unit="%"))
        for arm in ARMS:
            if name in drops(found, arm):
                value, ends = estimate(-drops(found, arm)[name])
                figures.append(Figure(name=f"{name} ({design}): change by {arm}", value=value, interval=ends, unit="%"))
        for runtime in _QUANTISERS:
            for label, ms in zip(("float32", "INT8"), values[f"{runtime} ms"], strict=True):
                figures.append(Figure(name=f"{name} ({design}): {_TITLES[runtime]}, {label}", value=ms, unit="ms"))
    return figures


def _series(found: Found) -> list[Series]:
    places = [float(place) for place in range(len(found))]
    series = []
    for arm in ARMS:
        own = drops(found, arm)
        if not own:
            continue
        estimates = [estimate(-own[name]) for name in found]
        series.append(
            Series(
                group="VNNI or exact" if not ARMS[arm][2] else "without VNNI",
                name=arm,
                x=places,
                y=[value for value, _ in estimates],
                low=[ends[0] for _, ends in estimates],
                high=[ends[1] for _, ends in estimates],
                n=1,
            )
        )
    for runtime, title in _TITLES.items():
        ends = np.array([np.percentile(values[f"{runtime} ratio"], [25, 50, 75]) for values in found.values()])
        low, middle, high = ends.T.tolist()
        rounds = len(next(iter(found.values()))[f"{runtime} ratio"])
        series.append(Series(group="speed", name=title, x=places, y=middle, low=low, high=high, n=rounds))
    return series


def draw(made: Artefact) -> Drawing:
    """Draw the change of AP with and without saturation, and the speed gained."""
    figure, (exact, limited, speed) = new_figure(1, 3, width=14, height=3.8)
    names = made.config["backbones"]
    labels = [f"{name} ({DESIGNS.get(name, 'other')})" for name in names]
    for axes, group, title, line in (
        (exact, "VNNI or exact", "change of AP, nothing saturates", 0.0),
        (limited, "without VNNI", "change of AP, OpenVINO without VNNI", 0.0),
        (speed, "speed", "time of float32 over INT8", 1.0),
    ):
        _draw_points(axes, made.panel(group))
        axes.axvline(line, color="black", linewidth=0.6)
        axes.set_yticks(range(len(names)), labels if axes is exact else [""] * len(names), fontsize=7)
        axes.set(title=title, ylim=(len(names) - 0.4, -0.6))
        if made.panel(group):
            axes.legend(fontsize=7)
    return figure


def _draw_points(axes: Axes, curves: list[Series]) -> None:
    for number, curve in enumerate(curves):
        shift = 0.16 * (number - (len(curves) - 1) / 2)
        for place, value, low, high in zip(curve.x, curve.y, curve.low, curve.high, strict=True):
            assert value is not None and low is not None and high is not None
            axes.plot([low, high], [place + shift] * 2, color=COLOURS[number], linewidth=1.2)
        places = [place + shift for place in curve.x]
        axes.plot(np.array(curve.y, float), places, "o", color=COLOURS[number], markersize=4, label=curve.name)


def check(config: Mapping[str, Any]) -> None:
    """Check that the quantisers are installed, and that every backbone can stand under SSDLite.

    Raises:
        UserError: they are not, or one cannot.
    """
    from backbones.catalogue import find_entry
    from benchmark.inference.quantise.search import check_quantisable

    for name in _QUANTISERS:
        FORMATS[name].check_installed()
        check_quantisable(name)
    for name in config["backbones"]:
        if find_entry(name).ssdlite is None:
            raise UserError(f"{name} cannot stand under SSDLite: {find_entry(name).why_not}")


EXPERIMENT = Experiment(
    CONFIG,
    QUICK,
    CLAIMS,
    run,
    draw,
    check,
    settable=("backbones", "steps", "side", "train_images", "val_images", "rounds"),
)
