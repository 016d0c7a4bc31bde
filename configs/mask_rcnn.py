"""Mask R-CNN + FPN as the ReXNet paper trains it (section 5.4, Table 9), on any backbone.

    python tools/train.py configs/mask_rcnn.py --backbone rexnet_x1.0
    torchrun --nproc_per_node=8 tools/train.py configs/mask_rcnn.py --backbone rexnet_x1.0 --cfg-options schedule=2

Params in M, mask AP and box AP on COCO val2017, as printed:

    EfficientNet-B0   23.7   34.8   38.4        ReXNet x0.9   22.8   35.2   38.7
    ResNet50          44.2   34.6   38.5        ReXNet x1.0   23.3   35.4   38.9
                                                ReXNet x2.2   35.6   37.8   42.0

Cost: 90 000 iterations of 16 images, 1.4 million images, for 1x.
"""

_base_ = [
    "./_base_/models/mask_rcnn.py",
    "./_base_/data/coco_masks.py",
    "./_base_/schedules/two_stage.py",
    "./_base_/runtime.py",
]

template = "mask_rcnn"

visualizer = dict(type="DetLocalVisualizer", name="visualizer")  # for MMDetection's own clients
