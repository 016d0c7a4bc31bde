"""SSDLite as the ReXNet paper trains it (section 5.2, Table 6): what the leaves share.

    python tools/train.py configs/ssdlite_rexnet_x1.0.py
    torchrun --nproc_per_node=8 tools/train.py configs/ssdlite_rexnet_x1.0.py

Params in M and multiply-adds in B at 320x320, AP on COCO test-dev2017, as printed in Table 6:

    MobileNetV1        5.1   1.31   22.2        ReXNet x0.9       5.0   0.88   24.7
    MobileNetV2        4.3   0.79   22.1        ReXNet x1.0       5.7   1.01   25.3
    MobileNetV3-Large  5.0   0.62   22.0        EfficientNet-B1   8.7   1.35   25.8
    MnasNet-A1         4.9   0.84   23.0        EfficientNet-B2  10.0   1.55   26.6
    EfficientNet-B0    6.2   0.97   23.5        ReXNet x1.3       8.4   1.60   27.3

Cost: 200 000 iterations of 256 images, 51 million images.
"""

_base_ = ["./models/ssdlite.py", "./datasets/coco_ssd.py", "./schedules/ssdlite_200k.py", "./runtime.py"]

visualizer = dict(type="DetLocalVisualizer", name="visualizer")  # for MMDetection's own clients
