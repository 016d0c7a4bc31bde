"""result.json: what is written reads back, and nothing else is taken for one."""

import json

import pytest
from helpers import result

from backbones.errors import UserError
from benchmark.files.run_folder import RESULT
from benchmark.records.result import read_result
from benchmark.training.provenance import provenance


def test_written_and_read_back(tmp_path):
    written = result(per_class={"box": {"cat": 1.5, "dog": None}})
    assert read_result(written.write(tmp_path)) == written
    assert [path.name for path in tmp_path.iterdir()] == [RESULT]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "segmentation"}, "task: .*unknown task 'segmentation'"),
        ({"backbone": None}, "backbone: .*string"),
        ({"surprise": 1}, "surprise: .*not permitted"),
        ({"schema_version": 2}, "schema_version"),
        ({"data": {"name": "x", "split": "y", "images": 0, "annotations_sha256": ""}}, r"data\.images"),
        ({"cost": {"params": 10**400, "macs": 1, "input": [1, 3, 8, 8]}}, "cost: .*params is out of range"),
    ],
)
def test_a_foreign_content_is_named(tmp_path, change, message):
    content = json.loads(result().model_dump_json()) | change
    path = tmp_path / RESULT
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_result(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b'{"metrics": NaN}'])
def test_what_is_no_result_is_named(tmp_path, content):
    path = tmp_path / RESULT
    path.write_bytes(content)
    with pytest.raises(UserError, match=RESULT):
        read_result(path)


def test_a_figure_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        result(metrics={"box_AP": float("nan")})


def test_provenance_describes_this_process():
    record = provenance("fp32")
    assert record.versions["torch"].startswith("2.")
    assert record.world_size == 1
