"""Faster R-CNN + FPN on ResNet50, a row of Table 7."""

_base_ = "./faster_rcnn.py"

model = dict(backbone=dict(name="resnet50"))
