"""Faster R-CNN + FPN on MobileNetV3-Large."""

_base_ = "./_base_/faster_rcnn.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
