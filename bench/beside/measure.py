#!/usr/bin/env python3
"""How much of its speed a step on the CPU keeps beside other programs, for Snug and for PyTorch.

    python3 bench/beside/measure.py TRAIN [ROUNDS]

TRAIN is Snug's program `train`, and LD_LIBRARY_PATH leads to its libtorch. PYTHONPATH may lead to a PyTorch. Prints a table.
Nothing else may run.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 30
RECIPE = "--img-size 256x256 --batch 4 --width 16 --amp bf16 --grad-checkpoint selective --epochs 1 --workers 1 --no-tui"
BUSY = "while True: pass"
PYTORCH = """
import sys, time, torch
sys.path.insert(0, sys.argv[1])
from subject import segmentation_loss
from unet import UNet
torch.set_num_threads(int(sys.argv[3]))
model = UNet(16, 1, checkpointing=False).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
images = torch.rand(4, 3, 256, 256).contiguous(memory_format=torch.channels_last)
masks = (torch.rand(4, 256, 256) > 0.5).long()
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        logits = model(images)
    segmentation_loss(logits, masks).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    times.append(1e3 * (time.perf_counter() - start))
print(sorted(times)[len(times) // 2])
"""


def snug(program, *flags):
    """Milliseconds of a step."""
    with tempfile.TemporaryDirectory() as folder:
        line = [program, "fit", *RECIPE.split(), "--max-steps", str(STEPS), "--run-dir", folder, *flags]
        environment = {**os.environ, "SNUG_LEDGER": "off"}
        subprocess.run(line, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(folder, "metrics.jsonl").read_text().splitlines()[-1])["step_ms_median"]


def pytorch(threads):
    """Milliseconds of a step."""
    models = Path(__file__).parent.parent / "pytorch"
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    line = [sys.executable, "-c", PYTORCH, str(models), str(STEPS), str(threads)]
    return float(subprocess.run(line, env=environment, check=True, capture_output=True, text=True).stdout)


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cores = len(os.sched_getaffinity(0))
    subjects = {
        "Snug": lambda: snug(program),
        "Snug, `--share-cores`": lambda: snug(program, "--share-cores"),
        "PyTorch, eager": lambda: pytorch(cores),
        "PyTorch, eager, one thread": lambda: pytorch(1),
    }
    times = {name: ([], []) for name in subjects}
    for _ in range(rounds):
        for name, step in subjects.items():
            times[name][0].append(step())
        loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores)]
        try:
            for name, step in subjects.items():
                times[name][1].append(step())
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
    best = times["Snug"][0]
    print(f"| program | alone, ms | beside {cores} loops, ms | of its speed alone | of what Snug does alone |")
    print("|---|---|---|---|---|")
    for name, (alone, beside) in times.items():
        kept = [a / b for a, b in zip(alone, beside)]
        of_best = [a / b for a, b in zip(best, beside)]
        print(f"| {name} | {spread(alone)} | {spread(beside)} | {spread(kept, 2)} | {spread(of_best, 2)} |")


def spread(values, digits=0):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


main()
