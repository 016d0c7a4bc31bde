"""Laid over Faster R-CNN by --demo: small pictures, a narrow pyramid with narrow heads, and fewer RoIs, for a CPU.

200 iterations x 8 images / 400 pictures = 4 epochs.
"""

_base_ = "./detection.py"

image_scale = (256, 256)  # px, (longest, shortest) side
max_iters = 200
warmup_iters = 25
learning_rate = 0.02
batch_size = 8  # images per process
channels = 96  # of the pyramid and the heads on it
box_features = 256  # of the box head's two layers
rois = 64  # sampled for the box and mask heads, an image
proposals = 200
log_interval = 10  # iterations
checkpoint_interval = 100  # iterations

demo = dict(scale=image_scale)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
train_dataloader = dict(batch_size=batch_size)
val_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(lr=learning_rate))
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(logger=dict(interval=log_interval), checkpoint=dict(interval=checkpoint_interval))
log_processor = dict(window_size=log_interval)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup_iters),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=warmup_iters, end=max_iters, eta_min=0.0),
]
model = dict(
    neck=dict(out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=box_features),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=rois)), rpn_proposal=dict(nms_pre=500, max_per_img=proposals)),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=proposals)),
)
