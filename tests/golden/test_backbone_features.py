"""The bundled weights compute what they computed in their own implementation."""

import pytest
import torch

from sapnet.models.backbone import Backbone

# Mean, standard deviation and four values (channels 0 to 3 at row 1, column 1) of the features that
# efficientnet_lite_pytorch 0.1.0, for which the weights were published, computes for `picture()`.
EXPECTED = [
    ((24, 16, 24), -0.745492, 13.483978, [5.27468, 20.36246, 1.98977, 5.6605]),
    ((40, 8, 12), 1.164667, 12.043062, [17.96141, -14.02444, -1.3484, 13.56478]),
    ((112, 4, 6), -0.090566, 6.878993, [13.93863, -0.54902, -2.10211, 1.0372]),
    ((320, 2, 3), -0.075999, 3.915728, [3.98225, 5.63958, -5.30899, -4.02298]),
]


def picture(height, width):
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([torch.sin(x / 5 + y / 9 + channel) for channel in range(3)])[None]


def test_bundled_features_equal_those_of_the_original_implementation():
    with torch.no_grad():
        features = Backbone().eval()(picture(64, 96))
    for feature, (shape, mean, deviation, values) in zip(features, EXPECTED, strict=True):
        assert tuple(feature.shape[1:]) == shape
        assert feature.double().mean().item() == pytest.approx(mean, abs=2e-4)
        assert feature.double().std().item() == pytest.approx(deviation, abs=2e-4)
        assert feature[0, :4, 1, 1].tolist() == pytest.approx(values, abs=1e-3)
