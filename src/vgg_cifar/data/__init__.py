"""Files become tensors once, and tensors become batches where the model lives."""

from vgg_cifar.data.options import CIFAR10, CIFAR100, DataOptions, Synthetic

__all__ = ["CIFAR10", "CIFAR100", "DataOptions", "Synthetic"]
