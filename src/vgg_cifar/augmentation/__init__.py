"""What happens to training images: batched, on the device, each image by its own draw."""

from vgg_cifar.augmentation.options import Augmentation

__all__ = ["Augmentation"]
