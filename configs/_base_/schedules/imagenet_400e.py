"""The ReXNet paper's training on ImageNet (section 5.1): SGD, batch 512 on four GPUs, 0.5 on a cosine, decay 1e-5.

What the paper does not print is from the command line in its authors' repository (README of github.com/clovaai/rexnet),
which is of timm's script: 400 epochs, and Nesterov momentum of 0.9, that script's own. The learning rate belongs to a
global batch of 512; for another one it is scaled linearly, which the log says.
"""

max_iters = 1_000_912  # 400 epochs x 1 281 167 images / 512
learning_rate = 0.5
weight_decay = 1e-5
momentum = 0.9
base_batch_size = 512  # images
val_interval = 50_000  # iterations, 20 epochs

train_cfg = dict(type="ResumableTrainLoop", max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(
        type="SGD", lr=learning_rate, momentum=momentum, nesterov=True, weight_decay=weight_decay, fused=True
    ),
)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, begin=0, end=max_iters, eta_min=0.0)]
auto_scale_lr = dict(enable=True, base_batch_size=base_batch_size)
