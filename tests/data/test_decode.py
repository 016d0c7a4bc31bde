"""The reader of pictures: Pillow's pixels to the bit, and its judgement of damaged files."""

from io import BytesIO

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from benchmark.data.decode import UnreadableImageError, read_encoded, read_image
from benchmark.data.transforms import LoadImage, read_annotated


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


# Orientation tags.


def tagged(photo: Image.Image, tag: int, path, **options):
    exif = Image.Exif()
    exif[0x0112] = tag
    photo.save(path, exif=exif, **options)
    return str(path)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "grey.jpg", "cmyk.jpg", "a.png", "a.tif"])
def test_a_tagged_picture_is_turned_as_mmdetections_own_reader_does(name, tag, photo, tmp_path):
    from mmcv.transforms import LoadImageFromFile

    mode = {"grey": "L", "cmyk": "CMYK"}.get(name.partition(".")[0], "RGB")
    path = tagged(photo.convert(mode), tag, tmp_path / name)
    found = read_image(path)
    assert found.shape == ((130, 210, 3) if tag < 5 else (210, 130, 3)) and found.flags.c_contiguous
    if mode != "CMYK":  # of which OpenCV makes other colours
        assert np.array_equal(found, LoadImageFromFile()({"img_path": path})["img"])
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(read_image(path, "RGB"), upright)


@pytest.mark.parametrize("tag", range(1, 9))
def test_the_annotated_size_says_whether_a_picture_is_turned(tag, photo, tmp_path):
    path = tagged(photo, tag, tmp_path / "a.png")
    stored, upright = pillow(path)[..., ::-1], read_image(path)
    as_annotated = {shape: read_image(path, annotated=shape) for shape in ((130, 210), (210, 130), (5, 5))}
    assert np.array_equal(as_annotated[130, 210], stored if tag >= 5 else upright)
    assert np.array_equal(as_annotated[210, 130], upright) and np.array_equal(as_annotated[5, 5], upright)


def test_a_square_picture_is_turned(photo, tmp_path):
    path = tagged(photo.resize((50, 50)), 6, tmp_path / "a.png")
    assert np.array_equal(read_image(path, annotated=(50, 50)), np.rot90(pillow(path)[..., ::-1], -1))


def test_training_and_evaluation_load_it_so(photo, tmp_path):
    path = tagged(photo, 6, tmp_path / "a.jpg")
    for height, width in ((210, 130), (130, 210)):
        sample = {"img_path": path, "height": height, "width": width}
        loaded = LoadImage()(dict(sample))
        assert loaded["img"].shape == (height, width, 3) and loaded["ori_shape"] == (height, width)
        assert read_annotated(sample).shape == (height, width)
    assert LoadImage()({"img_path": path})["img"].shape == (210, 130, 3)
    with pytest.raises(UnreadableImageError, match="130x210, its annotation says 130x209"):
        LoadImage()({"img_path": path, "height": 209, "width": 130})


def test_a_tag_behind_long_segments_is_found(photo, tmp_path):
    path = tagged(photo, 6, tmp_path / "a.jpg")
    begin, rest = (tmp_path / "a.jpg").read_bytes()[:2], (tmp_path / "a.jpg").read_bytes()[2:]
    long = b"\xff\xe2" + (60_002).to_bytes(2, "big") + b"\xff\xda" * 30_000  # looks like the end of the header
    (tmp_path / "a.jpg").write_bytes(begin + 3 * long + rest)
    assert read_image(path).shape == (210, 130, 3)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_tags_are_no_part_of_a_picture(exif, photo, tmp_path):
    path = save(photo, tmp_path / "a.jpg", exif=exif)
    assert np.array_equal(read_image(str(path), "RGB"), pillow(path))


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_a_tag_of_no_meaning_is_ignored(tag, photo, tmp_path):
    path = tagged(photo, tag, tmp_path / "a.jpg")
    assert np.array_equal(read_image(path, "RGB"), pillow(path))
