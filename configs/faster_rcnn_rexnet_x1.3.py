"""Faster R-CNN + FPN on ReXNet x1.3."""

_base_ = "./_base_/faster_rcnn.py"

model = dict(backbone=dict(name="rexnet_x1.3"))
