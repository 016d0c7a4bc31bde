"""Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019, appendix A: 20 000 steps at batch 256.

SGD with Nesterov momentum and a cosine without warm-up. The learning rate belongs to a global batch of 256; for another
one (processes x images per process) it is scaled linearly, which the log says. The best learning rate and weight decay
depend on the backbone and the data set: `tools/sweep.py` finds them.
"""

max_iters = 20_000
learning_rate = 1e-2  # in the middle of the sweep's
weight_decay = 1e-4
momentum = 0.9
base_batch_size = 256  # images
val_interval = 20_000  # iterations: the test set is seen once

train_cfg = dict(type="ResumableTrainLoop", max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(
        type="SGD", lr=learning_rate, momentum=momentum, nesterov=True, weight_decay=weight_decay, fused=True
    ),
)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, begin=0, end=max_iters, eta_min=0.0)]
auto_scale_lr = dict(enable=True, base_batch_size=base_batch_size)
# tools/sweep.py: learning rates log-spaced from the first to the last; weight decays likewise, and 0.
sweep = dict(learning_rate=(1e-4, 1e-1), weight_decay=(1e-6, 1e-3))
