"""Faster R-CNN + FPN as the ReXNet paper trains it (section 5.2, Table 7), on any backbone.

    python tools/train.py configs/faster_rcnn.py --backbone rexnet_x1.0
    torchrun --nproc_per_node=8 tools/train.py configs/faster_rcnn.py --backbone rexnet_x1.0 --cfg-options schedule=2

Params in M and multiply-adds in B at 1280x800 with 1000 proposals, box AP on COCO val2017, as printed:

    EfficientNet-B0   21.0   123.0   38.0        ReXNet x0.9   20.1   123.0   38.0
    ResNet50          41.8   202.2   37.6        ReXNet x1.0   20.7   124.1   38.5
    FBNet-C           21.4   119.0   35.1        ReXNet x2.2   33.0   153.8   41.5

Cost: 90 000 iterations of 16 images, 1.4 million images, for 1x.
"""

_base_ = [
    "./_base_/models/faster_rcnn.py",
    "./_base_/data/coco_boxes.py",
    "./_base_/schedules/two_stage.py",
    "./_base_/runtime.py",
]

template = "faster_rcnn"

visualizer = dict(type="DetLocalVisualizer", name="visualizer")  # for MMDetection's own clients
