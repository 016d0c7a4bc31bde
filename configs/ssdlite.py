"""SSDLite at 320x320 as the ReXNet paper trains it (section 5.2, Table 6), on any backbone.

    python tools/train.py configs/ssdlite.py --backbone rexnet_x1.0
    torchrun --nproc_per_node=8 tools/train.py configs/ssdlite.py --backbone timm:mobilenetv4_conv_small
    python tools/train.py configs/ssdlite.py --backbone rexnet_x1.0 --cfg-options input_size=416

Params in M and multiply-adds in B at 320x320, AP on COCO test-dev2017, as printed in Table 6:

    MobileNetV1        5.1   1.31   22.2        ReXNet x0.9       5.0   0.88   24.7
    MobileNetV2        4.3   0.79   22.1        ReXNet x1.0       5.7   1.01   25.3
    MobileNetV3-Large  5.0   0.62   22.0        EfficientNet-B1   8.7   1.35   25.8
    MnasNet-A1         4.9   0.84   23.0        EfficientNet-B2  10.0   1.55   26.6
    EfficientNet-B0    6.2   0.97   23.5        ReXNet x1.3       8.4   1.60   27.3

Cost: 200 000 iterations of 256 images, 51 million images.
"""

_base_ = [
    "./_base_/models/ssdlite.py",
    "./_base_/data/coco_ssd.py",
    "./_base_/schedules/ssdlite_200k.py",
    "./_base_/runtime.py",
]

template = "ssdlite"
map_sides = [-(-_base_.input_size // 2**level) for level in range(4, 10)]  # 20, 10, 5, 3, 2, 1 at 320
smallest_anchor = 9 / 64 * _base_.input_size  # px: 45 at 320

model = dict(
    bbox_head=dict(
        anchor_generator=dict(
            strides=[round(_base_.input_size / side) for side in map_sides],  # px
            min_sizes=[smallest_anchor * times for times in range(1, 7)],  # px
            max_sizes=[smallest_anchor * times for times in range(2, 8)],  # px
        )
    )
)
visualizer = dict(type="DetLocalVisualizer", name="visualizer")  # for MMDetection's own clients
