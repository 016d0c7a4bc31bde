"""SSDLite on MobileNetV3-Large, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
