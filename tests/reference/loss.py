"""Prints the reference loss for the test `equals_pytorch` beside Snug's loss (torch 2.11.0)."""

import torch
import torch.nn.functional as F

assert torch.__version__.startswith("2.11.0"), torch.__version__
logits = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.5, -0.5]).view(1, 1, 2, 3)
target = torch.tensor([1.0, 0, 1, 0, 0, 1]).view(1, 1, 2, 3)
p = torch.sigmoid(logits)
eps = 1e-7
dice = (2 * (p * target).sum((2, 3)) + eps) / (p.sum((2, 3)) + target.sum((2, 3)) + eps)
loss = 0.5 * F.binary_cross_entropy_with_logits(logits, target) + 0.5 * (1 - dice.mean())
print(repr(loss.item()))
