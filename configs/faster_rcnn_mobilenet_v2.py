"""Faster R-CNN + FPN on MobileNetV2."""

_base_ = "./_base_/faster_rcnn.py"

model = dict(backbone=dict(name="mobilenet_v2"))
