"""The reader of pictures: Pillow's pixels to the bit, and its judgement of damaged files."""

from io import BytesIO

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from benchmark.data.decode import UnreadableImageError, read_encoded, read_image


def pillow(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (13, 21, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((210, 130), Image.Resampling.BICUBIC)


def save(image: Image.Image, path, **options):
    image.save(path, "JPEG", **options)
    return path


def test_real_pictures_are_pillows_and_opencvs_to_the_bit(coco_mini):
    paths = sorted(coco_mini.glob("*2017/*.jpg"))
    assert len(paths) > 100
    for path in paths:
        expected = pillow(path)
        assert read_encoded(str(path)).plain_jpeg
        assert np.array_equal(read_image(str(path), "RGB"), expected), path
        opencv = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert np.array_equal(read_image(str(path)), opencv), path


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"keep_rgb": True}, {"quality": 10}],
    ids=lambda options: " ".join(map(str, options)) or "plain",
)
def test_every_kind_of_jpeg_is_pillows_to_the_bit(mode, options, photo, tmp_path):
    path = save(photo.convert(mode), tmp_path / "a.jpg", **options)
    encoded = read_encoded(str(path))
    assert encoded.shape == (130, 210)
    assert encoded.plain_jpeg == (mode != "CMYK")
    assert np.array_equal(encoded.decode("RGB"), pillow(path))
    assert np.array_equal(encoded.decode(), pillow(path)[..., ::-1])


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 1.0])
def test_a_file_that_ends_too_early_is_an_error(kept, photo, tmp_path):
    content = save(photo, tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: min(int(kept * len(content)), len(content) - 1)])
    with pytest.raises(UnreadableImageError, match=r"Cannot decode .*a\.jpg: "):
        read_image(str(tmp_path / "a.jpg"))


def test_what_libjpeg_warns_of_is_judged_by_pillow(photo, tmp_path):
    """Bytes between two segments that belong to neither; such pictures are found in real data sets."""
    path = save(photo, tmp_path / "a.jpg")
    expected = pillow(path)
    content = path.read_bytes()
    scan = content.index(b"\xff\xda")
    path.write_bytes(content[:scan] + b"\x00\x00" + content[scan:])
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(path.read_bytes())
    assert np.array_equal(read_image(str(path), "RGB"), expected)


def test_pillows_limit_of_size_holds_for_jpegs(photo, tmp_path, monkeypatch):
    path = save(photo, tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match="decompression bomb"):
        read_encoded(str(path))


def test_a_header_is_read_without_its_pixels(photo, tmp_path):
    buffer = BytesIO()
    photo.save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:-100])
    encoded = read_encoded(str(tmp_path / "a.jpg"))
    assert encoded.shape == (130, 210)
    with pytest.raises(UnreadableImageError):
        encoded.decode()
