"""Detectron's schedules: 1x is 90 000 iterations of 16 images, 12 epochs; ``schedule = 2`` doubles it.

90 000 iterations x 16 images / 118 287 images = 12.2 epochs. The learning rate belongs to a global batch of 16; for
another one (GPUs x images per GPU) it is scaled linearly, which the log says.
"""

schedule = 1  # 1x or 2x
max_iters = round(90_000 * schedule)
warmup_iters = round(500 * schedule)
learning_rate = 0.02
weight_decay = 1e-4
base_batch_size = 16  # images
val_interval = 15_000  # iterations

train_cfg = dict(type="ResumableTrainLoop", max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=learning_rate, momentum=0.9, weight_decay=weight_decay, fused=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=warmup_iters),
    # a tenth after 60 000 and again after 80 000 iterations of 1x
    dict(type="MultiStepLR", by_epoch=False, begin=0, milestones=[max_iters * 6 // 9, max_iters * 8 // 9], gamma=0.1),
]
auto_scale_lr = dict(enable=True, base_batch_size=base_batch_size)
sync_bn = False  # the backbone's BN is frozen
