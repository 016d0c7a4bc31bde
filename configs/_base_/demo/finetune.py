"""Laid over any fine-grained config by --demo: generated class folders, a short schedule and small pictures.

40 iterations x 16 images / 270 pictures = 2.4 epochs.
"""

max_iters = 40
learning_rate = 2e-2
batch_size = 16  # images per process
image_size = 96  # px
resize = 108  # px
crop_area = (0.5, 1.0)
workers = 2
log_interval = 10  # iterations

demo = dict(module="benchmark.data.demo.class_folders", data_root="data/demo_finetune")
dataset_name = "demo"
train_images = 80  # pictures whose objects are cut out
val_images = 80
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=workers,
    dataset=dict(
        name="imagefolder",
        pipeline=[
            dict(type="DecodeRandomCrop", size=image_size, area=crop_area, interpolation=None),
            dict(type="PackClassInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=workers,
    dataset=dict(
        name="imagefolder",
        pipeline=[
            dict(type="DecodeCenterCrop", size=image_size, resize=resize, interpolation=None),
            dict(type="PackClassInputs"),
        ],
    ),
)
optim_wrapper = dict(optimizer=dict(lr=learning_rate))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, begin=0, end=max_iters, eta_min=0.0)]
auto_scale_lr = dict(enable=True, base_batch_size=batch_size)
default_hooks = dict(logger=dict(interval=log_interval))
log_processor = dict(window_size=log_interval)
