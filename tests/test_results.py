"""result.json: what is written reads back, and nothing else is taken for one."""

import json

import pytest

from benchmark.errors import UserError
from benchmark.results import FILE_NAME, Result, provenance, read_result


def result(**changes) -> Result:
    content = {
        "task": "ssdlite",
        "backbone": "rexnet_x1.0",
        "config": {"name": "ssdlite_rexnet_x1.0", "sha256": "0" * 64},
        "data": {"name": "coco2017", "split": "val2017", "images": 5000, "annotations_sha256": "1" * 64},
        "metrics": {"box_AP": 25.31, "box_AP50": 42.3, "box_AP75": None},
        "cost": {"params": 5_688_574, "macs": 1_007_918_560, "input": (1, 3, 320, 320)},
        "training": None,
        "provenance": {
            "git_commit": "abc", "git_dirty": False, "versions": {}, "python": "3.11", "device": "CPU",
            "precision": "fp32", "world_size": 1, "date": "2026-01-01T00:00:00+00:00",
        },
        **changes,
    }  # fmt: skip
    return Result.model_validate(content)


def test_written_and_read_back(tmp_path):
    written = result(per_class={"box": {"cat": 1.5, "dog": None}})
    assert read_result(written.write(tmp_path)) == written
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "segmentation"}, "task: .*unknown task 'segmentation'"),
        ({"backbone": None}, "backbone: .*string"),
        ({"surprise": 1}, "surprise: .*not permitted"),
        ({"schema_version": 2}, "schema_version"),
        ({"data": {"name": "x", "split": "y", "images": 0, "annotations_sha256": ""}}, r"data\.images"),
    ],
)
def test_a_foreign_content_is_named(tmp_path, change, message):
    content = json.loads(result().model_dump_json()) | change
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_result(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b'{"metrics": NaN}'])
def test_what_is_no_result_is_named(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(UserError, match=FILE_NAME):
        read_result(path)


def test_a_figure_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        result(metrics={"box_AP": float("nan")})


def test_provenance_describes_this_process():
    record = provenance("fp32")
    assert record.versions["torch"].startswith("2.")
    assert record.world_size == 1
