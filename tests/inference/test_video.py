"""Predictions on videos, cameras and streams, by the command line; the videos are made here."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers import SMALL, build_detector, call_tool, small_config
from PIL import Image
from videos import NTSC, cut, make_video, noise, rtsp_server

from benchmark.data.demo.pictures import make_demo_data
from benchmark.inference import sources, video
from benchmark.inference.results import CocoResults
from benchmark.inference.sources import Video
from benchmark.inference.video import Frames, VideoWriter

TAME = (*SMALL, "val_dataloader.num_workers=0")


def frames_of(path: Path) -> list[np.ndarray]:
    """Frames (H, W, 3; uint8, RGB) of a file, read independently of the code under test."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def rate_of(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate


# Reading and writing.


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
def test_a_written_video_has_the_frames_and_the_rate_of_the_one_read(tmp_path, name):
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx-vp9"}.get(name, "libx264")
    source = make_video(tmp_path / name, [np.full((48, 64, 3), 5 * i, np.uint8) for i in range(40)], codec=codec)
    with Frames(Video(str(source), name, source)) as frames, VideoWriter(tmp_path / "out.mp4", frames.rate) as writer:
        for frame in frames.read():
            writer.write(np.ascontiguousarray(frame.image[..., ::-1]), frame.seconds)
    assert (frames.problem, frames.damaged) == (None, 0)
    assert rate_of(tmp_path / "out.mp4") == frames.rate == NTSC
    written, expected = frames_of(tmp_path / "out.mp4"), frames_of(source)
    assert len(written) == len(expected) == 40
    assert np.abs(np.array(written).astype(int) - np.array(expected)).max() < 10


def test_frames_of_variable_rate_keep_their_times(tmp_path):
    times = [0, 4, 8, 50, 54, 120]
    source = make_video(tmp_path / "a.mp4", noise(6), rate=Fraction(25), times=times)
    with Frames(Video(str(source), "a", source)) as frames, VideoWriter(tmp_path / "out.mp4", frames.rate) as writer:
        for frame in frames.read():
            writer.write(frame.image, frame.seconds)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [round(100 * frame.time) for frame in container.decode(video=0)] == times


def test_a_video_of_a_phone_on_its_side_is_read_upright(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = (255, 0, 0)  # red, above on the left
    source = make_video(tmp_path / "a.mp4", [image] * 3, rotation=90)
    with Frames(Video(str(source), "a", source)) as frames:
        [first, *_] = frames.read()
    assert first.image.shape == (64, 48, 3)
    assert first.image[50, 10, 2] > 200 > first.image[10, 10, 2]  # counterclockwise: below on the left


def test_odd_sides_gain_a_pixel(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", Fraction(10)) as writer:
        for number in range(3):
            writer.write(np.full((47, 63, 3), 200, np.uint8), Fraction(number, 10))
    assert frames_of(tmp_path / "a.mp4")[0].shape == (48, 64, 3)


def test_a_video_that_was_being_written_at_a_kill_can_be_played(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", Fraction(30))
    for number, image in enumerate(noise(400)):
        writer.write(image, Fraction(number, 30))
    (tmp_path / "killed.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    writer.__exit__(None, None, None)
    with Frames(Video(str(tmp_path / "killed.mp4"), "killed", tmp_path / "killed.mp4")) as frames:
        assert sum(1 for _ in frames.read()) > 100


def test_a_silent_server_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(video, "_PATIENCE", 1.0)
    with rtsp_server(noise(30), hang=True) as port, Frames(Video(f"rtsp://127.0.0.1:{port}/x", "x")) as frames:
        assert len(list(frames.read())) > 20
    assert frames.problem == "nothing came for 1 s"


# The command line.


@pytest.fixture(scope="module")
def world(tmp_path_factory, randomise) -> Path:
    """A detector that finds something, and pictures."""
    root = tmp_path_factory.mktemp("videos")
    make_demo_data(root / "data", train_images=8, val_images=4)
    detector = randomise(build_detector(small_config("ssdlite_mobilenet_v3_large")))
    for conv in detector.bbox_head.cls_convs:
        torch.nn.init.normal_(conv[-1].weight)
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, root / "x.pth")
    return root


def predict(world: Path, out: Path, *arguments: object):
    given = ("configs/ssdlite_mobilenet_v3_large.py", world / "x.pth", *arguments)
    return call_tool("predict.py", *given, "--out", out, "--data-root", world, "--cfg-options", *TAME)


def pictures_of(world: Path) -> list[np.ndarray]:
    """The pictures of the demo's data in one size (H, W, 3)."""
    paths = sorted((world / "data/val2017").glob("*.jpg"))
    return [np.asarray(Image.open(path).convert("RGB").resize((96, 64))) for path in paths]


@pytest.mark.slow
def test_a_frame_is_predicted_as_the_same_picture(world, tmp_path):
    pictures = pictures_of(world)
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/clip.mkv", pictures, codec="ffv1", pixels="bgr0")
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"in/{number}.png")
    run = predict(world, tmp_path / "out", tmp_path / "in")
    assert (run.returncode, run.stderr) == (0, "")
    assert "4 pictures and 4 frames" in run.stdout and "a second" in run.stdout
    images = json.loads((tmp_path / "out/images.json").read_text())
    assert images["videos"] == [{"id": 1, "name": "clip.mkv"}]
    frames = [image for image in images["images"] if "video_id" in image]
    assert [image["file_name"] for image in images["images"]] == [f"{i}.png" for i in range(4)] + ["clip.mkv"] * 4
    assert [frame["frame_id"] for frame in frames] == [0, 1, 2, 3]
    assert [frame["seconds"] for frame in frames] == pytest.approx([i / float(NTSC) for i in range(4)])
    assert len({image["id"] for image in images["images"]}) == 8
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    for number, frame in enumerate(frames):
        ours = [d for d in found if d["image_id"] == frame["id"]]
        same = [d for d in found if d["image_id"] == images["images"][number]["id"]]
        assert len(ours) == len(same) > 0
        np.testing.assert_allclose([d["bbox"] for d in ours], [d["bbox"] for d in same], atol=1e-3)
        np.testing.assert_allclose([d["score"] for d in ours], [d["score"] for d in same], atol=1e-5)
    drawn = frames_of(tmp_path / "out/clip.mkv.mp4")
    assert len(drawn) == 4 and rate_of(tmp_path / "out/clip.mkv.mp4") == NTSC
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(drawn, pictures, strict=True)) > 100


@pytest.mark.slow
def test_json_lines_have_a_line_per_frame_and_take_the_place_of_the_other_format(world, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / name, pictures_of(world))
    given = (tmp_path / "*.mp4", "--frames", 3)
    assert predict(world, tmp_path / "out", *given).returncode == 0
    run = predict(world, tmp_path / "out", *given, "--format", "jsonl")
    assert (run.returncode, run.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.jsonl", "a.mp4", "b.mp4"}
    lines = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert [(line["file_name"], line["video_id"], line["frame_id"]) for line in lines] == [
        (name, number, frame) for number, name in ((1, "a.mp4"), (2, "b.mp4")) for frame in range(3)
    ]
    assert [line["id"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"category", "category_id", "bbox", "score"} == lines[0]["detections"][0].keys()
    assert len(frames_of(tmp_path / "out/a.mp4")) == 3


@pytest.mark.slow
def test_a_file_that_was_cut_off_is_one_error_and_what_was_found_is_kept(world, tmp_path):
    cut(make_video(tmp_path / "a.mp4", noise(60), options={"movflags": "faststart"}), 0.5)
    make_video(tmp_path / "b.mp4", noise(3))
    (tmp_path / "text.mp4").write_text("no video")
    run = predict(world, tmp_path / "out", tmp_path)
    damaged = f"skipped {tmp_path / 'a.mp4'}: 1 of its frames are damaged"  # which is met with one core
    first, second = (line for line in run.stderr.splitlines() if line != damaged)
    assert run.returncode == 1
    assert first == f"skipped {tmp_path / 'text.mp4'}: invalid data found when processing input"
    assert second.startswith(f"error: {tmp_path / 'a.mp4'} broke off after ") and "cut off" in second
    images = json.loads((tmp_path / "out/images.json").read_text())["images"]
    of = [image["file_name"] for image in images]
    assert 10 < of.count("a.mp4") < 60 and of.count("b.mp4") == 3
    assert len(frames_of(tmp_path / "out/a.mp4")) == of.count("a.mp4")
    assert json.loads((tmp_path / "out/predictions.json").read_text())


@pytest.mark.slow
def test_a_stream_that_breaks_off_is_one_error_and_what_was_found_is_kept(world, tmp_path):
    with rtsp_server(noise(20)) as port:
        run = predict(world, tmp_path / "out", f"rtsp://admin:secret@127.0.0.1:{port}/live?key=secret")
    [error] = run.stderr.splitlines()
    assert run.returncode == 1
    assert error.startswith(f"error: rtsp://127.0.0.1:{port}/live broke off after ") and "is kept" in error
    images = json.loads((tmp_path / "out/images.json").read_text())
    assert len(images["images"]) > 10 and images["images"][0]["file_name"] == f"rtsp://127.0.0.1:{port}/live"
    [drawn] = (tmp_path / "out").glob("*.mp4")
    assert len(frames_of(drawn)) == len(images["images"])
    written = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert "secret" not in run.stdout + run.stderr + "".join(path.name for path in (tmp_path / "out").iterdir())
    assert not any(b"secret" in content for content in written)


@pytest.mark.slow
def test_a_camera_is_read_until_it_has_given_enough(world, tmp_path, monkeypatch):
    monkeypatch.setitem(sources.CAMERAS, "linux", ("lavfi", "testsrc=size=64x48:rate=15,format=yuv420p"))
    run = predict(world, tmp_path / "out", "0", "--frames", 5)
    assert (run.returncode, run.stderr) == (0, "")
    [drawn] = (tmp_path / "out").glob("*.mp4")
    assert drawn.name == "camera_0.mp4" and len(frames_of(drawn)) == 5 and rate_of(drawn) == 15


@pytest.mark.slow
def test_what_was_found_before_an_interrupt_is_kept(world, tmp_path, monkeypatch):
    make_video(tmp_path / "a.mp4", pictures_of(world) * 3)
    add = CocoResults.add

    def interrupted(self, image, detections):
        if image["frame_id"] == 6:
            raise KeyboardInterrupt
        add(self, image, detections)

    monkeypatch.setattr(CocoResults, "add", interrupted)
    run = predict(world, tmp_path / "out", tmp_path / "a.mp4")
    assert (run.returncode, run.stderr) == (130, "Interrupted.\n")
    assert [image["frame_id"] for image in json.loads((tmp_path / "out/images.json").read_text())["images"]] == [
        *range(6)
    ]
    assert {found["image_id"] for found in json.loads((tmp_path / "out/predictions.json").read_text())} == {
        *range(1, 7)
    }
    assert len(frames_of(tmp_path / "out/a.mp4")) == 7
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"images.json", "predictions.json", "a.mp4"}


@pytest.mark.slow
def test_two_videos_that_would_be_drawn_in_one_place_are_refused(world, tmp_path):
    for name in ("a.avi", "a.avi.mp4"):
        (tmp_path / name).touch()
    run = predict(world, tmp_path / "out", tmp_path)
    assert run.returncode == 1 and "would both be drawn as" in run.stderr
    assert not (tmp_path / "out").exists()
