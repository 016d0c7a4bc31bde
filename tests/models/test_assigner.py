"""The batched assigner against MMDetection's, to the last anchor."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmengine.structures import InstanceData

from benchmark.models.assigner import BatchMaxIoUAssigner, Objects

pytestmark = pytest.mark.slow

# On a coarse grid boxes coincide, and overlaps tie, all the time.
coordinate = st.integers(0, 6)
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda c: [4.0 * min(c[0], c[2]), 4.0 * min(c[1], c[3]), 4.0 * max(c[0], c[2]), 4.0 * max(c[1], c[3])]
)
boxes = st.lists(box, max_size=5)
settings_of_assigner = st.fixed_dictionaries(
    {
        "pos_iou_thr": st.sampled_from([0.25, 0.5, 0.7]),
        "neg_iou_thr": st.sampled_from([0.25, 0.2, (0.1, 0.25)]),
        "min_pos_iou": st.sampled_from([0.0, 0.1, 0.3]),
        "gt_max_assign_all": st.booleans(),
        "match_low_quality": st.booleans(),
        "ignore_iof_thr": st.sampled_from([-1, 0.3]),
        "ignore_wrt_candidates": st.booleans(),
    }
)


def instances(found: list[list[float]], labels: list[int] | None = None) -> InstanceData:
    tensor = torch.tensor(found, dtype=torch.float32).reshape(-1, 4)
    return InstanceData(bboxes=tensor, labels=torch.tensor(labels or range(len(found)), dtype=torch.long))


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(
    options=settings_of_assigner,
    anchors=st.lists(box, min_size=1, max_size=12),
    images=st.lists(st.tuples(boxes, boxes), min_size=1, max_size=4),
)
def test_equal_to_mmdetections(options, anchors, images):
    anchors = torch.tensor(anchors)
    objects, ignored = ([instances(found) for found in each] for each in zip(*images, strict=True))
    ours = BatchMaxIoUAssigner(**options).assign(anchors, Objects.pad(objects), Objects.pad(ignored))
    stock = MaxIoUAssigner(**options)
    priors = InstanceData(priors=anchors)
    theirs = [stock.assign(priors, own, region).gt_inds for own, region in zip(objects, ignored, strict=True)]
    assert torch.equal(ours, torch.stack(theirs))


def test_equal_to_mmdetections_on_many_anchors_and_objects():
    """Overlaps of real numbers, in float32 as MMDetection rounds them."""
    generator = torch.Generator().manual_seed(0)

    def random_boxes(count: int) -> torch.Tensor:
        corners = torch.rand(count, 2, 2, generator=generator) * 320
        return torch.cat([corners.amin(1), corners.amax(1)], dim=1)

    anchors = random_boxes(2000)
    objects = [InstanceData(bboxes=random_boxes(n), labels=torch.arange(n)) for n in (1, 0, 17, 60)]
    options = {"pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.0, "gt_max_assign_all": False}
    ours = BatchMaxIoUAssigner(**options).assign(anchors, Objects.pad(objects))
    stock = MaxIoUAssigner(**options)
    theirs = [stock.assign(InstanceData(priors=anchors), own).gt_inds for own in objects]
    assert torch.equal(ours, torch.stack(theirs))
    assert (ours > 0).sum() > 100


def test_objects_are_padded_to_the_image_with_most():
    objects = Objects.pad(
        [instances([[0, 0, 1, 1], [2, 2, 3, 3]], [5, 6]), instances([]), instances([[4, 4, 5, 5]], [7])]
    )
    assert objects.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert objects.labels[objects.valid].tolist() == [5, 6, 7]
    assert objects.boxes[objects.valid].tolist() == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]


@pytest.mark.parametrize("images", [1, 3])
def test_no_objects_at_all_are_background(images):
    objects = Objects.pad([instances([]) for _ in range(images)])
    assigned = BatchMaxIoUAssigner(0.5, 0.5).assign(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), objects)
    assert assigned.tolist() == [[0]] * images
