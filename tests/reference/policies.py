"""Makes docs/measurements of the checkpoint policies from what the benchmark `policies` printed.

    cargo bench --profile dev -p train --features full --bench policies -- --width 64 \
        --img-size 512x512 --batch N --rounds 0 SUBJECT... > bytes-N.jsonl     (N = 2, 4, 8)
    cargo bench --profile dev -p train --features full --bench policies -- --width 64 \
        --img-size 512x512 --batch 2 --rounds 9 SUBJECT... > times.jsonl
    python tests/reference/policies.py MACHINE DATE FILE... > docs/measurements/DATE-MACHINE.md

Needs Python alone.
"""

import json
import sys
from pathlib import Path

MIB = 2**20


def rows(files):
    for file in files:
        for line in Path(file).read_text().splitlines():
            yield json.loads(line)


def main():
    machine, date, *files = sys.argv[1:]
    found = list(rows(files))
    bytes_of, held = {}, {}
    for row in found:
        bytes_of[row["subject"], row["batch"]] = row["peak_bytes"] / MIB
        held[row["batch"]] = row["held_bytes"] / MIB
    capability = {row["cpu_capability"] for row in found}
    sizes = {(row["img_size"], row["width"], row["channels_last"]) for row in found}
    assert len(capability) == 1 and sizes == {("512x512", 64, True)}, (capability, sizes)
    batches = sorted({batch for _, batch in bytes_of})
    subjects = list(dict.fromkeys(s for s, _ in bytes_of if (s, batches[-1]) in bytes_of))

    print(f"# Checkpoint policies, {date}\n")
    print(f"Machine: {machine}; libtorch kernels {capability.pop()}. libtorch 2.11.0, the dev profile.")
    print("U-Net of width 64, 512x512, channels-last, AdamW state present, gradients set to none.")
    print("Made by `python tests/reference/policies.py`, which names the commands; never edited by hand.\n")
    print("## Peak tensor bytes\n")
    print("Of one step, by the counting allocator, in MiB: parameters, optimizer state and the batch")
    print(f"included ({held[batches[0]]:.1f} MiB at batch {batches[0]}). Slope: MiB per image between the two largest")
    print("batches. Ratios are to `off` in fp32 of the same program at the same batch; all are measured,")
    print("none is extrapolated.\n")
    large, small = batches[-1], batches[-2]
    plain = {b: bytes_of["off/fp32", b] for b in batches}
    slope = lambda s: (bytes_of[s, large] - bytes_of[s, small]) / (large - small)
    head = " | ".join(f"batch {b}" for b in batches)
    print(f"| policy / precision | {head} | ratio at batch {large} | slope | ratio of slopes |")
    print("|---|" + "---|" * (len(batches) + 3))
    for s in subjects:
        cells = " | ".join(f"{bytes_of[s, b]:.1f}" for b in batches)
        ratio = bytes_of[s, large] / plain[large]
        print(f"| {s} | {cells} | {ratio:.4f} | {slope(s):.1f} | {slope(s) / slope('off/fp32'):.4f} |")
    print("\n`+split` is with the concatenation split (equal within rounding); all others have the bits of")
    print("`off` in the same precision.\n")
    print("## Step time\n")
    print("Rounds take all subjects of a table in turn, each beginning as often as the others; the ratio is")
    print("the median of the rounds' ratios, with the least and the largest.\n")
    timed = [row for row in found if row["step_ms"]]
    tables = []
    for row in timed:
        if row["ratio_to_first"]["min"] == row["ratio_to_first"]["max"] == 1.0:
            tables.append([])
        tables[-1].append(row)
    for table in tables:
        first = table[0]
        print(f"Batch {first['batch']}, {len(first['step_ms'])} rounds:\n")
        print(f"| policy / precision | step, ms | ratio to {first['subject']} | least | largest |")
        print("|---|---|---|---|---|")
        for row in table:
            r = row["ratio_to_first"]
            print(
                f"| {row['subject']} | {row['step_ms_median']:.0f} | {r['median']:.3f} "
                f"| {r['min']:.3f} | {r['max']:.3f} |"
            )
        print()


main()
