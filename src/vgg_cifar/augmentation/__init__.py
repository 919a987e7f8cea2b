"""What happens to training images: batched, on the device, each image by its own draw."""

from vgg_cifar.augmentation.options import AugmentationOptions, NoAugmentation, Rotate, Standard

__all__ = ["AugmentationOptions", "NoAugmentation", "Rotate", "Standard"]
