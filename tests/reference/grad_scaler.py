"""Makes crates/amp/src/grad_scaler/pytorch_sequence.json with PyTorch's own GradScaler.

Run with torch 2.11.0: python tests/reference/grad_scaler.py > crates/amp/src/grad_scaler/pytorch_sequence.json
Each row holds the gradient (null = infinity), and the scale, growth tracker and parameter after the step.
"""

import json

import torch

assert torch.__version__.startswith("2.11.0"), torch.__version__
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
param = torch.zeros(2, requires_grad=True)
optimizer = torch.optim.SGD([param], lr=1.0)
rows = []
for i in range(48):
    gradient = None if i in (4, 5, 11, 12, 13, 14, 30) else 0.25 * (1 + i % 5)
    scaler.scale(torch.zeros(1))  # creates the scale
    factor = float("inf") if gradient is None else gradient * scaler.get_scale()
    param.grad = torch.tensor([factor, 0.0])
    scaler.step(optimizer)
    scaler.update()
    state = scaler.state_dict()
    rows.append([gradient, state["scale"], state["_growth_tracker"], param[0].item()])
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
