"""The PyTorch side of docs/measurements: one tuned eager training run of the guide's network.

Same work as `train fit` on built-in pages: fp32, channels-last, AdamW(fused=True), gradients set to
none, the loss read each step. Prints JSON: median step in ms (three steps of warm-up left out), and
the peak of tensor bytes of one step from PyTorch's own memory events.

    python tests/reference/step.py --width 16 --size 256 256 --batch 4 --steps 20 [--peak]
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

from unet import UNet

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--size", type=int, nargs=2, default=[256, 256])
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--peak", action="store_true")
args = parser.parse_args()

torch.manual_seed(0)
model = UNet(args.width, 1).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
pixels = torch.randint(256, (args.batch, *args.size, 3), dtype=torch.uint8)
masks = (torch.rand(args.batch, *args.size) > 0.7).to(torch.uint8)


def step():
    images = pixels.permute(0, 3, 1, 2).float().div_(255)
    target = masks.unsqueeze(1).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16, cache_enabled=False):
        logits = model(images)
    logits = logits.float()
    p = torch.sigmoid(logits)
    dice = (2 * (p * target).sum((2, 3)) + 1e-7) / (p.sum((2, 3)) + target.sum((2, 3)) + 1e-7)
    loss = 0.5 * F.binary_cross_entropy_with_logits(logits, target) + 0.5 * (1 - dice.mean())
    del logits, p, dice, images, target
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


times = []
for _ in range(args.steps):
    start = time.perf_counter()
    step()
    times.append(1e3 * (time.perf_counter() - start))
result = {"torch": torch.__version__, "threads": torch.get_num_threads(), "step_ms_median": statistics.median(times[3:])}
if args.peak:
    held = list(model.state_dict().values())
    held += [t for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t)]
    level = peak = sum(t.numel() * t.element_size() for t in held)
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    result["peak_allocated_bytes"] = peak
print(json.dumps(result))
