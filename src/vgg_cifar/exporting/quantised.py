"""An ONNX file in eight-bit integers, made from one in float32 without training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vgg_cifar.data.dataset import Split
from vgg_cifar.exporting.proof import pictures

CALIBRATION = 500
"""Training images from which the ranges of activations are taken."""
FILE = "model.int8.onnx"
BATCH = 50


class _Batches:
    """Calibration images, as ONNX Runtime's quantiser asks for them."""

    def __init__(self, split: Split) -> None:
        self._batches = iter(pictures(split).split(BATCH))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch.numpy()}


def quantise(model: Path, images: Split, path: Path) -> None:
    """Write the network with weights and activations in eight-bit integers (Jacob et al., 2018).

    Weights are scaled per channel. What stands before the first layer and behind the last stays in float32.

    Args:
        model: the file in float32.
        images: training images, whose activations set the ranges.
        path: the file to write; it says of itself what the other one does.
    """
    import onnx
    from onnxruntime import quantization

    content = onnx.load(model)
    layers = ["Conv", "Gemm", "MatMul"]
    between = [*layers, "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten"]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantization.quantize_static(
            content,
            path,
            _Batches(images),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=between,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    finally:
        logging.disable(before)
    quantised = onnx.load(path)
    onnx.helper.set_model_props(quantised, {each.key: each.value for each in content.metadata_props})
    path.write_bytes(quantised.SerializeToString())
