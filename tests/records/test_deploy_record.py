"""Tables of deployed formats: written and read again, tolerant of what is new, strict about what is known."""

import json

import pytest

from backbones.errors import UserError
from benchmark.records.deploy import DeployFile, DeployRow

ROW = {"format": "onnx", "precision": "int8", "figure": "box_AP", "value": 30.1, "delta": -0.4, "ms": 4.2}


def save(path, **changes):
    path.write_text(json.dumps({"backbone": "rexnet_x1.0", "rows": [ROW | changes]}))
    return path


def test_what_is_written_is_read(tmp_path):
    row = DeployRow(**ROW, interval=(29.0, 31.0), delta_interval=(-0.6, -0.2), verified="yes", note="per channel")
    table = DeployFile(backbone="rexnet_x1.0", device="CPU", threads=1, rows=(row,))
    table.write(tmp_path / "new" / "deploy.json")
    assert DeployFile.read(tmp_path / "new" / "deploy.json") == table


def test_unknown_fields_are_left_alone_and_missing_ones_are_null(tmp_path):
    [row] = DeployFile.read(save(tmp_path / "deploy.json", provider="CPUExecutionProvider")).rows
    assert (row.mb, row.interval, row.verified) == (None, None, "unchecked")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ms": 0}, r"rows\.0\.ms: .*greater than 0"),
        ({"ms": float("inf")}, r"rows\.0\.ms"),
        ({"figure": "box_ap"}, "Did you mean 'box_AP'"),
        ({"delta_interval": [1, -1]}, "delta_interval ends before it begins: 1 to -1"),
        ({"verified": "maybe"}, r"rows\.0\.verified"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=rf"deploy\.json is no table of deployed formats.*{message}"):
        DeployFile.read(save(tmp_path / "deploy.json", **changes))


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "deploy.json").write_text("{")
    with pytest.raises(UserError, match=r"deploy\.json is no table"):
        DeployFile.read(tmp_path / "deploy.json")
