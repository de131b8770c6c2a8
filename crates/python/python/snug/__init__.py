"""Train U-Nets as large as a GPU allows: what fits, before anything runs.

These functions need no torch and touch no GPU beyond asking NVML for its memory. The program is `python -m snug`.

>>> import snug
>>> snug.suggest(vram="8GiB").recommendation.batch
10
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from snug import _snug, _types
from snug._types import (
    Breakdown,
    Change,
    ConfigValue,
    Device,
    Guide,
    MemoryKeys,
    MemoryPrediction,
    Moment,
    Plan,
    Predicted,
    Recipe,
    SnugError,
    Stage,
    Suggestion,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Breakdown",
    "Change",
    "ConfigValue",
    "Device",
    "Guide",
    "MemoryKeys",
    "MemoryPrediction",
    "Moment",
    "Plan",
    "Predicted",
    "Recipe",
    "SnugError",
    "Stage",
    "Suggestion",
    "plan",
    "predict_memory",
    "suggest",
]

try:
    __version__ = version("snug")
except PackageNotFoundError:  # The folder is used without being installed.
    __version__ = "unknown"

Goal = Literal["balance", "memory", "speed"]


def suggest(
    *,
    vram: str | int | None = None,
    gpu: str | None = None,
    device: Literal["auto", "cpu"] = "auto",
    goal: Goal = "balance",
    max_batch: bool = False,
    target_batch: int | None = None,
    img_size: tuple[int, int] | None = None,
    width: int | None = None,
    in_channels: int | None = None,
    classes: int | None = None,
) -> Suggestion:
    """Recommend a recipe, as `snug suggest` does.

    Without `vram` (such as `"8GiB"`, or bytes) and `gpu` (such as `"RTX 3060"`) the GPU found here is asked.
    `goal` is the guide's batch as fast as fits (`balance`), the same batch in the least memory, at most a third slower
    (`memory`), or the most images per second (`speed`). `target_batch` images are accumulated if they do not fit at
    once; `max_batch` asks for the largest batch instead. `img_size` is `(height, width)`.

    Raises `SnugError` for a value that is not accepted.
    """
    # The names of the arguments are those of the request.
    return _types.suggestion(_ask(_snug.suggest, locals()))


def predict_memory(
    config: Mapping[str, ConfigValue] | None = None,
    *,
    preset: str | None = None,
    vram: str | int | None = None,
    gpu: str | None = None,
    device: Literal["auto", "cpu"] = "auto",
    threads: int | None = None,
    **keys: Unpack[MemoryKeys],
) -> MemoryPrediction:
    """Predict what a training step will hold in memory, operation by operation, as `snug explain` does.

    The configuration is a preset (`best-balance`, `max-memory`, `speed`) or the default, then `config`, a mapping with
    the keys of a TOML file, then `keys`. `threads` asks for the CPU with that many of libtorch's threads.

    >>> step = snug.predict_memory(gpu="RTX 3060", batch=8, img_size=(512, 512), width=64)
    >>> step.predicted.allocated_bytes, step.peak_at.operation

    Raises `SnugError` for a key or value that is not accepted, and for a step that cannot be predicted.
    """
    request = {
        "vram": vram,
        "gpu": gpu,
        "device": device,
        "threads": threads,
        "preset": preset,
        "keys": {**(config or {}), **keys},
    }
    return _types.memory_prediction(_ask(_snug.predict_memory, request))


def plan(
    *,
    memory: str | int | None = None,
    gpu: str | None = None,
    device: Literal["auto", "cpu"] = "auto",
    goal: Goal = "balance",
    max_batch: bool = False,
    target_batch: int | None = None,
    img_size: tuple[int, int] | None = None,
    width: int | None = None,
    in_channels: int | None = None,
    classes: int | None = None,
) -> Plan:
    """Find a recipe for your own training loop in PyTorch: batch, accumulation, AMP and what each stage keeps.

    The arguments are those of `suggest`; `memory` is what is free on the card, and without it and `gpu` the GPU found
    here is asked. The step is predicted with PyTorch's own operators, but in the order in which Snug runs it. Your loop
    also keeps the input of each checkpoint and frees some tensors later, so look at
    `torch.cuda.max_memory_allocated()` once, and pass less `memory` where that is too much.

    For the guide's U-Net, whose stages are `[*downs, bottleneck, *up_convs]`:

        from itertools import count
        import torch
        from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
        import snug

        plan = snug.plan(memory="8GiB", img_size=(512, 512))
        loader = DataLoader(data, batch_size=plan.batch, shuffle=True)

        def contexts(keep):
            num_convs = count(1)

            def policy(context, operator, *args, **kwargs):
                is_conv = operator == torch.ops.aten.convolution.default
                is_kept = is_conv and (next(num_convs) % 2 == 0 or keep == "convs")
                return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE

            return create_selective_checkpoint_contexts(policy)

        def run(stage, block, x):
            if stage.action == "keep":
                return block(x)
            if stage.action == "checkpoint":
                return checkpoint(block, x, use_reentrant=False)
            return checkpoint(block, x, use_reentrant=False, context_fn=lambda: contexts(stage.keep))

        def forward(self, x):
            stages, skips = iter(plan.stages), []
            for down in self.downs:
                x = run(next(stages), down, x)
                skips.append(x)
                x = self.pool(x)
            x = run(next(stages), self.bottleneck, x)
            for up, conv, skip in zip(self.ups_tr, self.up_convs, reversed(skips)):
                x = run(next(stages), conv, torch.cat([up(x), skip], dim=1))
            return self.out_conv(x)

    Call `optimizer.step()` after every `plan.accumulation` batches. Under AMP, use
    `torch.autocast("cuda", getattr(torch, plan.amp_dtype))`, with a `GradScaler` for `float16`.

    Raises `SnugError` for a value that is not accepted, and if nothing fits.
    """
    # The names of the arguments are those of the request.
    return _types.plan(_ask(_snug.plan, locals()))


def _ask(function: Callable[[str], str], request: Mapping[str, object]) -> dict[str, Any]:
    # Sizes are text with a unit; a number counts bytes.
    sizes = {name: f"{size}B" for name, size in request.items() if name in ("vram", "memory") and isinstance(size, int)}
    try:
        text = json.dumps({**request, **sizes})
    except TypeError as error:
        raise SnugError(f"a value of the wrong type: {error}") from error
    reply = json.loads(function(text))
    if "error" in reply:
        raise SnugError(reply["error"]["message"], reply["error"]["hint"])
    for note in reply["notes"]:
        warnings.warn(note, stacklevel=3)
    answer: dict[str, Any] = reply["answer"]
    return answer
