"""Faster R-CNN + FPN on ReXNet x1.0, a row of Table 7."""

_base_ = "./faster_rcnn.py"

model = dict(backbone=dict(name="rexnet_x1.0"))
