"The picture of a network shows its blocks as they are."

import pytest
import torch

from specdehaze.checkpoints import build
from specdehaze.hybrid_unet import HybridPreset
from specdehaze.network_pictures import plot_network, trace_blocks
from specdehaze.networks import UNet


def test_blocks_inside_a_whole_network_are_found():
    network = build(HybridPreset(base=2, mel_bands=64, memory=4))
    assert trace_blocks(network, torch.randn(1, 16000))[0].channels == 2


def test_tracing_leaves_no_hooks_and_the_mode_as_it_was():
    trunk = UNet(1, 2).train()
    trace_blocks(trunk, torch.randn(1, 1, 16, 16))
    assert trunk.training and not any(module._forward_hooks for module in trunk.modules())


def test_a_network_without_convolutions():
    with pytest.raises(ValueError, match="no blocks"):
        trace_blocks(torch.nn.Linear(2, 2), torch.randn(1, 2))


def test_as_many_boxes_as_blocks():
    figure = plot_network(UNet(1, 2), torch.randn(1, 1, 32, 32))
    assert len(figure.axes[0].patches) == 9
