"""What `advisor suggest` recommends, trained on a stand-in for cards of 4 to 24 GiB.

    cards.py LIB STANDIN TRAIN ADVISOR >> docs/rehearsals/cuda-accuracy.md

Arguments as in `accuracy.py`. Each recommendation trains 20 steps and validates, twice: once to learn which
convolutions it runs, and then with all engines and workspaces that the real cuDNN offers for them, which the search
of `cudnn.benchmark` tries. The largest batch is run with `--strict`, and so is a tenth more.
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile

import workspaces

CARDS = [
    ("GTX 1650", "7.5", 4),
    ("RTX 2060", "7.5", 6),
    ("RTX 3060 Ti", "8.6", 8),
    ("RTX 3060", "8.6", 12),
    ("RTX 4080", "8.9", 16),
    ("RTX 4090", "8.9", 24),
]


class Card:
    def __init__(self, standin, train, advisor, card, capability, gib, folder):
        self.standin, self.train, self.advisor = standin, train, advisor
        self.name, self.capability, self.gib, self.folder = card, capability, gib, folder

    def run(self, arguments, **settings):
        card = f"NVIDIA GeForce {self.name} (stand-in)|{self.capability}|{self.gib << 30}"
        pairs = {"card": card, "context": 330_000_000, **settings}
        environment = {
            **os.environ,
            "SNUG_STANDIN": ";".join(f"{key}={value}" for key, value in pairs.items()),
            "SNUG_LEDGER": "off",
            "SNUG_KERNELS_TRIAL": "off",
            "LD_PRELOAD": self.standin,
            "LD_LIBRARY_PATH": os.path.dirname(self.standin),
        }
        return subprocess.run([self.train, *arguments], env=environment, cwd=self.folder, capture_output=True, text=True)

    def suggest(self, name, *flags):
        path = f"{self.folder}/{name}.toml"
        command = [self.advisor, "suggest", "--gpu", self.name, "--write", path, *flags]
        environment = {**os.environ, "SNUG_LEDGER": "off"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        with open(path) as file:
            text = file.read()
        return path, int(re.search(r"^batch = (\d+)", text, re.M)[1]), re.search(r'^img_size = \[(\d+), (\d+)\]', text, re.M)

    def fit(self, recipe, *flags, **settings):
        subprocess.run(["rm", "-rf", f"{self.folder}/run"], check=True)
        words = ["fit", "--config", recipe, "--device", "cuda", "--data", "pages", "--run-dir", "run", *flags]
        done = self.run(words, **settings)
        try:
            with open(f"{self.folder}/run/summary.json") as file:
                summary = json.load(file)
            with open(f"{self.folder}/run/events.jsonl") as file:
                events = [json.loads(line) for line in file]
        except FileNotFoundError:
            summary, events = {}, []
        return done, summary, events


def answered(cudnn, card, recipe, *flags):
    """The run with what cuDNN answers for its convolutions."""
    journal, answers = f"{card.folder}/journal", f"{card.folder}/answers"
    if os.path.exists(journal):
        os.remove(journal)
    card.fit(recipe, *flags, journal=journal)
    with open(journal) as lines:
        found = {line.split(maxsplit=1)[1].strip().removesuffix(" unknown") for line in lines if line.startswith("convolution ")}
    device = cudnn.device(card.capability)
    with open(answers, "w") as out:
        for line in sorted(found):
            engines = cudnn.engines(device, line)
            print(f"{line}: " + " ".join(f"{notes}/{size}" for notes, size in engines), file=out)
    return card.fit(recipe, *flags, workspaces=answers)


def main():
    folder, standin, train, advisor = sys.argv[1:]
    cudnn = workspaces.Cudnn(folder)
    print("\n# Recommended recipes on cards of 4 to 24 GiB\n")
    print("Made by `crates/standin/tools/cards.py`: 20 steps and validation, with the search of `cudnn.benchmark` among")
    print("the engines that cuDNN offers. Bytes in GiB.\n")
    print("| card | memory | batch | exit | steps | reserved | search | fallbacks | most | exit | a tenth more | exit |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, capability, gib in CARDS:
        with tempfile.TemporaryDirectory() as work:
            card = Card(standin, train, advisor, name, capability, gib, work)
            recipe, batch, size = card.suggest("recipe")
            size = f"{size[1]}x{size[2]}" if size else "512x512"
            largest, most, _ = card.suggest("largest", "--max-batch")
            more = math.ceil(1.1 * most)
            pages = max(2 * batch + batch // 2, more)
            card.run(["synth", "--out", "pages", "--img-size", size, "--train", str(pages), "--val", str(more)])
            done, summary, events = answered(cudnn, card, recipe, "--epochs", "20", "--max-steps", "20")
            search = next((event["peak_reserved_bytes"] for event in events if event["event"] == "algorithm-search"), 0)
            memory = summary.get("memory", {}).get("peak_reserved_bytes") or 0
            row = [name, gib, batch, done.returncode, summary.get("steps"), f"{memory / 2**30:.2f}", f"{search / 2**30:.2f}", len(summary.get("fallbacks", []))]
            strict = ["--strict", "--max-steps", "2"]
            with_most, _, _ = answered(cudnn, card, largest, *strict)
            with_more, _, _ = card.fit(largest, *strict, "--batch", str(more))
            print("| " + " | ".join(map(str, [*row, most, with_most.returncode, more, with_more.returncode])) + " |", flush=True)
            for what in (done, with_most):
                if what.returncode:
                    print(what.stderr[-1500:], file=sys.stderr)


if __name__ == "__main__":
    main()
