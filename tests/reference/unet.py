"""Compares Snug's U-Net with that of the guide's script in PyTorch (torch 2.11.0).

    python tests/reference/unet.py make tests/reference/fixtures
        PyTorch -> Snug: writes `unet.safetensors`, a model initialised by PyTorch with BatchNorm
        statistics as after training, and `logits.safetensors`, an input and its logits.
    python tests/reference/unet.py check FILE SEED...
        Snug -> PyTorch: loads FILE with `strict=True`, and prints the logits for the input of
        each seed as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "pytorch"))
from unet import UNet  # noqa: E402  the network of the benchmarks; this file is a program

assert torch.__version__.startswith("2.11.0"), torch.__version__

# Not square, so that swapped height and width are noticed. The Rust test draws the same image.
HEIGHT, WIDTH = 32, 48
# Width 4 would make a fixture of 475 KiB.
FIXTURE_WIDTH = 2
SEED = 4


def image(seed):
    """An image `[1, 3, HEIGHT, WIDTH]` in [0, 1]: the bytes of a hash, divided by 255."""
    index = np.arange(3 * HEIGHT * WIDTH, dtype=np.uint64)
    hashed = (index * 2654435761 + seed * 2246822519) % 2**32
    hashed = (hashed ^ hashed >> 15) * 2246822519 % 2**32
    pixels = (hashed >> 24).astype(np.float32) / np.float32(255)
    return torch.from_numpy(pixels.reshape(1, 3, HEIGHT, WIDTH))


def make(folder):
    torch.manual_seed(SEED)
    model = UNet(FIXTURE_WIDTH, 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, mean=0.5, std=0.2)
    with torch.no_grad():
        # Forward passes in training mode fill the BatchNorm statistics.
        for seed in range(2, 22):
            model(image(seed))
        model.eval()
        pixels = image(1)
        logits = model(pixels)
    # Such a narrow network can be dead, and then its logits would prove nothing.
    assert len(logits.unique()) > logits.numel() // 2 and logits.std() > 0.1, logits
    metadata = {"format": "pt", "torch": torch.__version__}
    save_file(model.state_dict(), folder / "unet.safetensors", metadata)
    save_file({"input": pixels, "logits": logits}, folder / "logits.safetensors", metadata)


def check(path, seeds):
    state = load_file(path)
    width = state["downs.0.conv.0.weight"].shape[0]
    model = UNet(width, state["out_conv.weight"].shape[0])
    model.load_state_dict(state, strict=True)
    model.eval()
    with torch.no_grad():
        logits = [model(image(seed)).flatten().tolist() for seed in seeds]
    print(json.dumps({"torch": torch.__version__, "tensors": len(state), "logits": logits}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case ["check", path, *seeds]:
            check(path, [int(seed) for seed in seeds])
        case _:
            sys.exit(__doc__)
