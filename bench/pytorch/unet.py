"""The U-Net of the guide's script, in PyTorch."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class DoubleConv(nn.Module):
    def __init__(self, ins, outs):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(ins, outs, 3, padding=1),
            nn.BatchNorm2d(outs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outs, outs, 3, padding=1),
            nn.BatchNorm2d(outs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    """`[N, 3, H, W]` -> logits `[N, classes, H, W]`, where H and W are multiples of 16."""

    def __init__(self, width, classes, checkpointing=False):
        super().__init__()
        self.checkpointing = checkpointing
        features = [width * 2**i for i in range(4)]
        ins = [3, *features[:-1]]
        self.downs = nn.ModuleList(DoubleConv(i, o) for i, o in zip(ins, features))
        self.bottleneck = DoubleConv(features[-1], 2 * features[-1])
        self.ups_tr = nn.ModuleList(nn.ConvTranspose2d(2 * f, f, 2, 2) for f in reversed(features))
        self.up_convs = nn.ModuleList(DoubleConv(2 * f, f) for f in reversed(features))
        self.out_conv = nn.Conv2d(features[0], classes, 1)
        self.pool = nn.MaxPool2d(2)

    def run(self, block, x):
        if self.checkpointing and self.training:
            return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
        return block(x)

    def forward(self, x):
        skips = []
        for down in self.downs:
            x = self.run(down, x)
            skips.append(x)
            x = self.pool(x)
        x = self.run(self.bottleneck, x)
        for up, conv, skip in zip(self.ups_tr, self.up_convs, reversed(skips)):
            x = self.run(conv, torch.cat([up(x), skip], dim=1))
        return self.out_conv(x)
