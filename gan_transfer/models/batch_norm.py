"""Batch norm over the pictures of all ranks, on CPU and GPU alike; PyTorch's own knows only GPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import distributed
from .dcgan import Network


class SyncedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose statistics in training are those of the whole batch, of which each rank has its share.

    The shares must be equally large. Names and values of its state are those of `nn.BatchNorm2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> the same."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(input)
        pictures = input.float()
        mean, variance = _statistics(pictures.detach())
        if self.track_running_stats and self.momentum is not None:
            count = pictures.numel() // pictures.shape[1] * distributed.world_size()
            self.get_buffer("running_mean").lerp_(mean, self.momentum)
            self.get_buffer("running_var").lerp_(variance * (count / (count - 1)), self.momentum)
            self.get_buffer("num_batches_tracked").add_(1)
        scale = (variance + self.eps).rsqrt()
        normal: Tensor = _Normalise.apply(pictures, mean, scale)
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(input.dtype)


class _Normalise(torch.autograd.Function):
    """(x - mean) * scale, where mean and scale [C] hang on the pictures of all ranks.

    With y the result, g its gradient and < > the mean over all pictures and places of a channel, the gradient of x is
    scale * (g - <g> - y <g y>): that of the sum of all ranks' losses.
    """

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        normal = (pictures - mean[:, None, None]) * scale[:, None, None]
        ctx.save_for_backward(normal, scale)
        return normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        normal, scale = ctx.saved_tensors
        means = torch.stack([gradient.mean((0, 2, 3)), (gradient * normal).mean((0, 2, 3))])
        distributed.average([means])
        level, slope = means[:, :, None, None]
        return (gradient - level - normal * slope) * scale[:, None, None], None, None


def synchronise(network: Network) -> None:
    """Give every batch norm that is not frozen the statistics of all ranks, in place; parameters stay the same ones."""
    for block in network.blocks.values():
        if isinstance(block.norm, nn.BatchNorm2d) and not block.frozen:
            synced = SyncedBatchNorm(block.norm.num_features, block.norm.eps, block.norm.momentum)
            synced.weight, synced.bias = block.norm.weight, block.norm.bias
            for name, buffer in block.norm.named_buffers():
                setattr(synced, name, buffer)
            block.norm = synced.train(block.norm.training)


def running_statistics(network: Network) -> list[Tensor]:
    """The means and variances that a network gathers while it trains, frozen blocks' excluded."""
    norms = [block.norm for block in network.blocks.values() if not block.frozen]
    return [
        statistic
        for norm in norms
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        for statistic in (norm.running_mean, norm.running_var)
    ]


def _statistics(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] over all ranks: the variance is the mean of theirs and that of their means."""
    variance, mean = torch.var_mean(pictures, (0, 2, 3), correction=0)
    means, variances = distributed.gather(torch.stack([mean, variance])).unbind(1)
    return means.mean(0), variances.mean(0) + means.var(0, correction=0)
