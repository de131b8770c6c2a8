"""An epoch over image files, both as the guide's script does it and as its users tune it."""

import random
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from subject import AUTOCAST, load_safetensors, segmentation_loss, set_up_torch
from unet import UNet


SUFFIXES = (".png", ".jpg", ".jpeg")


def to_tensor(image):
    """A Pillow image as bytes, `[H, W, C]`."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(image.height, image.width, -1)


class Pages(Dataset):
    """Resized `images/STEM.*` and `masks/STEM_mask.png`, with random flips, quarter turns and brightness."""

    def __init__(self, folder, size, augment):
        from PIL import Image

        self.open, self.bilinear, self.nearest = Image.open, Image.BILINEAR, Image.NEAREST
        files = (Path(folder) / "images").iterdir()
        self.images = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
        self.masks = Path(folder) / "masks"
        self.size = size
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        path = self.images[index]
        height, width = self.size
        image = self.open(path).convert("RGB").resize((width, height), self.bilinear)
        mask = self.open(self.masks / f"{path.stem}_mask.png").convert("L").resize((width, height), self.nearest)
        image = to_tensor(image).permute(2, 0, 1).float().div_(255)
        mask = (to_tensor(mask)[..., 0] > 127).to(torch.uint8)
        if self.augment:
            for axis in (1, 2):
                if random.random() < 0.5:
                    image, mask = image.flip(axis), mask.flip(axis - 1)
            if height == width and random.random() < 0.5:
                image, mask = image.transpose(1, 2), mask.transpose(0, 1)
            image = (image - 0.5) * random.uniform(0.95, 1.05) + 0.5 + random.uniform(-5 / 255, 5 / 255)
            image = image.clamp(0, 1)
        return image.contiguous(), mask.contiguous()


class Epochs:
    """`pytorch-script` has no workers; other variants have persistent workers, and pinned memory on CUDA."""

    def __init__(self, spec):
        set_up_torch(spec)
        self.script = spec["implementation"] == "pytorch-script"
        self.device = torch.device(spec["device"])
        self.dtype = AUTOCAST.get(spec["precision"])
        self.memory_format = (
            torch.channels_last if spec["memory_format"] == "channels-last" else torch.contiguous_format
        )
        model = UNet(spec["width"], 1)
        model.load_state_dict(load_safetensors(spec["weights"]), strict=True)
        self.model = model.to(self.device, memory_format=self.memory_format)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=spec["lr"], weight_decay=spec["weight_decay"], fused=not self.script or None
        )
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=spec["init_scale"], enabled=spec["precision"] == "fp16"
        )
        workers = 0 if self.script else spec["workers"]
        options = {
            "batch_size": spec["batch"],
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": not self.script and self.device.type == "cuda",
        }
        data = Path(spec["data"])
        self.train = DataLoader(Pages(data / "train", spec["img_size"], True), shuffle=True, **options)
        self.val = DataLoader(Pages(data / "val", spec["img_size"], False), **options)

    def batch(self, images, masks):
        there = {"device": self.device, "non_blocking": not self.script}
        return images.to(memory_format=self.memory_format, **there), masks.to(**there)

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None, cache_enabled=False)

    def train_epoch(self):
        self.model.train()
        waited, total, asked = 0.0, 0.0, time.perf_counter()
        for images, masks in self.train:
            waited += time.perf_counter() - asked
            images, masks = self.batch(images, masks)
            with self.autocast():
                logits = self.model(images)
            loss = segmentation_loss(logits, masks)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
            if self.script:
                total += loss.item()
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
            else:
                total += loss.detach()
            asked = time.perf_counter()
        return float(total) / max(1, len(self.train)), waited

    @torch.no_grad()
    def validate(self):
        """The loss and the IoU at 0.5. The IoU at all 101 thresholds is computed, to find the best one."""
        self.model.eval()
        iou_of = self.iou_one_by_one if self.script else self.iou_counted
        scores, loss_sum, count = torch.zeros(101, device=self.device), 0.0, 0
        for images, masks in self.val:
            images, masks = self.batch(images, masks)
            with self.autocast():
                logits = self.model(images)
            loss = segmentation_loss(logits, masks) * len(masks)
            loss_sum += loss.item() if self.script else loss
            scores += iou_of(torch.sigmoid(logits.float())[:, 0], masks.bool())
            count += len(masks)
        return float(loss_sum) / count, (scores / count)[50].item()

    def iou_one_by_one(self, probabilities, targets):
        """The IoU at each threshold from a mask per threshold, as in the script."""
        thresholds = torch.linspace(0, 1, 101, device=self.device).view(-1, 1, 1)
        scores = torch.zeros(101, device=self.device)
        for p, t in zip(probabilities, targets):
            predicted = p.unsqueeze(0) > thresholds
            both = (predicted & t).sum((1, 2)).float()
            either = (predicted | t).sum((1, 2)).float()
            scores += (both + 1e-7) / (either + 1e-7)
        return scores

    def iou_counted(self, probabilities, targets):
        """The same IoU from one count of the pixels between neighbouring thresholds."""
        scores = torch.zeros(101, device=self.device)
        steps = (probabilities * 100).ceil().long().clamp_(0, 101)
        for step, t in zip(steps, targets):
            # A pixel in step k is above the thresholds before the k-th.
            above = torch.bincount(step.flatten(), minlength=102).flip(0).cumsum(0).flip(0)[1:].float()
            hits = torch.bincount(step[t], minlength=102).flip(0).cumsum(0).flip(0)[1:].float()
            scores += (hits + 1e-7) / (above + t.sum() - hits + 1e-7)
        return scores

    def epoch(self):
        """One epoch: the seconds of training, validation and waiting for data, and the results."""
        start = time.perf_counter()
        train_loss, waited = self.train_epoch()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        trained = time.perf_counter()
        val_loss, iou = self.validate()
        return {
            "train_s": trained - start,
            "val_s": time.perf_counter() - trained,
            "data_wait_s": waited,
            "images": len(self.train.dataset),
            "val_images": len(self.val.dataset),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "iou": iou,
        }
