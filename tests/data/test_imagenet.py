"""ImageNet on disk: by synset and flat, the classes' places among the 1000, the reassessed labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from finegrained_layouts import picture
from scipy.io import savemat

from backbones.errors import UserError
from benchmark.data.finegrained import FineGrainedDataset, read_split
from benchmark.data.imagenet import DEVKIT, SYNSETS, real_labels

AGARIC, TENCH, TOILET_PAPER = "n12998815", "n01440764", "n15075141"


def by_synset(root: Path, split: str = "val") -> Path:
    for number, synset in enumerate((TOILET_PAPER, TENCH, AGARIC)):
        picture(root / split / synset / f"ILSVRC2012_val_{number + 1:08d}.JPEG", number)
    return root


def flat(root: Path) -> Path:
    """Three pictures of the official archive, and a kit that numbers the synsets from the last to the first."""
    for number in (2, 3, 5):
        picture(root / f"val/ILSVRC2012_val_{number:08d}.JPEG", number)
    kit = root / DEVKIT
    kit.mkdir(parents=True)
    rows = [(number, wnid, "words", "gloss", 0) for number, wnid in enumerate(reversed(SYNSETS), 1)]
    rows.append((1001, "n00001740", "entity", "gloss", 9))  # a synset above them
    texts = [(name, object) for name in ("WNID", "words", "gloss")]
    fields = [("ILSVRC2012_ID", float), *texts, ("num_children", float)]
    savemat(kit / "meta.mat", {"synsets": np.array(rows, dtype=fields)})
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n1000\n9\n2\n1\n")
    return root


def labels(root: Path, split: str = "val") -> dict[str, int]:
    return {Path(path).name: label for path, label in read_split("imagenet", root, split, allow_partial=True).samples}


def test_the_classes_are_the_challenges_in_alphabetical_order():
    assert len(SYNSETS) == 1000 and tuple(sorted(SYNSETS)) == SYNSETS
    assert (SYNSETS[0], SYNSETS[992], SYNSETS[999]) == (TENCH, AGARIC, TOILET_PAPER)


@pytest.mark.parametrize("split", ["val", "train"])
def test_a_class_is_its_synsets_place_among_all_and_not_its_folders(tmp_path, split):
    assert list(labels(by_synset(tmp_path, split), split).values()) == [0, 992, 999]


def test_flat_files_have_the_classes_of_the_kits_list(tmp_path):
    assert labels(flat(tmp_path)) == {
        "ILSVRC2012_val_00000002.JPEG": 0,  # line 2 says 1000, the kit's last
        "ILSVRC2012_val_00000003.JPEG": 991,
        "ILSVRC2012_val_00000005.JPEG": 999,
    }


def test_a_part_must_be_allowed_and_is_said(tmp_path):
    root = by_synset(tmp_path)
    with pytest.raises(UserError, match=r"ImageNet, split val: expected 50000 images, found 3\..*--allow-partial"):
        read_split("imagenet", root, "val")
    assert read_split("imagenet", root, "val", allow_partial=True).partial


def unknown_folder(root: Path) -> None:
    picture(by_synset(root) / "val/tench/1.JPEG", 0)


def both(root: Path) -> None:
    flat(by_synset(root))


def no_kit(root: Path) -> None:
    (flat(root) / DEVKIT / "meta.mat").unlink()


def short_list(root: Path) -> None:
    (flat(root) / DEVKIT / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n")


def another_list(root: Path) -> None:
    (flat(root) / DEVKIT / "ILSVRC2012_validation_ground_truth.txt").write_text("1 1001")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, r"val is missing\..*ILSVRC2012_img_val\.tar"),
        (lambda root: (root / "val").mkdir(), "lists no images"),
        (unknown_folder, r"'tench' is none of ImageNet's 1000 synsets \(1 of 4"),
        (both, r"holds class folders and ILSVRC2012_val_00000002\.JPEG beside them"),
        (no_kit, r"meta\.mat.*cannot be read.*ILSVRC2012_devkit_t12\.tar\.gz"),
        (short_list, r"00000003\.JPEG: .*has no line 3"),
        (another_list, r"cannot be read \(KeyError: 1001\)"),
    ],
    ids=["absent", "empty", "unknown folder", "both layouts", "no kit", "short list", "another list"],
)
def test_what_is_no_split_is_refused(make, words, tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match=words) as refused:
        read_split("imagenet", tmp_path, "val", allow_partial=True)
    assert "\n" not in str(refused.value)


def test_the_folder_of_a_split_suggests_the_one_above(tmp_path):
    by_synset(tmp_path)
    with pytest.raises(UserError, match=rf"Did you mean --data-root {tmp_path}\?"):
        read_split("imagenet", tmp_path / "val", "val")


# Reassessed labels.


def test_reassessed_labels_belong_to_a_pictures_number(tmp_path):
    root, real = by_synset(tmp_path / "data"), tmp_path / "real.json"
    real.write_text(json.dumps([[999], [], [4, 992]]))
    dataset = FineGrainedDataset("imagenet", "val", allow_partial=True, real=str(real), data_root=str(root))
    found = {Path(dataset[i]["img_path"]).name[-6:-5]: dataset[i]["real_labels"] for i in range(3)}
    assert found == {"1": (999,), "2": (), "3": (4, 992)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "found no JSON"),
        ("{}", r"lists of classes in 0\.\.999"),
        ("[]", r"lists of classes in 0\.\.999"),
        ("[[1000]]", r"lists of classes in 0\.\.999"),
        ("[[true]]", r"lists of classes in 0\.\.999"),
        ("[[1]]", r"labels 1 pictures.*ILSVRC2012_val_00000002\.JPEG is none of them"),
    ],
)
def test_another_file_is_no_file_of_reassessed_labels(content, words, tmp_path):
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(UserError, match=words):
        real_labels(tmp_path / "real.json", ["val/ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000002.JPEG"])


def test_pictures_of_other_names_have_no_reassessed_labels(tmp_path):
    (tmp_path / "real.json").write_text("[[1]]")
    with pytest.raises(UserError, match=r"n01440764_tench\.JPEG is none of them"):
        real_labels(tmp_path / "real.json", ["n01440764_tench.JPEG"])
    with pytest.raises(UserError, match="cannot be read"):
        real_labels(tmp_path / "absent.json", [])
