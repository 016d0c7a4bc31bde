"""What a detector is pointed at: which files, cameras and streams an argument names."""

import argparse
from pathlib import Path

import pytest

from backbones.errors import UserError
from benchmark.inference.sources import find_sources, place


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("a.jpg", "b.PNG", "notes.txt", "clip.MP4", "below/c.jpg", "below/d.mkv", "below/.hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(sources) -> list[str]:
    return [sources.place_of(path).as_posix() for path in (*sources.pictures, *(v.path for v in sources.videos))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["."], ["a.jpg", "b.PNG", "below/c.jpg", "below/d.mkv", "clip.MP4"]),
        (["below"], ["c.jpg", "d.mkv"]),
        (["*.jpg"], ["a.jpg"]),
        (["**/*.jpg"], ["a.jpg", "below/c.jpg"]),
        (["*"], ["a.jpg", "b.PNG", "clip.MP4"]),
        (["notes.txt"], ["notes.txt"]),  # whoever names a file means it
        (["a.jpg", "below/c.jpg", "a.jpg", "./a.jpg"], ["a.jpg", "below/c.jpg"]),
        (["below", "below/d.mkv"], ["c.jpg", "d.mkv"]),
        (["below/../a.jpg", "below/c.jpg"], ["a.jpg", "below/c.jpg"]),
    ],
)
def test_files_are_found_once_and_called_after_their_places(folder, given, expected):
    assert sorted(names(find_sources([place(text) for text in given]))) == expected


def test_a_file_whose_name_is_a_pattern_or_a_number_is_that_file(folder):
    (folder / "[a].jpg").touch()
    (folder / "7").touch()
    assert names(find_sources([Path("[a].jpg"), Path("7")])) == ["[a].jpg", "7"]


def test_a_number_is_a_camera():
    [video] = find_sources([Path("12")]).videos
    assert (video.name, video.path) == ("camera 12", None) and "12" in video.address and video.device


def test_an_address_keeps_its_slashes_and_its_password_to_itself():
    address = "rtsp://admin:secret@10.0.0.5:554/live?token=secret"
    [video] = find_sources([place(address)]).videos
    assert (video.address, video.name) == (address, "rtsp://10.0.0.5:554/live")
    with pytest.raises(argparse.ArgumentTypeError, match="control characters"):
        place("rtsp://a/\nb")


def test_the_results_of_an_earlier_prediction_are_left_out(folder):
    given = [Path("."), Path("**/*.jpg")]
    assert sorted(names(find_sources(given, leave_out=Path("below")))) == ["a.jpg", "b.PNG", "clip.MP4"]


@pytest.mark.parametrize(
    ("given", "words"),
    [("absent.jpg", "No such picture"), ("*.tif", r"match \*.tif"), ("rtsp://[x/", r"cannot be read")],
)
def test_what_names_nothing_is_refused(folder, given, words):
    with pytest.raises(UserError, match=words):
        find_sources([place(given)])


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"No pictures or videos in .*\.jpg.*\.mp4"):
        find_sources([tmp_path])
