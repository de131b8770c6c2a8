"""Makes files with `torch.save` that Snug reads without Python (torch 2.11.0).

    python tests/reference/state_dict.py make tests/reference/fixtures
        Writes `checkpoint.pt`: the state dict of a network of width 1 and other values, as scripts
        save them, with convolutions in channels-last.
    python tests/reference/state_dict.py write FOLDER
        Writes the same network in several forms, and files that Snug must refuse.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "pytorch"))
from unet import UNet  # noqa: E402  the network of the benchmarks; this file is a program

assert torch.__version__.startswith("2.11.0"), torch.__version__


def network():
    """Every value follows from its position, so that the Rust test knows all of them."""
    model = UNet(1, 1)
    with torch.no_grad():
        for place, tensor in enumerate(model.state_dict().values()):
            index = torch.arange(tensor.numel())
            values = (index * 31 + place * 17) % 101
            if tensor.is_floating_point():
                values = values / 64 - 0.5
            tensor.copy_(values.reshape(tensor.shape))
    return model


def checkpoint(model):
    return {
        "epoch": 3,
        "best": 0.5,
        "name": "balloons",
        "nothing": None,
        "flags": [True, False, (1, 2, 3, 4), 2**40],
        "size": torch.Size([1, 2]),
        "model_state_dict": model.state_dict(),
    }


def make(folder):
    model = network().to(memory_format=torch.channels_last)
    torch.save(checkpoint(model), folder / "checkpoint.pt")


def write(folder):
    model = network()
    torch.save(model.state_dict(), folder / "plain.pth")
    torch.save(torch.nn.DataParallel(model).state_dict(), folder / "parallel.pt")
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(1, 3, 32, 48)).sum().backward()
    optimizer.step()
    whole = checkpoint(network()) | {"optimizer_state_dict": optimizer.state_dict()}
    torch.save(whole, folder / "optimizer.pt")
    # All tensors are views of one storage.
    flat = torch.cat([v.float().reshape(-1) for v in network().state_dict().values()])
    views, at = {}, 0
    for name, tensor in network().state_dict().items():
        views[name] = flat[at : at + tensor.numel()].view(tensor.shape)
        at += tensor.numel()
        if not tensor.is_floating_point():
            views[name] = tensor
    torch.save(views, folder / "views.pt")
    # These values are exact in half precision.
    torch.save(network().half().state_dict(), folder / "half.pt")

    torch.save(network(), folder / "module.pt")
    torch.save(whole | {"args": argparse.Namespace(lr=1)}, folder / "namespace.pt")
    torch.save(network().state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), folder / "script.pt")
    torch.save([1, 2], folder / "list.pt")


{"make": make, "write": write}[sys.argv[1]](Path(sys.argv[2]))
