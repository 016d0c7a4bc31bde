"""SSD's sample in one pass: the distribution and the pixels of MMDetection's transforms one after the other."""

import cv2
import numpy as np
import pytest
from mmdet.datasets.transforms import Expand, PhotoMetricDistortion
from PIL import Image
from scipy import stats
from ssd_views import BOXES, DRAWS, FILE, HEIGHT, WIDTH, stock_views

from benchmark.data.ssd_sample import SSDSample, cut_out
from benchmark.data.unreadable import UnreadableImageError
from benchmark.seeding import seed_all

pytestmark = pytest.mark.slow

MEAN = (124.0, 116.0, 104.0)  # RGB
ALIKE, UNLIKE = 1e-3, 1e-6  # p values: the seeds are fixed, so each test has one answer


def make(**changes) -> SSDSample:
    return SSDSample(size=32, mean=MEAN, **changes)


def views(sample: SSDSample, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    np.random.seed(1)
    drawn = [sample.choose(BOXES, HEIGHT, WIDTH) for _ in range(draws)]
    return np.stack([patch for patch, _, _ in drawn]), np.stack([kept for _, _, kept in drawn])


def least_p(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> float:
    """The lowest p value of: scale, aspect ratio, position, boxes kept, least overlap, share with canvas and whole."""
    p, categories = [], []
    for patches, kept in (ours, theirs):
        x1, y1, x2, y2 = patches.astype(float).T
        width, height = x2 - x1, y2 - y1
        corners = np.minimum(patches[:, None, 2:], BOXES[:, 2:]) - np.maximum(patches[:, None, :2], BOXES[:, :2])
        shared = corners.clip(0).prod(axis=2)
        areas = (BOXES[:, 2:] - BOXES[:, :2]).prod(axis=1)
        overlap = (shared / (areas + (width * height)[:, None] - shared)).min(axis=1)
        p.append((width, height, width * height, height / width, x1, y1, x2, y2, overlap))
        canvas = (x1 < 0) | (y1 < 0) | (x2 > WIDTH) | (y2 > HEIGHT)
        whole = (x1 == 0) & (y1 == 0) & (x2 == WIDTH) & (y2 == HEIGHT)
        categories.append(kept @ [1, 2] + 4 * canvas + 8 * whole)
    table = np.stack([np.bincount(each, minlength=16) for each in categories])
    kinds = stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue
    return min(kinds, *(stats.ks_2samp(a, b).pvalue for a, b in zip(*p, strict=True)))


@pytest.fixture(scope="module")
def theirs() -> tuple[np.ndarray, np.ndarray]:
    recorded = np.load(FILE)
    return recorded["patches"], recorded["kept"]


def test_the_record_is_what_mmdetection_draws(theirs):
    drawn = stock_views(60)
    assert all(np.array_equal(a, b[:60]) for a, b in zip(drawn, theirs, strict=True))


def test_crops_are_distributed_as_mmdetections(theirs):
    assert least_p(views(make()), theirs) > ALIKE


@pytest.mark.parametrize(
    "changes",
    [
        {"min_ious": (0.1, 0.3, 0.5, 0.7)},
        {"min_ious": (0.1, 0.1, 0.3, 0.5, 0.7, 0.9)},
        {"min_crop_size": 0.4},
    ],
    ids=str,
)
def test_other_weights_are_seen(changes, theirs):
    assert least_p(views(make(**changes)), theirs) < UNLIKE


def test_canvases_are_distributed_as_mmdetections():
    ours, theirs = [], []
    sample, expand = make(), Expand(mean=(255,) * 3, ratio_range=(1, 4), prob=0.5)
    np.random.seed(1)
    ours = np.array([sample.draw_expansion(HEIGHT, WIDTH) for _ in range(DRAWS)])
    np.random.seed(0)
    for _ in range(DRAWS):
        canvas = expand({"img": np.zeros((HEIGHT, WIDTH, 3), np.uint8)})["img"]
        top, left = np.argwhere(canvas[..., 0] == 0)[0]
        theirs.append((*canvas.shape[:2], left, top))
    theirs = np.array(theirs)
    expanded = [(each[:, 0] > HEIGHT) | (each[:, 1] > WIDTH) for each in (ours, theirs)]
    assert stats.chi2_contingency([[e.sum(), (~e).sum()] for e in expanded]).pvalue > ALIKE
    for place in range(4):
        assert stats.ks_2samp(ours[:, place], theirs[:, place]).pvalue > ALIKE


def test_colours_are_mmdetections_for_the_same_random_numbers():
    sample, stock = make(), PhotoMetricDistortion()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image[:4] //= 20  # so dark that the brightness makes negative values
    results = []
    for seed in range(300):
        np.random.seed(seed)
        expected = stock({"img": image.copy()})["img"]
        np.random.seed(seed)
        results.append(sample.distort(image))
        np.testing.assert_allclose(results[-1], expected, atol=0.01)
    assert len({result.tobytes() for result in results}) > 200
    np.random.seed(0)
    assert np.array_equal(sample.distort(image), results[0])  # nothing is left over in the memory that is used again


@pytest.mark.parametrize("patch", [(3, 4, 20, 30), (-7, -9, 20, 30), (-5, 2, 90, 70), (70, 50, 80, 90), (0, 0, 64, 48)])
def test_a_patch_is_cut_from_picture_and_canvas(patch):
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    canvas = np.full((300, 300, 3), (1, 2, 3), dtype=np.uint8)
    canvas[100 : 100 + HEIGHT, 100 : 100 + WIDTH] = image
    x1, y1, x2, y2 = patch
    expected = canvas[100 + y1 : 100 + y2, 100 + x1 : 100 + x2]
    assert np.array_equal(cut_out(image, np.array(patch), (1, 2, 3)), expected)


@pytest.fixture
def annotated(tmp_path) -> dict:
    """A picture whose green and red tell where its pixels lie, with boxes around its left and its right half."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    Image.fromarray(np.stack([3 * x, 3 * y, 0 * x + 9], axis=2).astype(np.uint8)).save(tmp_path / "a.png")
    halves = ([0.0, 0.0, 32.0, 48.0], [32.0, 0.0, 64.0, 48.0])
    objects = [{"bbox": box, "bbox_label": i + 5, "ignore_flag": i} for i, box in enumerate(halves)]
    return {"img_path": str(tmp_path / "a.png"), "height": HEIGHT, "width": WIDTH, "instances": objects}


def test_without_augmentation_it_resizes_and_flips(annotated):
    stored = cv2.imread(annotated["img_path"])
    expected = cv2.resize(stored, (32, 32))
    plain = make(augment=False, flip_prob=0.0)(dict(annotated))
    assert np.array_equal(plain["img"], expected)
    assert plain["gt_bboxes"].tensor.tolist() == [[0, 0, 16, 32], [16, 0, 32, 32]]
    flipped = make(augment=False, flip_prob=1.0)(dict(annotated))
    assert np.array_equal(flipped["img"], expected[:, ::-1])
    assert flipped["gt_bboxes"].tensor.tolist() == [[16, 0, 32, 32], [0, 0, 16, 32]]
    assert flipped["gt_bboxes_labels"].tolist() == [5, 6] and flipped["gt_ignore_flags"].tolist() == [False, True]
    assert (flipped["ori_shape"], flipped["img_shape"], flipped["scale_factor"]) == ((48, 64), (32, 32), (0.5, 32 / 48))


def test_boxes_lie_where_their_pixels_are(annotated):
    """Over many draws: the colours under a kept box are those of its half of the picture, or the canvas's."""
    calm = {"brightness_delta": 0, "contrast_range": (1, 1), "saturation_range": (1, 1), "hue_delta": 0}
    sample = SSDSample(size=64, mean=(0, 0, 0), **calm)
    kept = 0
    for seed in range(200):
        np.random.seed(seed)
        found = sample(dict(annotated))
        for (x1, y1, x2, y2), label in zip(found["gt_bboxes"].tensor.tolist(), found["gt_bboxes_labels"], strict=True):
            inner = found["img"][int(y1) + 3 : int(y2) - 2, int(x1) + 3 : int(x2) - 2]
            blue_to_red = inner.max(axis=2)[..., None] >= 0
            values = np.sort(inner, axis=2)  # whichever order the channels are in
            assert blue_to_red.all() and (values.max(initial=9) > 8 or not inner.size)
            if inner.size and (x2 - x1) > 12:
                kept += 1
                column = inner[inner.shape[0] // 2]  # x changes along it, one channel is 3 x of the picture
                varying = np.ptp(column, axis=0).argmax()
                along = column[:, varying] / 3
                low, high = (0, 32) if label == 5 else (32, 64)
                assert along.min() >= low - 2 and along.max() <= high + 2
                assert np.all(np.diff(along) <= 0.01) if found["flip"] else np.all(np.diff(along) >= -0.01)
    assert kept > 100


def test_the_same_seed_gives_the_same_sample(annotated):
    sample = make()
    for seed in range(20):
        seed_all(seed)
        first = sample(dict(annotated))
        sample(dict(annotated))
        seed_all(seed)
        second = sample(dict(annotated))
        assert np.array_equal(first["img"], second["img"])
        assert np.array_equal(first["gt_bboxes"].tensor, second["gt_bboxes"].tensor)


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(annotated):
    with pytest.raises(UnreadableImageError, match="64x48, its annotation says 65x48"):
        make()({**annotated, "width": 65})


def test_a_picture_without_objects_is_still_cut(annotated):
    for seed in range(30):
        np.random.seed(seed)
        found = make()({**annotated, "instances": []})
        assert found["img"].shape == (32, 32, 3) and len(found["gt_bboxes"]) == 0
