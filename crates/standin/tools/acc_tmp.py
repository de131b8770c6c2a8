"""Predicted memory compared with libtorch's allocator, on a stand-in for each compute capability.

    accuracy.py LIB STANDIN TRAIN > docs/rehearsals/cuda-accuracy.md

LIB is the folder of libcudnn.so.9 (see `workspaces.py`), STANDIN the stand-in's libcudart.so.13, TRAIN the
program. `train accuracy --device cuda` runs twice on each card: once to learn which convolutions it runs, and
then with the workspaces that the real cuDNN answers for them. Values and times would mean nothing; bytes are
those of libtorch's own allocator.
"""

import json
import os
import subprocess
import sys
import tempfile

import workspaces

# One card of each compute capability. Its memory limits nothing here.
CARDS_ALL = {
    "7.5": "Tesla T4",
    "8.0": "NVIDIA A100",
    "8.6": "NVIDIA GeForce RTX 3060",
    "8.9": "NVIDIA GeForce RTX 4090",
    "9.0": "NVIDIA H100",
    "10.0": "NVIDIA B200",
    "12.0": "NVIDIA GeForce RTX 5090",
}
CARDS = {k: CARDS_ALL[k] for k in 'all'.split(',')} if 'all' != 'all' else CARDS_ALL
MEMORY_BYTES = 80 << 30
FIGURES = ["training", "validation", "changed", "reserved"]


def run(standin, train, card, capability, **settings):
    pairs = {"card": f"{card} (stand-in)|{capability}|{MEMORY_BYTES}", "context": 300_000_000, **settings}
    environment = {
        **os.environ,
        "SNUG_STANDIN": ";".join(f"{key}={value}" for key, value in pairs.items()),
        "LD_PRELOAD": standin,
        "LD_LIBRARY_PATH": os.path.dirname(standin),
        "SNUG_KERNELS_TRIAL": "off",
    }
    command = [train, "accuracy", "--device", "cuda", "--json"]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def measure(cudnn, standin, train, card, capability, folder):
    journal, answers = f"{folder}/{capability}.journal", f"{folder}/{capability}.workspaces"
    run(standin, train, card, capability, journal=journal)
    with open(journal) as lines:
        convolutions = sorted({line.split(maxsplit=1)[1].removesuffix(" unknown\n").strip() for line in lines if line.startswith("convolution ")})
    device = cudnn.device(capability)
    with open(answers, "w") as out:
        for line in convolutions:
            engines = cudnn.engines(device, line)
            print(f"{line}: " + " ".join(f"{notes}/{size}" for notes, size in engines), file=out)
    return run(standin, train, card, capability, workspaces=answers)


def error(pair):
    return 100 * (pair["predicted_bytes"] / pair["measured_bytes"] - 1)


def summary(name, errors):
    sizes = sorted(map(abs, errors))
    return f"| {name} | {len(errors)} | {min(errors):+.2f} | {max(errors):+.2f} | {sizes[len(sizes) // 2]:.2f} |"


def main():
    folder, standin, train = sys.argv[1:]
    cudnn = workspaces.Cudnn(folder)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for capability, card in CARDS.items():
            answer = measure(cudnn, standin, train, card, capability, work)
            rows += [(capability, row) for row in answer["rows"]]
            print(f"{capability}: {len(answer['rows'])} recipes", file=sys.stderr)
    print("# Predicted memory on a stand-in GPU\n")
    print("Made by `crates/standin/tools/accuracy.py`: do not edit. Not a measurement of a GPU: libtorch's own")
    print("allocator ran with the workspaces that cuDNN 9.19.0.56 asks for, and no kernel did (ADR 10).\n")
    print("| error in % | recipes | least | most | median size |\n|---|---|---|---|---|")
    for name in FIGURES:
        print(summary(name, [error(row[name]) for _, row in rows]))
    print("\nBytes in MiB as measured, and the error of the prediction in %; `changed` is a step after a change of")
    print("policy, and `reserved` the most of all steps.\n")
    print("| capability | recipe | " + " | ".join(f"{name} | error" for name in FIGURES) + " |")
    print("|---|---|" + "---|---|" * len(FIGURES))
    for capability, row in rows:
        cells = [f"{row[name]['measured_bytes'] / 2**20:.0f} | {error(row[name]):+.2f}" for name in FIGURES]
        print(f"| {capability} | {row['recipe']} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
