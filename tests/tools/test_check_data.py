"""tools/check_data.py as a user runs it."""

import json
from pathlib import Path

from finegrained_layouts import MAKERS, TEST, USED
from helpers import call_tool

from benchmark.config.load import load_data_config
from benchmark.config.names import CONFIGS
from benchmark.data.demo.pictures import CLASSES
from benchmark.preflight import Depth, Preflight


def own_config(path: Path) -> Path:
    """A config of the generated data, as a user would write one for their own."""
    dataset = f"dict(dataset=dict(metainfo=dict(classes={CLASSES!r})))"
    path.write_text(
        f"_base_ = {str(CONFIGS / 'ssdlite_rexnet_x1.0.py')!r}\n"
        f"val_images = 6\nmodel = dict(bbox_head=dict(num_classes={len(CLASSES)}))\n"
        f"train_dataloader = {dataset}\nval_dataloader = {dataset}\n"
    )
    return path


def test_a_config_is_checked_with_its_run(demo_data, tmp_path):
    done = call_tool("check_data.py", own_config(tmp_path / "own.py"), "--data-root", demo_data, "--decode", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["status"] for row in rows} == {"ok"} and not done.stderr.count("error")
    by_check = {(row["split"], row["check"]): row for row in rows}
    assert by_check["val2017", "images to use"]["count"] == 6
    assert "for batch 32" in by_check["run", "learning rate for the global batch"]["examples"][0]
    assert "GB free" in by_check["run", "disk space for checkpoints"]["examples"][0]


def test_faults_are_in_the_table_and_in_the_exit_status(tmp_path):
    MAKERS["imagefolder"](tmp_path)
    trained, tested = (sorted((tmp_path / split).rglob("*.jpg")) for split in ("train", "test"))
    trained[0].write_bytes(b"")
    tested[1].write_bytes(tested[1].read_bytes()[:900])
    done = call_tool("check_data.py", "imagefolder", "--data-root", tmp_path, "--decode")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert table[0] == ["split", "check", "result", "how many", "first examples"]
    empty, cut = str(trained[0].relative_to(tmp_path)), str(tested[1].relative_to(tmp_path))
    assert ["trainval", "image files of zero bytes", "warning", "1", empty] in table
    assert ["test", "images to use", "ok", str(USED * TEST), f"{USED * TEST} images, {USED} classes"] in table
    assert any(row[:4] == ["test", "image files that cannot be read", "warning", "1"] for row in table)
    assert f"warning: {tmp_path}: 1 image files of zero bytes; first: {empty}" in done.stderr
    assert f"warning: {tmp_path}: 1 image files that cannot be read; first: {cut}" in done.stderr


def test_every_fine_grained_layout_passes(tmp_path):
    expected = {"images of the whole split", "pictures that are also trained on"}  # a few, some of them alike
    for name, make in MAKERS.items():
        make(tmp_path / name)
        cfg = load_data_config(name, data_root=tmp_path / name, allow_partial=True)
        rows = list(Preflight(cfg, depth=Depth.DECODE).rows())
        assert {row.check for row in rows if row.status != "ok"} <= expected
        assert [row.count for row in rows if row.check == "images to use"][1] == USED * TEST


def test_an_incomplete_layout_is_an_error_of_both_splits(tmp_path):
    rows = [row for row in Preflight(load_data_config("cars", data_root=tmp_path)).rows() if row.status == "error"]
    assert [row.split for row in rows] == ["trainval", "test"]
    assert all(row.message.startswith("Stanford Cars is not complete") for row in rows)


def test_real_pictures_pass(coco_mini):
    rows = list(Preflight(load_data_config("coco", data_root=coco_mini), depth=Depth.DECODE).rows())
    assert {row.check for row in rows if row.status != "ok"} == {"images of the whole split"}  # a few of COCO's
    assert [row.count for row in rows if row.check == "images to use"] == [80, 79]
