"""The recipe that the paper's SSDLite code follows: SGD, cosine with warm-up, 200 000 iterations at batch 256.

200 000 iterations x 256 images / 118 287 images = 433 epochs. The learning rate belongs to a global batch of 256; for
another one (GPUs x images per GPU) it is scaled linearly, which the log says.
"""

max_iters = 200_000
warmup_iters = 2_000
learning_rate = 0.08  # 0.01 per GPU x 8 GPUs
weight_decay = 4e-5
base_batch_size = 256  # images
val_interval = 20_000  # iterations

train_cfg = dict(type="ResumableTrainLoop", max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=learning_rate, momentum=0.9, weight_decay=weight_decay, fused=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup_iters),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=warmup_iters, end=max_iters, eta_min=0.0),
]
auto_scale_lr = dict(enable=True, base_batch_size=base_batch_size)
sync_bn = True  # statistics over all GPUs: 32 images per GPU are few
