"""SSDLite on ReXNet x0.9, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="rexnet_x0.9"))
