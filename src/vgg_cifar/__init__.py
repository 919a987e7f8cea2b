"""VGG16-BN on CIFAR-100 with PyTorch Lightning and Hydra."""

__version__ = "0.1.0"
