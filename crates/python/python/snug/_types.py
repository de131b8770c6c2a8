"""The answers of the advisor as frozen dataclasses. Sizes are bytes; `None` means not predicted or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

__all__ = [
    "Breakdown",
    "Change",
    "CheckpointPolicy",
    "ConfigValue",
    "Device",
    "Goal",
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
]

Goal = Literal["balance", "memory", "speed"]
CheckpointPolicy = Literal["off", "selective", "block", "stage", "mixed"]

_Scalar = bool | int | float | str
ConfigValue = _Scalar | Sequence[_Scalar] | Mapping[str, _Scalar | Sequence[_Scalar]] | None
"""A value of a TOML file, where a mapping is a table such as `[classes]`. `None` leaves a key out."""


class SnugError(ValueError):
    """A request that cannot be answered, with the program's message. `hint` says what to do, if that is known."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.hint is None else f"{message}\nhint: {self.hint}"


class MemoryKeys(TypedDict, total=False):
    """The keys of a configuration that decide what a step holds in memory. Sizes are `(height, width)`.

    `None` leaves a key out.
    """

    img_size: tuple[int, int]
    width: int
    in_channels: int
    classes: int
    batch: int
    accumulation: int
    use_amp: bool
    amp_dtype: Literal["auto", "fp16", "bf16"]
    use_grad_checkpoint: bool
    grad_checkpoint_policy: CheckpointPolicy
    grad_checkpoint_plan: str | Sequence[str] | None
    use_channels_last: bool
    split_concat: bool
    exact_kernels: bool
    ignore: Sequence[int | str]


@dataclass(frozen=True)
class Device:
    """Where a step would run. A recipe may use `budget_bytes`, which is less than `free_bytes`."""

    kind: Literal["cuda", "cpu"]
    source: Literal["given", "nvml"]
    name: str | None
    uuid: str | None
    index: int | None
    total_bytes: int | None
    free_bytes: int | None
    budget_bytes: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Predicted:
    """What a step costs. `total_bytes` is what the driver would show, with the CUDA context."""

    allocated_bytes: int
    reserved_bytes: int | None
    total_bytes: int | None
    images_per_second: float | None


@dataclass(frozen=True)
class Recipe:
    """How to run a step; the names are keys of a configuration. `when` says when to take an alternative."""

    preset: str | None
    img_size: tuple[int, int]
    width: int
    in_channels: int
    classes: int
    batch: int
    accumulation: int
    use_amp: bool
    amp_dtype: Literal["auto", "fp16", "bf16"]
    use_grad_checkpoint: bool
    grad_checkpoint_policy: CheckpointPolicy
    grad_checkpoint_plan: tuple[str, ...] | None
    split_concat: bool
    use_channels_last: bool
    command: str
    predicted: Predicted
    when: str | None = None

    @property
    def keys(self) -> MemoryKeys:
        """The keys that decide its memory, for `predict_memory(**recipe.keys)`."""
        return {
            "img_size": self.img_size,
            "width": self.width,
            "in_channels": self.in_channels,
            "classes": self.classes,
            "batch": self.batch,
            "accumulation": self.accumulation,
            "use_amp": self.use_amp,
            "amp_dtype": self.amp_dtype,
            "use_grad_checkpoint": self.use_grad_checkpoint,
            "grad_checkpoint_policy": self.grad_checkpoint_policy,
            "grad_checkpoint_plan": self.grad_checkpoint_plan,
            "split_concat": self.split_concat,
            "use_channels_last": self.use_channels_last,
        }


@dataclass(frozen=True)
class Guide:
    """The guide's own recipe for such a device, where the search starts."""

    source: str
    recipe: Recipe
    fits: bool


@dataclass(frozen=True)
class Change:
    """A key in which the recommendation differs from the guide, and why."""

    what: str
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Suggestion:
    """What `snug suggest` finds. `recommendation` is `None` if nothing fits."""

    device: Device
    guide: Guide
    recommendation: Recipe | None
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    alternatives: tuple[Recipe, ...]
    json: Mapping[str, Any] = field(repr=False, compare=False)
    """The object that `snug suggest --json` prints."""


@dataclass(frozen=True)
class Breakdown:
    """What the peak consists of."""

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    transients_bytes: int
    workspace_bytes: int | None
    context_bytes: int | None


@dataclass(frozen=True)
class Moment:
    """An operation of the step. `allocated_bytes` is what is held during it; for the peak, see `predicted`."""

    operation: str
    phase: Literal["forward", "backward"] | None
    allocated_bytes: int | None = None


@dataclass(frozen=True)
class MemoryPrediction:
    """What a training step will hold in memory, and when."""

    predicted: Predicted
    breakdown: Breakdown
    peak_at: Moment
    timeline: tuple[Moment, ...]
    config: Mapping[str, Any]
    device: Mapping[str, Any]
    json: Mapping[str, Any] = field(repr=False, compare=False)
    """The object that `snug explain --json` prints."""


@dataclass(frozen=True)
class Stage:
    """What to keep of a stage of the U-Net: a double convolution, with the operations that lead to it."""

    name: str
    keep: Literal["everything", "convs", "last-conv", "nothing"]

    @property
    def action(self) -> Literal["keep", "selective", "checkpoint"]:
        """How to call the stage.

        `keep` calls it as usual; `checkpoint` calls it in `torch.utils.checkpoint.checkpoint`; `selective` does so with
        a context that keeps the outputs of both convolutions (`convs`) or of the second one only (`last-conv`).
        """
        if self.keep == "everything":
            return "keep"
        return "checkpoint" if self.keep == "nothing" else "selective"


@dataclass(frozen=True)
class Plan:
    """A recipe for a training loop in PyTorch. See `snug.plan`.

    `amp_dtype` is the name of a dtype of torch, or `None` without AMP; `float16` needs a `GradScaler`.
    """

    batch: int
    accumulation: int
    amp_dtype: Literal["float16", "bfloat16"] | None
    channels_last: bool
    stages: tuple[Stage, ...]
    predicted: Predicted
    suggestion: Suggestion = field(repr=False)


def suggestion(value: Mapping[str, Any]) -> Suggestion:
    """Reads the object of `snug suggest --json`."""
    guide, best, device = value["guide"], value["recommendation"], value["device"]
    return Suggestion(
        device=Device(**{**device, "notes": tuple(device["notes"])}),
        guide=Guide(guide["source"], _recipe(guide["recipe"]), guide["fits"]),
        recommendation=None if best is None else _recipe(best),
        changes=tuple(Change(it["what"], it["from"], it["to"], it["why"]) for it in value["changes"]),
        warnings=tuple(value["warnings"]),
        alternatives=tuple(_recipe(it) for it in value["alternatives"]),
        json=value,
    )


def memory_prediction(value: Mapping[str, Any]) -> MemoryPrediction:
    """Reads the object of `snug explain --json`."""
    return MemoryPrediction(
        predicted=Predicted(**value["predicted"]),
        breakdown=Breakdown(**value["breakdown"]),
        peak_at=Moment(**value["peak_at"]),
        timeline=tuple(Moment(**it) for it in value["timeline"]),
        config=value["config"],
        device=value["device"],
        json=value,
    )


_TORCH_NAMES: Mapping[str, Literal["float16", "bfloat16"]] = {"fp16": "float16", "bf16": "bfloat16"}


def plan(value: Mapping[str, Any]) -> Plan:
    """Reads the answer of `_snug.plan`, which always has a recommendation."""
    found = suggestion(value["suggestion"])
    recipe = _recipe(value["suggestion"]["recommendation"])
    return Plan(
        batch=recipe.batch,
        accumulation=recipe.accumulation,
        amp_dtype=_TORCH_NAMES.get(value["precision"]),
        channels_last=recipe.use_channels_last,
        stages=tuple(Stage(**it) for it in value["stages"]),
        predicted=recipe.predicted,
        suggestion=found,
    )


def _recipe(value: Mapping[str, Any]) -> Recipe:
    height, width = value["img_size"]
    stages = value["grad_checkpoint_plan"]
    typed = {
        "img_size": (height, width),
        "grad_checkpoint_plan": None if stages is None else tuple(stages),
        "predicted": Predicted(**value["predicted"]),
    }
    return Recipe(**{**value, **typed})
