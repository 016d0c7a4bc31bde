"""Reduced decoding beside plain torchvision; the recorded interpolation; pictures that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from benchmark.config.complete import complete_model
from benchmark.config.load import load_config
from benchmark.config.names import CONFIGS
from benchmark.data.decode import UnreadableImageError
from benchmark.data.transforms import DecodeCenterCrop, DecodeRandomCrop, PackClassInputs, decode_reduced


@pytest.fixture
def photo(tmp_path):
    """A smooth 1200x900 JPEG."""
    y, x = np.mgrid[0:900, 0:1200] / 300
    pixels = np.stack([np.sin(3 * x), np.cos(2 * y), np.sin(x * y)], axis=-1) * 110 + 128
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)
    return str(path)


def test_evaluation_equals_plain_resize_and_crop(photo):
    found = DecodeCenterCrop(224, 256, "bicubic").transform({"img_path": photo})["img"]
    plain = v2.Compose([v2.Resize(256, InterpolationMode.BICUBIC), v2.CenterCrop(224)])(Image.open(photo))
    difference = np.abs(np.asarray(found, dtype=int) - np.asarray(plain, dtype=int))
    assert found.size == (224, 224) and difference.mean() < 1.5


def test_large_jpegs_are_decoded_reduced(photo):
    with Image.open(photo) as image:
        assert decode_reduced(image, 500, 300).size == (600, 450)
    with Image.open(photo) as image:
        assert decode_reduced(image, 700, 300).size == (1200, 900)


def test_random_crops_follow_torchvision(photo):
    """The same random numbers give the same crop as torchvision's own transform of the whole picture."""
    ours = DecodeRandomCrop(96, "bilinear", area=(0.2, 1.0), flip=0.0)
    theirs = v2.RandomResizedCrop(96, scale=(0.2, 1.0), interpolation=InterpolationMode.BILINEAR)
    for seed in range(5):
        torch.manual_seed(seed)
        found = np.asarray(ours.transform({"img_path": photo})["img"], dtype=int)
        torch.manual_seed(seed)
        wanted = np.asarray(theirs(Image.open(photo)), dtype=int)
        assert found.shape == (96, 96, 3) and np.abs(found - wanted).mean() < 4


@pytest.mark.parametrize("mode", ("L", "P", "RGBA", "CMYK"))
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode in ("L", "CMYK") else "a.png")
    Image.new("RGB", (40, 30), (200, 30, 30)).convert(mode).save(path)
    results = DecodeCenterCrop(24, 24, "bilinear").transform({"img_path": str(path), "sample_idx": 7, "gt_label": 1})
    packed = PackClassInputs().transform(results)
    assert packed["inputs"].shape == (3, 24, 24) and packed["inputs"].dtype == torch.uint8
    assert (packed["data_samples"].gt_label, packed["data_samples"].img_id) == (1, 7)


def test_a_truncated_picture_is_an_error(photo):
    Path(photo).write_bytes(Path(photo).read_bytes()[:20_000])
    for transform in (DecodeCenterCrop(24, 24, "bilinear"), DecodeRandomCrop(24, "bilinear")):
        with pytest.raises(UnreadableImageError, match=r"photo\.jpg"):
            transform.transform({"img_path": photo})


def test_mean_std_and_interpolation_come_from_the_weights_record():
    found = {}
    for name in ("efficientnet_lite0", "resnet50"):
        cfg = load_config(CONFIGS / "finetune.py", dataset="food101", backbone=name)
        complete_model(cfg)
        found[name] = (
            cfg.model.data_preprocessor["mean"],
            {cfg[loader].dataset.pipeline[0].interpolation for loader in ("train_dataloader", "val_dataloader")},
        )
    assert found["efficientnet_lite0"] == ([127.5] * 3, {"bicubic"})
    assert found["resnet50"][0] == pytest.approx([123.675, 116.28, 103.53])
