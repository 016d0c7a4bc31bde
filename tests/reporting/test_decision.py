"""The decision by its command line on made runs: what is taken, what is said of it, what is refused."""

import html
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from decision_runs import make_annotations, make_classifier_run, make_detector_run, make_times
from helpers import call_tool

from benchmark.reporting.decision.choice import Constraints, Option, choose
from benchmark.reporting.decision.decision import decide as make_decision
from benchmark.reporting.decision.statistics import (
    Estimate,
    Figure,
    Spread,
    Spreads,
    difference,
    estimate,
    needed,
    spreads,
    unlike_spreads,
)
from benchmark.reporting.decision.text import class_rows, tables
from benchmark.reporting.decision.words import page_words, sentence

CHOOSE = Path(__file__).parents[2] / "benchmark/reporting/decision/choose.js"
FILES = [f"decision.{ending}" for ending in ("html", "json", "md", "png", "svg", "txt")]


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    return make_annotations(tmp_path_factory.mktemp("data") / "instances_val.json")


@pytest.fixture(scope="module")
def runs(annotations, tmp_path_factory) -> Path:
    """Three seeds of three backbones, timed: two that are nearly as good, one far behind."""
    root = tmp_path_factory.mktemp("runs")
    for backbone, quality, params in (
        ("resnet50", 0.8, 25e6),
        ("mobilenet_v2", 0.78, 3e6),
        ("shufflenet_v2_x1.0", 0.3, 2e6),
    ):
        for seed in range(3):
            make_detector_run(
                root / f"{backbone}_{seed}", annotations, quality=quality, seed=seed, backbone=backbone,
                params=int(params),
            )  # fmt: skip
    make_times(root / "latency.json", {"resnet50": 60.0, "mobilenet_v2": 20.0, "shufflenet_v2_x1.0": 10.0})
    return root


def decide(folder: Path, out: Path, *more: object) -> dict:
    """The decision of a command line, as JSON."""
    run = call_tool("decide.py", folder, "--out", out, *more)
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in out.iterdir()) == FILES
    decision = json.loads((out / "decision.json").read_text())
    printed = " ".join(run.stdout.split())
    assert decision["sentence"] in printed
    page = (out / "decision.html").read_text()
    assert all(html.escape(part) in page for part in decision["sentence"].split(". ", 1))
    return decision


def refusal(*arguments: object) -> str:
    run = call_tool("decide.py", *arguments)
    assert run.returncode != 0 and run.stdout == ""
    [line] = [line for line in run.stderr.splitlines() if not line.endswith(" ...")]
    return line


def test_the_fastest_that_is_as_good_as_the_best_is_taken(runs, annotations, tmp_path):
    decision = decide(runs, tmp_path / "out", "--annotations", annotations, "--margin", 20)
    assert decision["taken"] == "mobilenet_v2", decision["sentence"]
    assert [one["name"] for one in decision["candidates"]][-1] == "shufflenet_v2_x1.0"
    assert "paired over pictures and seeds" in decision["sentence"]
    assert "3.0 times as fast here (quartiles 2.9 to 3.1)" in decision["sentence"] or decision["best"] == "mobilenet_v2"
    assert decision["candidates"][-1]["not_told_apart_from"] == []
    assert {*decision["candidates"][0]["classes"]} == {"class1", "class2", "class3"}
    assert decision["candidates"][0]["hours"] == 0.5


def test_it_is_the_same_again(runs, annotations, tmp_path):
    for name in "ab":
        decide(runs, tmp_path / name, "--annotations", annotations)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        (("--max-ms", 15), "shufflenet_v2_x1.0"),
        (("--max-ms", 1), None),
        (("--max-params", "2.5M"), "shufflenet_v2_x1.0"),
        (("--max-params", "2.5M", "--min-ap", 90), None),
    ],
)
def test_limits_bar_what_does_not_meet_them(limits, taken, runs, annotations, tmp_path):
    decision = decide(runs, tmp_path / "out", "--annotations", annotations, *limits)
    assert decision["taken"] == taken
    if taken is None:
        assert decision["sentence"] == "None of the 3 meets what is asked for."


def test_a_figure_whose_interval_reaches_below_the_limit_is_said_to(runs, annotations, tmp_path):
    whole = decide(runs, tmp_path / "whole", "--annotations", annotations)
    best = whole["candidates"][0]["figure"]
    limit = (best["interval"][0] + best["value"]) / 2
    decision = decide(runs, tmp_path / "out", "--annotations", annotations, "--min-ap", f"{limit:.3f}")
    assert "The interval reaches below the AP asked for." in decision["sentence"]
    assert "reaches below" not in whole["sentence"]


def test_without_times_the_best_is_taken_and_the_cost_is_unknown(runs, annotations, tmp_path):
    shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("latency.json"))
    decision = decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations, "--margin", 20)
    assert decision["taken"] == decision["best"]
    assert "Its cost is unknown: no time of it was measured" in decision["sentence"]
    assert "times as fast" not in decision["sentence"]
    times = make_times(tmp_path / "elsewhere.json", {"resnet50": 60.0, "mobilenet_v2": 20.0})
    given = decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations, "--latency", times)
    assert "unknown" not in given["sentence"]
    assert "shufflenet_v2_x1.0" in next(note for note in given["notes"] if note.startswith("No time under these"))


def test_one_seed_says_that_seeds_are_not_covered(annotations, tmp_path):
    for backbone, quality in (("resnet50", 0.8), ("mobilenet_v2", 0.75)):
        make_detector_run(tmp_path / "runs" / backbone, annotations, quality=quality, backbone=backbone)
    decision = decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations)
    assert "of one seed each" in decision["sentence"] and "how far another seed would lie" in decision["sentence"]
    assert decision["candidates"][0]["variance"]["seeds"] is None
    assert "more seeds each" not in decision["sentence"]


def test_one_backbone_is_the_only_one(annotations, tmp_path):
    make_detector_run(tmp_path / "runs" / "a", annotations, quality=0.8)
    decision = decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations)
    assert decision["sentence"].startswith("Take rexnet_x1.0: ") and "the only one" in decision["sentence"]


def test_two_weights_of_one_backbone_are_told_apart_by_name(annotations, tmp_path):
    for name, quality, weights in (("a", 0.9, "imagenet"), ("b", 0.3, None)):
        for seed in range(2):
            folder = tmp_path / "runs" / f"{name}{seed}"
            make_detector_run(folder, annotations, quality=quality, seed=seed, training={"pretrained": weights})
    decision = decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations)
    assert [one["name"] for one in decision["candidates"]] == [
        "rexnet_x1.0, weights imagenet",
        "rexnet_x1.0, weights none",
    ]
    assert decision["pairs"][0][1]["low"] > 0 and any(
        "Not all were trained alike" in note for note in decision["notes"]
    )


@pytest.mark.parametrize("answers", [True, False], ids=["paired", "unpaired"])
def test_classifiers_are_decided_by_their_answers(answers, tmp_path):
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=400)
    for backbone, share in (("resnet50", 0.8), ("rexnet_x1.0", 0.72)):
        for seed in range(2):
            hits = 0.9 * hard + 0.1 * rng.uniform(size=400) < share
            make_classifier_run(tmp_path / "runs" / f"{backbone}{seed}", hits, seed=seed, backbone=backbone,
                                answers=answers)  # fmt: skip
    decision = decide(tmp_path / "runs", tmp_path / "out")
    assert decision["taken"] == "resnet50" and " top-1 " in decision["sentence"]
    pair = decision["pairs"][0][1]
    assert ("not paired over pictures" in pair["text"]["pairing"]) is not answers
    assert decision["candidates"][0]["classes"].keys() == {"class0", "class1"}
    # The pictures' part of the difference, against the normal approximation of hits that are paired, or are not.
    gap = decision["candidates"][0]["figure"]["value"] - decision["candidates"][1]["figure"]["value"]
    assert gap == pytest.approx(8, abs=2)
    width = pair["high"] - pair["low"]
    assert width > 8 if not answers else width < 40


def test_equal_figures_go_to_the_faster_and_equal_times_to_the_smaller():
    def take(*options: Option) -> int:
        equal = [[-0.5] * len(options)] * len(options), [[0.5] * len(options)] * len(options)
        answer = choose(options, *equal, Constraints())
        assert answer is not None
        return answer.taken

    assert take(Option(30, 20, 5e6), Option(30, 10, 5e6)) == 1
    assert take(Option(30, 10, 5e6), Option(30, 10, 4e6)) == 1
    assert take(Option(30, 10, 5e6), Option(30, 10, 5e6)) == 0
    assert take(Option(30, 10, 5e6), Option(29.8, 9.8, 5e6)) == 0  # within 5% it is one time
    assert take(Option(30, 10, 5e6), Option(29.8, 9.4, 5e6)) == 1
    assert take(Option(30, None, 5e6), Option(29.8, 9.4, 5e6)) == 0  # nothing to compare its time with


def test_what_may_be_worse_by_more_than_the_margin_is_not_taken_but_named():
    options = [Option(30, 20, 1), Option(29, 10, 1)]
    low, high = [[0, -1.0], [-3.0, 0]], [[0, 3.0], [1.0, 0]]
    answer = choose(options, low, high, Constraints(margin=1))
    assert (answer.taken, answer.untold) == (0, 1)
    assert choose(options, low, high, Constraints(margin=3)).taken == 1
    assert choose(options, low, [[0, 3.0], [-0.1, 0]], Constraints(margin=1)).untold is None


def test_what_is_no_better_than_a_guess_is_not_taken(annotations, tmp_path):
    for backbone in ("resnet50", "rexnet_x1.0"):
        make_detector_run(tmp_path / "boxes" / backbone, annotations, quality=0.0, backbone=backbone)
        make_classifier_run(tmp_path / "classes" / backbone, [True, False] * 20, backbone=backbone)
    for folder, said in (("boxes", "0.0 AP (95% interval 0.0 to 0.0), and a blind guess reaches 0.0."),
                         ("classes", ", and a blind guess reaches 50.0.")):  # fmt: skip
        more = ("--annotations", annotations) if folder == "boxes" else ()
        decision = decide(tmp_path / folder, tmp_path / f"{folder}_out", *more)
        assert decision["taken"] is None and decision["changes"]["max_params"] == []
        assert decision["sentence"].startswith("None can be taken yet: ") and said in decision["sentence"]


def test_generated_data_have_no_times_and_the_note_says_why(tmp_path):
    run = make_classifier_run(tmp_path / "runs/a", [True, True, True, False])
    content = json.loads((run / "result.json").read_text())
    content["data"]["demo"] = True
    (run / "result.json").write_text(json.dumps(content))
    notes = decide(tmp_path / "runs", tmp_path / "out")["notes"]
    [note] = [note for note in notes if note.startswith("No times: ")]
    assert "its own classes" in note and "latency.py" not in note


def test_of_many_classes_those_are_printed_that_differ_most(runs, annotations):
    found = make_decision([runs], Constraints(), annotations=annotations)
    shown = [row["class"] for row in class_rows(found)]
    names = [one.classes for one in found.candidates]
    ranges = {name: np.ptp([classes[name].value for classes in names]) for name in shown}
    assert len(shown) == 3 and [row["class"] for row in class_rows(found, classes=1)] == [max(ranges, key=ranges.get)]
    assert "AP by class, the 2 of 3 that differ most" in tables(found, classes=2)
    assert "AP by class" in tables(found, classes=3)


# What is refused.


def test_runs_on_different_pictures_are_refused(annotations, tmp_path):
    other = make_annotations(tmp_path / "other.json", seed=1)
    make_detector_run(tmp_path / "runs/a", annotations, quality=0.8)
    make_detector_run(tmp_path / "runs/b", other, quality=0.8, backbone="resnet50")
    assert "The runs are not on the same data: " in refusal(tmp_path / "runs", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tasks_are_not_mixed(annotations, tmp_path):
    make_detector_run(tmp_path / "runs/a", annotations, quality=0.8)
    make_classifier_run(tmp_path / "runs/b", [True, False])
    assert "Runs of different tasks" in refusal(tmp_path / "runs", "--out", tmp_path / "out")


def test_a_run_without_its_detections_or_with_others_is_refused(annotations, tmp_path):
    run = make_detector_run(tmp_path / "runs/a", annotations, quality=0.8)
    arguments = (tmp_path / "runs", "--annotations", annotations)
    (run / "detections.json").write_text("[]")
    assert "does not belong to the result.json beside it" in refusal(*arguments)
    (run / "detections.json").unlink()
    assert "Detections not found" in refusal(*arguments)
    assert [path.name for path in run.parent.iterdir()] == ["a"]


def test_answers_of_another_evaluation_are_refused(tmp_path):
    run = make_classifier_run(tmp_path / "runs/a", [True, True, False, False])
    text = (run / "answers.csv").read_text()
    (run / "answers.csv").write_text(text.rpartition("3,")[0] + "3,1,1\n")
    assert "answers.csv does not belong to the result" in refusal(tmp_path / "runs")
    (run / "answers.csv").write_text("image,true class,answer\n0,x,1\n")
    assert "is no table of answers" in refusal(tmp_path / "runs")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-params", "5", "takes a number of parameters such as 5M"),
        ("--max-params", "0M", "takes a number of parameters such as 5M"),
        ("--max-ms", "nan", "--max-ms"),
        ("--min-ap", "101", "--min-ap"),
        ("--latency", "{}/file", "is not what tools/latency.py --json prints"),
        ("--deploy", "{}/file", "is no table of deployed formats"),
        ("--annotations", "{}/file", "is not the file that"),
    ],
)
def test_what_an_option_cannot_be_is_one_line(option, value, words, runs, tmp_path):
    (tmp_path / "file").write_text("a file of the user's\n")
    line = refusal(runs, "--out", tmp_path / "out", option, value.format(tmp_path))
    assert words in line and not (tmp_path / "out").exists()


def test_somebodys_own_files_are_kept(runs, annotations, tmp_path):
    (tmp_path / "decision.html").write_text("mine")
    arguments = (runs, "--annotations", annotations, "--out", tmp_path)
    assert "holds other files and no decision.json" in refusal(*arguments)
    (tmp_path / "decision.json").write_text("{}")
    assert "decision.html is a file of another kind" in refusal(*arguments)
    assert (tmp_path / "decision.html").read_text() == "mine" and len([*tmp_path.iterdir()]) == 2


def test_no_results_are_said(tmp_path):
    assert "No results below" in refusal(tmp_path)
    assert "Folder not found" in refusal(tmp_path / "absent")


# The page.


def test_the_page_asks_for_nothing(runs, annotations, tmp_path):
    decide(runs, tmp_path / "out", "--annotations", annotations)
    page = (tmp_path / "out/decision.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy and "default-src 'none'" in html.unescape(policy[1]) and "unsafe-eval" not in policy[1]
    body = re.sub(r"<script type=\"module\">.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", body)
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*\b(?:src|href)=[\"'](?!data:)", body)


def test_deployed_formats_are_further_points(runs, annotations, tmp_path):
    row = {"format": "onnx", "precision": "int8", "figure": "box_AP", "value": 50.0, "interval": [48, 52], "ms": 4.0,
           "delta": -0.5, "delta_interval": [-0.9, -0.1], "mb": 5.0, "verified": "yes"}  # fmt: skip
    (tmp_path / "deploy.json").write_text(json.dumps({"backbone": "resnet50", "rows": [row]}))
    decision = decide(runs, tmp_path / "out", "--annotations", annotations, "--deploy", tmp_path / "deploy.json")
    assert decision["deployed"][0]["format"] == "onnx"
    text = (tmp_path / "out/decision.txt").read_text()
    assert "-0.50 [-0.90, -0.10]" in text and "onnx int8" in text
    assert "resnet50, onnx int8" in (tmp_path / "out/decision.svg").read_text()


def test_dropped_losers_are_named_with_their_interval(annotations, tmp_path):
    make_detector_run(tmp_path / "runs/a", annotations, quality=0.8)
    loser = {"backbone": "shufflenet_v2_x0.5", "runs": 1, "leader": "rexnet_x1.0", "figure": "box_AP", "value": 10.0,
             "leader_value": 30.0, "difference": -20.0, "interval": [-25.0, -15.0]}  # fmt: skip
    recipe = dict.fromkeys(("dataset", "data_root", "batch_size", "pretrained", "subset"))
    recipe |= {"template": "configs/ssdlite.py", "data_sha256": {}, "steps": 1, "precision": "fp32", "cfg_options": []}
    series = {"recipe": recipe, "backbones": ["rexnet_x1.0", "shufflenet_v2_x0.5"], "seeds": 3, "seconds": {}}
    (tmp_path / "runs/series.json").write_text(json.dumps({**series, "drop_clear_losers": True, "dropped": [loser]}))
    decision = decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations)
    [note] = [note for note in decision["notes"] if note.startswith("Dropped as clear losers")]
    assert "shufflenet_v2_x0.5 after 1 of 3, by -20.0 to rexnet_x1.0 (95% interval -25.0 to -15.0)" in note


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here, which runs the page's script")
def test_the_page_chooses_and_says_the_same():
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for _ in range(200):
        data, low, high = random_data(rng)
        margin = float(rng.choice([0.0, 1.0, 4.0]))
        asked = {
            "max_ms": maybe(rng, rng.uniform(5, 40)),
            "min_figure": maybe(rng, rng.uniform(20, 40)),
            "max_params": maybe(rng, rng.uniform(1, 9)),
            "margin": margin,
        }
        options = [Option(one["figure"], one["ms"], one["params"], one["guess"]) for one in data["options"]]
        answer = choose(options, low, high, Constraints(**asked))
        chosen = answer and {name: getattr(answer, name) for name in ("taken", "best", "next", "untold")}
        cases.append({"data": data, "asked": asked})
        expected.append([chosen, sentence(data, answer, Constraints(**asked))])
    script = CHOOSE.read_text() + (
        "const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(cases.map(({data, asked}) =>"
        " [choose(data.options, data.pairs, asked), sentence(data, asked)])));"
    )
    run = subprocess.run(["node", "-e", script], input=json.dumps(cases), capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == expected
    answers = [answer for answer, _ in expected]
    assert None in answers and any(said.startswith("None can be taken yet: ") for _, said in expected)
    assert any(answer and answer["untold"] is not None for answer in answers)
    assert any(answer and answer["taken"] != answer["best"] for answer in answers)


def maybe(rng: np.random.Generator, value: float) -> float | None:
    return float(value) if rng.uniform() < 0.4 else None


def random_data(rng: np.random.Generator) -> tuple[dict, list, list]:
    """Backbones with figures and times, of which some are equal or missing, and intervals of their differences."""
    from benchmark.reporting.decision.times import Speed
    from benchmark.reporting.decision.words import option_text, pair_text

    count = int(rng.integers(1, 6))
    figures = [Figure({s: float(v) for s, v in enumerate(rng.normal(m, 0.4, 3))}, rng.normal(m, 0.5, 50), 100)
               for m in rng.choice([28.0, 30.0, 30.5, 34.0], count)]  # fmt: skip
    pooled = spreads(figures)
    estimates = [estimate(figure, pooled) for figure in figures]
    times = [maybe(rng, t) if rng.uniform() < 0.3 else float(t) for t in rng.choice([10.0, 10.2, 20.0, 30.0], count)]
    guess = float(rng.choice([0, 0, 29.0, 40.0]))
    pairs = [[None if a is b else difference(a, b, pooled) for b in figures] for a in figures]
    low = [[pair.low if pair else 0.0 for pair in row] for row in pairs]
    high = [[pair.high if pair else 0.0 for pair in row] for row in pairs]

    def speed(i: int, j: int) -> Speed | None:
        return Speed(times[j] / times[i], 0.9, 1.1) if times[i] and times[j] else None

    data = {
        "options": [
            {"name": f"net$&{i}", "figure": one.value, "ms": times[i], "params": float(rng.choice([2, 4, 8])),
             "low": one.low, "guess": guess, "text": option_text(one, "AP", guess)}
            for i, one in enumerate(estimates)
        ],
        "pairs": [
            [pair and {"low": pair.low, "high": pair.high, "told": pair.told,
                       "text": pair_text(pair, speed(i, j), 1.0, "paired")}
             for j, pair in enumerate(row)]
            for i, row in enumerate(pairs)
        ],
        "words": page_words("AP", count, one_seed=False),
    }  # fmt: skip
    return data, low, high


# The statistics.


@pytest.mark.parametrize(
    ("seeds", "pictures_share", "seeds_share", "backbones"),
    [(3, 1.0, 0.2, 2), (3, 0.2, 1.0, 2), (3, 1.0, 1.0, 4), (1, 1.0, 0.0, 2), (5, 0.5, 1, 2), (2, 0.2, 1.0, 6)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, pictures_share, seeds_share, backbones):
    """Simulated hits of two classifiers: pictures that are hard for both, runs that had more or less luck."""
    rng, held, trials, images, truth = np.random.default_rng(0), 0, 400, 150, 4.0
    for _ in range(trials):
        weights = rng.multinomial(images, np.full(images, 1 / images), size=100)  # (100, images)
        hard = rng.normal(0, 8, images)
        figures = []
        for middle in (truth, *[0.0] * (backbones - 1)):
            own = hard + rng.normal(0, 10 * pictures_share, images)
            runs = [middle + own + rng.normal(0, 2 * seeds_share) + rng.normal(0, 5, images) for _ in range(seeds)]
            draws = np.mean([weights @ run / images for run in runs], axis=0)
            figures.append(Figure({seed: float(run.mean()) for seed, run in enumerate(runs)}, draws, images))
        found = difference(*figures[:2], spreads(figures))
        held += found.low <= truth <= found.high
    assert 0.93 <= held / trials <= 0.995, held / trials


def test_as_many_more_as_it_says_do_tell():
    """With the seeds that were asked for, a difference of that size is found four times out of five."""
    rng, gap, spread, noise = np.random.default_rng(1), 1.0, 0.8, 0.15
    draws = rng.normal(0, noise, 2000)

    def figures(seeds: int) -> list[Figure]:
        shift = rng.normal(0, noise)  # pictures: the same for all seeds
        ahead, behind = rng.normal(gap + shift, spread, seeds), rng.normal(0, spread, seeds)
        return [
            Figure({seed: float(value) for seed, value in enumerate(ahead)}, draws + ahead.mean(), 500),
            Figure({seed: float(value) for seed, value in enumerate(behind)}, np.zeros(2000) + behind.mean(), 500),
        ]

    known = Estimate(gap, 0, 0, noise**2, Spread(2 * spread**2 / 3, 2), 3, 500)
    asked = needed(known, gap)
    assert asked.seeds is not None
    found = [paired(*figures(3 + asked.seeds)).low > 0 for _ in range(400)]
    assert 0.74 <= np.mean(found) <= 0.9, (asked, np.mean(found))


def paired(a: Figure, b: Figure) -> Estimate:
    return difference(a, b, spreads([a, b]))


def test_what_no_number_of_seeds_tells_more_pictures_do():
    few = Figure({0: 30.0, 1: 30.1}, 30 + np.tile([-3.0, 3.0], 50), 100)
    other = Figure({0: 29.0, 1: 29.1}, 29 + np.tile([3.0, -3.0], 50), 100)
    asked = needed(paired(few, other), 1.0)
    assert asked.seeds is None and asked.pictures is not None and asked.times is None
    # Twice 3 points of error from 100 pictures; (1.96 + 0.84)^2 of it, by the square of the difference.
    assert asked.pictures == pytest.approx(100 * 36 * 2.8**2 - 100, rel=0.03)


def test_a_single_seed_borrows_the_others_spread():
    several = Figure({0: 30.0, 1: 31.0, 2: 32.0}, np.zeros(100) + 31, 100)
    single = Figure({0: 28.0}, np.zeros(100) + 28, 100)
    found = spreads([several, single])
    assert found == Spreads(Spread(1.0, 2), None)
    assert estimate(single, found).seeds == Spread(1.0, 2)
    assert difference(several, single, found).seeds == Spread(pytest.approx(1 + 1 / 3), 2)
    assert estimate(single, spreads([single])).seeds is None


def test_equal_seeds_are_paired():
    """What a seed does to all backbones alike is in no difference."""
    luck = {0: 0.0, 1: 5.0, 2: -3.0}
    figures = [
        Figure({seed: level + shift for seed, shift in luck.items()}, np.zeros(9) + level, 9) for level in (1, 2)
    ]
    assert difference(*figures, spreads(figures)).seeds == Spread(pytest.approx(0), 2)
    other = Figure({0: 3.0, 7: 9.0}, np.zeros(9) + 6, 9)
    assert spreads([*figures, other]).paired is None


def test_unlike_spreads_are_seen():
    steady, shaky = (
        Figure({seed: size * value for seed, value in enumerate((0, 1, -1, 2, -2))}, np.zeros(9), 9)
        for size in (0.01, 5.0)
    )
    assert unlike_spreads([steady, shaky]) and not unlike_spreads([shaky, shaky])


@pytest.mark.slow
def test_fifty_runs_are_decided_within_half_a_minute(tmp_path):
    annotations = make_annotations(tmp_path / "instances.json", images=300, classes=10)
    for number in range(50):
        make_detector_run(
            tmp_path / "runs" / str(number), annotations, quality=0.3 + 0.01 * (number // 2), seed=number % 2,
            backbone=f"net{number // 2}",
        )  # fmt: skip
    begin = time.process_time()  # of this process, whatever else runs here
    decide(tmp_path / "runs", tmp_path / "out", "--annotations", annotations)
    assert time.process_time() - begin < 30
