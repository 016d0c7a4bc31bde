"""Faster R-CNN + FPN on FBNet-C, a row of Table 7."""

_base_ = "./faster_rcnn.py"

model = dict(backbone=dict(name="fbnet_c"))
