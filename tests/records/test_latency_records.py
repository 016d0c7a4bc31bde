"""Files of measured times: what is read is written again as it was, and nothing else is taken for one."""

import json

import pytest
from golden import LEADERBOARD

from backbones.errors import UserError
from benchmark.records.latency import LatencyFile, Pair, read_latencies

PAIR = {
    "device": "CPU",
    "batch": 1,
    "pair": "B / x",
    "top-1": "77.3 / 77.2",
    "ratio": "1.40",
    "quartiles": "1.32 to 1.50",
    "in the paper": "1.00",
}


def test_a_file_is_written_as_the_tool_prints_it(tmp_path):
    recorded = (LEADERBOARD / "runs" / "latency.json").read_text()
    content = json.loads(recorded) | {"pairs": [PAIR], "loaders": []}
    path = tmp_path / "new" / "latency.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    read = read_latencies(path)
    content["latencies"] = [{**record, "fused": False} for record in content["latencies"]]  # not yet recorded then
    written, expected = (json.loads(text, parse_float=str) for text in (read.json_text(), json.dumps(content)))
    assert written == expected  # figures of pairs keep their digits: "1.40"
    read.write(tmp_path / "again" / "latency.json")
    assert read_latencies(tmp_path / "again" / "latency.json") == read


def test_a_file_without_pairs_is_one(tmp_path):
    (tmp_path / "latency.json").write_text('{"latencies": []}')
    assert read_latencies(tmp_path / "latency.json") == LatencyFile(latencies=[])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "top level"),
        ('{"latencies": [{"model": "x"}]}', r"latencies\.0\.timed: Field required"),
        (json.dumps({"latencies": [], "pairs": [PAIR | {"ratio": "-1"}]}), r"pairs\.0\.ratio: .*greater than 0"),
        (json.dumps({"latencies": [], "pairs": [PAIR | {"surprise": 1}]}), r"pairs\.0\.surprise"),
    ],
)
def test_what_is_none_is_named(tmp_path, content, message):
    (tmp_path / "latency.json").write_text(content)
    with pytest.raises(UserError, match=rf"latency\.json is not what tools/latency\.py --json prints: {message}"):
        read_latencies(tmp_path / "latency.json")


def test_a_pair_may_be_made_by_its_names():
    changed = {"top1": PAIR["top-1"], "printed": PAIR["in the paper"]}
    given = {name: value for name, value in PAIR.items() if name not in ("top-1", "in the paper")} | changed
    assert Pair(**given) == Pair.model_validate(PAIR)
