"""Prints the reference figures for the tests of `loss.rs` (torch 2.11.0): the loss, and the loss with
ignored pixels and its gradient, for one class and for several."""

import torch
import torch.nn.functional as F

assert torch.__version__.startswith("2.11.0"), torch.__version__
EPS = 1e-7
IGNORE = 255


def dice(probabilities, target, counts):
    intersection = (probabilities * target * counts).sum((2, 3))
    total = ((probabilities + target) * counts).sum((2, 3))
    return ((2 * intersection + EPS) / (total + EPS)).mean()


def one_class(logits, mask):
    counts = (mask != IGNORE).unsqueeze(1).float()
    target = (mask == 1).unsqueeze(1).float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * counts).sum() / counts.sum()
    return 0.5 * entropy + 0.5 * (1 - dice(torch.sigmoid(logits), target, counts))


def several(logits, mask):
    entropy = F.cross_entropy(logits, mask, ignore_index=IGNORE)
    counts = (mask != IGNORE).unsqueeze(1).float()
    classes = torch.arange(logits.shape[1]).view(1, -1, 1, 1)
    target = (mask.unsqueeze(1) == classes).float()
    return 0.5 * entropy + 0.5 * (1 - dice(logits.softmax(1), target, counts))


def show(name, loss, logits, mask):
    logits = logits.clone().requires_grad_()
    value = loss(logits, mask)
    value.backward()
    print(name, repr(value.item()))
    print([round(it, 9) for it in logits.grad.flatten().tolist()])


LOGITS = [0.5, -1.0, 2.0, 0.0, 1.5, -0.5, 0.25, -2.0, 1.0, 0.75, -0.25, 3.0]
logits = torch.tensor(LOGITS[:6]).view(1, 1, 2, 3)
show("every pixel counts:", one_class, logits, torch.tensor([1, 0, 1, 0, 0, 1]).view(1, 2, 3))
mask = torch.tensor([1, 255, 1, 0, 0, 255, 255, 255, 1, 0, 255, 0]).view(2, 2, 3)
show("one class:", one_class, torch.tensor(LOGITS).view(2, 1, 2, 3), mask)
mask = torch.tensor([0, 255, 2, 1]).view(1, 2, 2)
show("three classes:", several, torch.tensor(LOGITS).view(1, 3, 2, 2), mask)
