"""Train U-Nets as large as a GPU allows: what fits, before anything runs.

These functions need no torch and touch no GPU, except that they ask NVML for its memory. The program is `python -m snug`.

>>> import snug
>>> snug.plan(memory="8GiB", img_size=(512, 512)).batch
10
"""

from __future__ import annotations

import json
import operator
import os
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from snug import _snug, _types
from snug._snug import __version__ as __version__
from snug._types import *

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["plan", "predict_memory", "suggest"]
__all__ += _types.__all__


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

    `vram` is the free memory of a card (such as `"8GiB"`, or a number of bytes), and `gpu` is its name (such as
    `"RTX 3060"`). Without them, the recipe is for the GPU found here, or else for the CPU, as with `device="cpu"`.

    `goal` asks for the guide's batch, as fast as fits (`balance`); for the same batch in the least memory, at most a
    third slower (`memory`); or for the most images per second (`speed`). An optimizer step takes `target_batch` images,
    which are accumulated if they do not fit at once; `max_batch` asks for the largest batch instead. `img_size` is
    `(height, width)`.

    Raises `SnugError` if a value is not accepted.
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

    The configuration starts from a preset (`best-balance`, `max-memory`, `speed`) or the default; then `config` applies,
    a mapping with the keys of a TOML file, and then `keys`. A key that is `None` is left out. `threads` asks for the CPU
    with this many of libtorch's threads. The other arguments are those of `suggest`.

    >>> step = snug.predict_memory(gpu="RTX 3060", batch=8, img_size=(512, 512), width=64)
    >>> print(step.predicted.allocated_bytes, step.peak_at.operation)

    Raises `SnugError` if a key or a value is not accepted, or if the step cannot be predicted.
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

    The arguments are those of `suggest`; `memory` is the free memory of the card, and without it and `gpu` the plan is
    for the GPU found here. The step is predicted with PyTorch's own operators, but in the order in which Snug runs it.
    Your loop also keeps the input of each checkpoint and frees some tensors later, so look at
    `torch.cuda.max_memory_allocated()` once, and pass less `memory` if that is too much. PyTorch's `checkpoint` updates
    the running statistics of batch norm twice per step, once in each forward pass.

    For the guide's U-Net, whose stages are `[*downs, bottleneck, *up_convs]`:

        from collections.abc import Callable, Iterable
        from functools import partial
        from itertools import count
        from typing import Any

        import torch
        from torch import Tensor
        from torch.nn.functional import binary_cross_entropy_with_logits
        from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

        import snug

        plan = snug.plan(memory="8GiB", img_size=(512, 512))

        def policy_of(keep: str) -> Callable[..., CheckpointPolicy]:
            num_convs = count(1)

            def policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
                is_conv = operator == torch.ops.aten.convolution.default
                is_kept = is_conv and (next(num_convs) % 2 == 0 or keep == "convs")
                return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE

            return policy

        def run(stage: snug.Stage, block: Callable[[Tensor], Tensor], x: Tensor) -> Any:
            if stage.action == "keep":
                return block(x)
            if stage.action == "checkpoint":
                return checkpoint(block, x, use_reentrant=False)
            contexts = partial(create_selective_checkpoint_contexts, policy_of(stage.keep))
            return checkpoint(block, x, use_reentrant=False, context_fn=contexts)

        # The U-Net's own `forward`, with a stage for each double convolution.
        def forward(self: Any, x: Tensor) -> Any:
            stages, skips = iter(plan.stages), []
            for down in self.downs:
                x = run(next(stages), down, x)
                skips.append(x)
                x = self.pool(x)
            x = run(next(stages), self.bottleneck, x)
            for up, conv, skip in zip(self.ups_tr, self.up_convs, reversed(skips)):
                x = run(next(stages), conv, torch.cat([up(x), skip], dim=1))
            return self.out_conv(x)

        # `batches` come from a `DataLoader(data, batch_size=plan.batch, shuffle=True, drop_last=True)`.
        def epoch(model: Any, optimizer: Any, scaler: Any, batches: Iterable[list[Tensor]]) -> None:
            if plan.channels_last:
                model.to(memory_format=torch.channels_last)
            dtype = getattr(torch, plan.amp_dtype) if plan.amp_dtype else None
            for number, (images, masks) in enumerate(batches, 1):
                with torch.autocast(plan.suggestion.device.kind, dtype, enabled=dtype is not None):
                    loss = binary_cross_entropy_with_logits(model(images), masks)
                scaler.scale(loss / plan.accumulation).backward()
                if number % plan.accumulation == 0:
                    scaler.step(optimizer)
                    scaler.update()
                    optimizer.zero_grad()

    `float16` needs the scaler: pass `torch.amp.GradScaler(enabled=plan.amp_dtype == "float16")`.

    Raises `SnugError` if a value is not accepted, or if nothing fits.
    """
    # The names of the arguments are those of the request.
    return _types.plan(_ask(_snug.plan, locals()))


def _ask(function: Callable[[str], str], request: Mapping[str, object]) -> dict[str, Any]:
    reply = json.loads(function(_object(request)))
    if "error" in reply:
        raise SnugError(reply["error"]["message"], reply["error"]["hint"])
    for note in reply["notes"]:
        warnings.warn(note, stacklevel=3)
    answer: dict[str, Any] = reply["answer"]
    return answer


def _object(values: Mapping[str, object]) -> str:
    """The values as a JSON object, without those that are `None`."""
    texts = {name: _json(name, value) for name, value in values.items() if value is not None}
    return "{" + ", ".join(f"{json.dumps(str(name))}: {text}" for name, text in texts.items()) + "}"


def _json(name: str, value: object) -> str:
    if name == "keys" and isinstance(value, Mapping):
        return _object(value)
    try:
        # Sizes are text with a unit; a number counts bytes.
        if name in ("vram", "memory") and not isinstance(value, (str, bool, float)):
            value = f"{_plain(value)}B"
        return json.dumps(value, allow_nan=False, default=_plain)
    except TypeError as error:
        raise SnugError(f"`{name}`: {error}") from error
    except ValueError as error:
        raise SnugError(f"`{name}` must be finite") from error


def _plain(value: Any) -> int | str:
    """A whole number of another library, or the text of a path."""
    if hasattr(value, "__index__"):
        return operator.index(value)
    if hasattr(value, "__fspath__"):
        return str(os.fspath(value))
    raise TypeError(f"a value of the type `{type(value).__name__}` is not accepted")
