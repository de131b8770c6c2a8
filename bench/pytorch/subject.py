"""One training step of each variant, on the weights and batches that Snug wrote."""

import json
import time

import torch
import torch._functorch.config as functorch_config
import torch.nn.functional as F

from unet import UNet

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
DTYPES = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}


def load_safetensors(path):
    """Tensors by name. The format is a JSON header and bytes, so no package is needed."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        tensor = torch.frombuffer(data, dtype=dtype, offset=start, count=(end - start) // dtype.itemsize)
        tensors[name] = tensor.reshape(entry["shape"])
    return tensors


def segmentation_loss(logits, masks):
    """Half cross-entropy, half soft Dice, of logits `[N, 1, H, W]` and masks `[N, H, W]` of 0 and 1."""
    logits, target = logits.float(), masks.unsqueeze(1).float()
    p = torch.sigmoid(logits)
    total = p.sum((2, 3)) + target.sum((2, 3))
    dice = (2 * (p * target).sum((2, 3)) + 1e-7) / (total + 1e-7)
    return 0.5 * F.binary_cross_entropy_with_logits(logits, target) + 0.5 * (1 - dice.mean())


def set_up_torch(spec):
    torch.set_num_threads(spec["threads"])
    tf32 = spec["precision"] == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    # The script leaves the search off; tuned programs turn it on.
    torch.backends.cudnn.benchmark = spec["implementation"] != "pytorch-script"


class Subject:
    """A model that trains on one batch after another."""

    def __init__(self, spec):
        set_up_torch(spec)
        self.variant = spec["implementation"]
        self.device = torch.device(spec["device"])
        self.memory_format = (
            torch.channels_last if spec["memory_format"] == "channels-last" else torch.contiguous_format
        )
        self.dtype = AUTOCAST.get(spec["precision"])
        model = UNet(spec["width"], 1, checkpointing=self.variant == "pytorch-checkpoint")
        model.load_state_dict(load_safetensors(spec["weights"]), strict=True)
        self.model = model.to(self.device, memory_format=self.memory_format).train()
        self.forward = self.model
        if self.variant.startswith("pytorch-compile"):
            if self.variant == "pytorch-compile-budget":
                functorch_config.activation_memory_budget = 0.5
            self.forward = torch.compile(self.model)
        fused = self.variant != "pytorch-script"
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=spec["lr"], weight_decay=spec["weight_decay"], fused=fused or None
        )
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=spec["init_scale"], enabled=spec["precision"] == "fp16"
        )
        batches = load_safetensors(spec["batches"])
        count = len(batches) // 2
        self.batches = [
            (batches[f"images.{i}"].to(self.device), batches[f"masks.{i}"].to(self.device)) for i in range(count)
        ]
        self.next = 0

    def step(self):
        """Run one step; return the loss on its device."""
        pixels, masks = self.batches[self.next]
        self.next = (self.next + 1) % len(self.batches)
        images = pixels.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=self.memory_format)
        # No weight is used twice in a forward, so cached casts would only cost memory.
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None, cache_enabled=False):
            logits = self.forward(images)
        loss = segmentation_loss(logits, masks)
        del logits, images
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss.detach()
        if self.variant == "pytorch-script":
            loss.item()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return loss

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def losses(self, count):
        return [self.step().item() for _ in range(count)]

    def times(self, count):
        """Milliseconds of each step on the CPU; on CUDA, one mean over all steps."""
        self.synchronize()
        if self.device.type == "cuda":
            start = time.perf_counter()
            for _ in range(count):
                self.step()
            self.synchronize()
            return [1e3 * (time.perf_counter() - start) / count]
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.step()
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def peak(self):
        """Tensor bytes before a step and at its peak, and the bytes that the allocator reserves."""
        if self.device.type == "cuda":
            held = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.step()
            self.synchronize()
            return held, torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)
        tensors = list(self.model.state_dict().values()) + [t for batch in self.batches for t in batch]
        tensors += [t for state in self.optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
        held = level = peak = sum(t.numel() * t.element_size() for t in tensors)
        with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            self.step()
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                level += event.nbytes()
                peak = max(peak, level)
        return held, peak, None
