"""PyTorch's DistributedDataParallel on the network and the loss of `bench/pytorch`, on batches in memory.

    ddp.py WIDTH SIDE BATCH STEPS

Rank 0 prints the median time of a step in milliseconds, as JSON. The first fifth of the steps does not count.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

sys.path.append(str(Path(__file__).parent.parent / "pytorch"))
from subject import segmentation_loss  # noqa: E402
from unet import UNet  # noqa: E402

width, side, batch, steps = map(int, sys.argv[1:])
torch.set_num_threads(1)
torch.manual_seed(0)
dist.init_process_group("gloo")
model = UNet(width, 1, checkpointing=False).to(memory_format=torch.channels_last).train()
ddp = DistributedDataParallel(model, gradient_as_bucket_view=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
pixels = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)
masks = torch.randint(0, 2, (batch, side, side), dtype=torch.uint8)
took = []
for step in range(steps):
    begun = time.perf_counter()
    images = pixels.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
    loss = segmentation_loss(ddp(images), masks)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if step >= steps // 5:
        took.append(time.perf_counter() - begun)
if dist.get_rank() == 0:
    print(json.dumps({"step_ms": 1e3 * statistics.median(took)}))
dist.destroy_process_group()
