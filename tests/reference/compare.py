"""Steps of Snug and of tuned eager PyTorch, in turns on one machine, as a Markdown file.

    python tests/reference/compare.py target/debug/train > docs/measurements/DATE-DEVICE.md

Both sides do the same work with the same threads (see step.py); each pair is one process of each,
one after the other, in alternating order. Needs a Python with torch 2.11.0.
"""

import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TRAIN = str(Path(sys.argv[1]).resolve())
PAIRS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
STEPS = 10
CASES = [(16, 256, 4, False), (16, 256, 4, True)]


# What Snug asks of glibc by itself: pages freed by one step are kept for the next.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(64 << 20)}


def snug(width, size, batch, bf16):
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [TRAIN, "fit", "--preset", "best-balance", "--amp", "bf16" if bf16 else "off",
                   "--width", str(width), "--img-size", f"{size}x{size}", "--batch", str(batch),
                   "--epochs", "1", "--max-steps", str(STEPS), "--device", "cpu", "--run-dir", str(run)]
        subprocess.run(command, check=True, capture_output=True)
        summary = json.loads((run / "summary.json").read_text())
        return summary["throughput"]["step_ms_median"], summary["memory"]["peak_allocated_bytes"]


def pytorch(width, size, batch, bf16, peak=False, env=None):
    command = [sys.executable, str(HERE / "step.py"), "--width", str(width), "--size", str(size), str(size),
               "--batch", str(batch), "--steps", str(STEPS)]
    command += ["--bf16"] * bf16 + ["--peak"] * peak
    env = {**os.environ, **(env or {})}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    result = json.loads(output.strip().splitlines()[-1])
    return result["step_ms_median"], result.get("peak_allocated_bytes")


def pytorch_malloc(*case):
    return pytorch(*case, env=MALLOC)


def interval(ratios):
    """95 % of medians of resampled pairs."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(10_000))
    return medians[250], medians[9750]


def cpu():
    names = [l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")]
    flags = next(l for l in open("/proc/cpuinfo") if l.startswith("flags"))
    bf16 = "AVX512-BF16" if "avx512_bf16" in flags else "no AVX512-BF16"
    return f"{names[0]}, {len(names)} cores, {bf16}"


print(f"# Step time and peak beside PyTorch, {datetime.date.today()}\n")
print(f"Machine: {cpu()}, {platform.system()}. libtorch 2.11.0 on both sides; PyTorch eager, tuned")
print("(fused AdamW, channels-last, gradients set to none). Snug: the dev profile.")
print("Made by `python tests/reference/compare.py target/debug/train`; never edited by hand.\n")
print(f"Median of {PAIRS} interleaved pairs of processes, {STEPS} steps each, warm-up left out; the interval")
print("is 95 % of the medians of resampled pairs. Peak: tensor bytes of one step, parameters and optimizer")
print("state included; Snug's counting allocator against PyTorch's own memory events. \"Same malloc\" is")
print("PyTorch with the settings of glibc that Snug makes by itself, given by environment variables.\n")
print("| width | image | batch | precision | PyTorch ms | Snug ms | Snug / PyTorch [interval] | Snug / PyTorch, same malloc [interval] | ratio of peaks |")
print("|---|---|---|---|---|---|---|---|---|")
for case in CASES:
    ours, theirs, tuned = [], [], []
    for pair in range(PAIRS):
        sides = [(snug, ours), (pytorch, theirs), (pytorch_malloc, tuned)]
        for run, results in sides if pair % 2 == 0 else reversed(sides):
            results.append(run(*case))
    def ratio(others):
        ratios = [a[0] / b[0] for a, b in zip(ours, others)]
        low, high = interval(ratios)
        return f"{statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]"

    peak = ours[0][1] / pytorch(*case, peak=True)[1]
    width, size, batch, bf16 = case
    print(f"| {width} | {size}x{size} | {batch} | {'bf16' if bf16 else 'fp32'} "
          f"| {statistics.median(t for t, _ in theirs):.1f} | {statistics.median(t for t, _ in ours):.1f} "
          f"| {ratio(theirs)} | {ratio(tuned)} | {peak:.4f} |", flush=True)
