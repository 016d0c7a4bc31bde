"""SSDLite on MobileNetV1, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="mobilenet_v1"))
