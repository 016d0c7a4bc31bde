"""Faster R-CNN + FPN on EfficientNet-B2."""

_base_ = "./_base_/faster_rcnn.py"

model = dict(backbone=dict(name="efficientnet_b2"))
