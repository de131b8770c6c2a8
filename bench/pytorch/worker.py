"""The protocol with `train bench`: the first line of stdin says what to build, and each further line
is a request. Each answer is a line of JSON on stdout. The program ends when stdin does.

    {"do": "losses", "count": 3}    {"is": "losses", "losses": [...]}
    {"do": "times", "count": 5}     {"is": "times", "step_ms": [...]}
    {"do": "peak"}                  {"is": "peak", "held_bytes": ..., "allocated_bytes": ..., "reserved_bytes": ...}
    {"do": "validate"}              {"is": "losses", "losses": [...]}
    {"do": "epoch"}                 {"is": "epoch", "train_s": ..., ...}
"""

import json
import os
import sys

# The words of libtorch on the CPU, on CUDA, in cuDNN and in cuBLAS; Snug looks for the same.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "_status_alloc_failed")


def answer_to(request, subject):
    match request["do"]:
        case "losses":
            return {"is": "losses", "losses": subject.losses(request["count"])}
        case "times":
            return {"is": "times", "step_ms": subject.times(request["count"])}
        case "peak":
            held, allocated, reserved = subject.peak()
            return {"is": "peak", "held_bytes": held, "allocated_bytes": allocated, "reserved_bytes": reserved}
        case "validate":
            return {"is": "losses", "losses": [subject.validate()[0]]}
        case "epoch":
            return {"is": "epoch", **subject.epoch()}
        case other:
            return {"is": "failed", "message": f"unknown request: {other}"}


def ready(spec):
    import torch

    device = torch.device(spec["device"])
    name, total, free = None, None, None
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        free, total = torch.cuda.mem_get_info(device)
    return {
        "is": "ready",
        "libtorch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device_name": name,
        "total_bytes": total,
        "free_bytes": free,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def main():
    # Output of libraries must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def guarded(work):
        try:
            return work()
        except Exception as error:  # the other side must learn about any failure
            if any(word in str(error).lower() for word in OUT_OF_MEMORY) or isinstance(error, MemoryError):
                return {"is": "out-of-memory", "message": str(error)}
            return {"is": "failed", "message": f"{type(error).__name__}: {error}"}

    spec = json.loads(sys.stdin.readline())
    subject = None

    def build():
        nonlocal subject
        if spec["data"] is None:
            from subject import Subject as Build
        else:
            from epoch import Epochs as Build
        subject = Build(spec)
        return ready(spec)

    answer(guarded(build))
    for line in sys.stdin:
        answer(guarded(lambda: answer_to(json.loads(line), subject)))


# This must not run in the processes that a DataLoader starts from this file.
if __name__ == "__main__":
    main()
