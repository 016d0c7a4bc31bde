"""Faster R-CNN + FPN on EfficientNet-B0, a row of Table 7."""

_base_ = "./faster_rcnn.py"

model = dict(backbone=dict(name="efficientnet_b0"))
