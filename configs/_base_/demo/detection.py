"""Laid over any detection config by --demo: generated data and a schedule that two CPU cores finish in minutes.

The networks start from random weights, since the demo must run without a network, and so their BN is trained.
800 iterations x 4 images / 400 pictures = 8 epochs.
"""

max_iters = 800
warmup_iters = 50
learning_rate = 0.02
weight_decay = 4e-5
batch_size = 4  # images per process
workers = 2
log_interval = 20  # iterations
checkpoint_interval = 200  # iterations

demo = dict(module="benchmark.data.demo.pictures", data_root="data/demo", augment=False)  # it pays over many epochs
dataset_name = "demo"
train_images = 400
val_images = 100
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
train_dataloader = dict(batch_size=batch_size, num_workers=workers)
val_dataloader = dict(batch_size=batch_size, num_workers=workers)
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True,
        type="SGD",
        lr=learning_rate,
        momentum=0.9,
        weight_decay=weight_decay,
        nesterov=True,
        fused=True,
    )
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup_iters),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=warmup_iters, end=max_iters, eta_min=0.0),
]
auto_scale_lr = dict(enable=True, base_batch_size=batch_size)
default_hooks = dict(logger=dict(interval=log_interval), checkpoint=dict(interval=checkpoint_interval))
log_processor = dict(window_size=log_interval)
model = dict(backbone=dict(pretrained=None, frozen_stages=-1, norm_eval=False, norm_requires_grad=True))
