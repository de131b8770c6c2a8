"""What several ranks cost, on two network namespaces of this machine (as root):

    python3 bench/ranks/measure.py --snug PROGRAMS --pytorch PACKAGES --data DIR [--rounds 5]

PROGRAMS is the folder of `train` and `examples/ranks`, PACKAGES one with torch 2.11. Each rank has a core of its own. The
programs take turns in each round, so a figure is compared with others of its round. Prints Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
SPACES = [("snug0", "10.77.0.1"), ("snug1", "10.77.0.2")]
# As Snug sets them for itself.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
}
PORT = iter(range(29600, 30600))


def sh(line):
    subprocess.run(line.split(), check=True)


@contextmanager
def link(rate):
    """Two namespaces with a link between them, at `rate` if there is one."""
    for name, _ in SPACES:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
        sh(f"ip netns add {name}")
        sh(f"ip -n {name} link set lo up")
    sh(f"ip link add veth0 netns {SPACES[0][0]} type veth peer name veth1 netns {SPACES[1][0]}")
    for index, (name, address) in enumerate(SPACES):
        sh(f"ip -n {name} addr add {address}/24 dev veth{index}")
        sh(f"ip -n {name} link set veth{index} up")
        if rate:
            sh(f"tc -n {name} qdisc add dev veth{index} root tbf rate {rate} burst 256kb latency 400ms")
    try:
        yield
    finally:
        for name, _ in SPACES:
            sh(f"ip netns del {name}")


def ranks(command, more=None):
    """Runs `command` as two ranks, and returns what rank 0 prints."""
    port = str(next(PORT))
    started = []
    for rank, (name, _) in enumerate(SPACES):
        env = os.environ | MALLOC | (more or {}) | {
            "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": SPACES[0][1], "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": f"veth{rank}",
            "OMP_NUM_THREADS": "1", "SNUG_LEDGER": "off",
        }
        line = ["ip", "netns", "exec", name, "taskset", "-c", str(rank), *map(str, command)]
        started.append(subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ends = [it.communicate() for it in started]
    for process, (_, complaint) in zip(started, ends):
        if process.returncode != 0:
            sys.exit(f"{command}: {complaint}")
    return ends[0][0]


def snug(given, reduce, width, side, batch, epochs):
    """The median step of a run in ms, the peak of each rank, and what was predicted."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        ranks([
            given.snug / "train", "fit", "--data", given.data, "--img-size", f"{side}x{side}", "--width", width,
            "--batch", batch, "--epochs", epochs, "--amp", "off", "--grad-checkpoint", "off", "--device", "cpu",
            "--augment", "off", "--reduce", reduce, "--run-dir", run,
        ])
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        summary = json.loads((run / "summary.json").read_text())
    peaks = [[rank["peak_allocated_bytes"] for rank in it["ranks"]] for it in events if it["event"] == "ranks"]
    return {"step_ms": rows[-1]["step_ms_median"], "peaks": peaks[-1], "summary": summary}


def pytorch(given, program, *arguments):
    python = [sys.executable, HERE / program, *arguments]
    return json.loads(ranks(python, {"PYTHONPATH": given.pytorch}))


def spread(values):
    values = sorted(values)
    return f"{statistics.median(values):.3g} ({values[0]:.3g} to {values[-1]:.3g})"


def primitives(given):
    ours, theirs = [], []
    with link(None):
        for _ in range(given.rounds):
            ours.append(json.loads(ranks([given.snug / "examples" / "ranks"])))
            theirs.append(pytorch(given, "all_reduce.py"))
    print("## Agreement and sums, without a limit on the link\n")
    print(f"Agreement of two ranks: {spread([it['agreement'] for it in ours])} us a step.\n")
    print("| tensor | Snug, us | `torch.distributed`, us | ratio of a round |\n|---|---|---|---|")
    for nth, size in enumerate(["64 B", "1 MiB", "25 MiB", "124 MiB"]):
        a, b = ([it["sums"][nth] for it in side] for side in (ours, theirs))
        print(f"| {size} | {spread(a)} | {spread(b)} | {spread([x / y for x, y in zip(a, b)])} |")


def steps(given, rate, width, side, batch, epochs):
    times = {name: [] for name in ("after", "overlap", "ddp")}
    with link(rate):
        for _ in range(given.rounds):
            for reduce in ("after", "overlap"):
                last = snug(given, reduce, width, side, batch, epochs)
                times[reduce].append(last["step_ms"])
            times["ddp"].append(pytorch(given, "ddp.py", width, side, batch, 60)["step_ms"])
    ratio = [a / b for a, b in zip(times["overlap"], times["ddp"])]
    print(
        f"| {rate or 'no limit'} | {width} | {batch} x {side}x{side} | {spread(times['after'])} | "
        f"{spread(times['overlap'])} | {spread(times['ddp'])} | {spread(ratio)} |",
        flush=True,
    )
    return last


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--snug", type=lambda it: Path(it).absolute(), required=True)
    parser.add_argument("--pytorch", type=lambda it: str(Path(it).absolute()), required=True)
    parser.add_argument("--data", type=lambda it: str(Path(it).absolute()), required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    primitives(given)
    print("\n## Steps under a limited link\n\nfp32, no checkpointing, milliseconds.\n")
    print("| link | width | a rank's batch | Snug, after | Snug, overlap | PyTorch DDP | overlap / DDP of a round |")
    print("|---|---|---|---|---|---|---|")
    for rate in (None, "1gbit", "300mbit"):
        last = steps(given, rate, 16, 128, 4, 2)
    peaks, predicted = last["peaks"], last["summary"]["memory"]["predicted_peak_bytes"]
    error = 100 * (predicted / max(peaks) - 1)
    print(f"\n## Memory of a rank\n\nWidth 16, 4 x 128x128, fp32, one micro-batch: peaks of tensor bytes {peaks}, predicted")
    print(f"{predicted} ({error:+.3f} %).")


if __name__ == "__main__":
    main()
