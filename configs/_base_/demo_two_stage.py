"""Laid over Faster and Mask R-CNN by --demo: fewer RoIs and small pictures, for a CPU."""

_base_ = "./demo.py"

rois = 64  # sampled for the box and mask heads, an image

demo = dict(scale=(320, 320))  # px, (longest, shortest) side
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(num=rois)), rpn_proposal=dict(nms_pre=500, max_per_img=200)))
