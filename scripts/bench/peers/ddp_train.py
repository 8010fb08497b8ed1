"""Trains a ResNet for small images with PyTorch's DistributedDataParallel: the peer of `slicereduce train`.

The same network, recipe, augmentation and order of events as ours: images padded by 4, cropped at random and
mirrored, SGD with Nesterov's momentum, linear warm-up and cosine, an evaluation after each epoch. Images are
decoded once and kept in memory, which is in the peer's favour. One rank a process: RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT say which. Rank 0 prints a JSON object a line: after each epoch, and at the end.
"""

import argparse
import json
import math
import os
import time
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from ddp_step import counted_allreduce, replicate
from torch import nn
from torch.nn.functional import cross_entropy, pad, relu
from torchvision.io import ImageReadMode, decode_image

MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)
PADDING = 4


class Block(nn.Module):
    """Two convolutions; where it narrows, every second pixel and zeros for the new channels (option A)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride = stride
        self.added = out - channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x
        if self.added:
            front = self.added // 2
            shortcut = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, front, self.added - front))
        return relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))) + shortcut)


class SmallResNet(nn.Module):
    """He et al. 2015, section 4.2: 6n + 2 layers."""

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for stage, out in enumerate((16, 32, 64)):
            for number in range((depth - 2) // 6):
                blocks.append(Block(channels, out, 2 if stage > 0 and number == 0 else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.blocks(relu(self.bn1(self.conv1(x)))).mean((2, 3)))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="image folder with train/ and test/")
    parser.add_argument("--arch", default="resnet20", help="resnet and its depth, 6n + 2")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64, help="per rank")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--warmup-epochs", type=float, default=0.5)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: CPU autocast")
    parser.add_argument("--hook", default="none", metavar="none|bf16|fp16|powersgd-RANK")
    parser.add_argument("--bucket-mb", type=float, default=25, help="DDP's bucket_cap_mb")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def read_split(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, 3, H, W] bytes and [N] labels, classes in the order of their names."""
    images, labels = [], []
    for label, kind in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(kind.iterdir()):
            images.append(decode_image(str(file), ImageReadMode.RGB))
            labels.append(label)
    return torch.stack(images), torch.tensor(labels)


def normalized(images: torch.Tensor) -> torch.Tensor:
    floats = (images.float() / 255 - MEAN) / DEVIATION
    return floats.contiguous(memory_format=torch.channels_last)


def augmented(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image padded with zeros, cropped back at a random place, and mirrored half of the time."""
    count, _, height, width = images.shape
    padded = pad(images, (PADDING,) * 4)
    top = torch.randint(2 * PADDING + 1, (count, 1, 1), generator=generator)
    left = torch.randint(2 * PADDING + 1, (count, 1, 1), generator=generator)
    rows = top + torch.arange(height).view(1, -1, 1)
    columns = torch.arange(width).view(1, 1, -1).expand(count, 1, -1)
    mirrored = torch.rand((count, 1, 1), generator=generator) < 0.5
    columns = left + torch.where(mirrored, width - 1 - columns, columns)
    return padded[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)


def rate(step: int, total: int, steps_per_epoch: int, chosen: argparse.Namespace) -> float:
    warmup = chosen.warmup_epochs * steps_per_epoch
    if step < warmup:
        return chosen.lr * (step + 1) / warmup
    return chosen.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


@torch.no_grad()
def top1(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, rank: int, world_size: int) -> float:
    """Percent, each rank a share of the images. Collective."""
    model.eval()
    hits = torch.zeros(1, dtype=torch.int64)
    for batch in torch.arange(rank, len(labels), world_size).split(256):
        hits += (model(normalized(images[batch])).argmax(1) == labels[batch]).sum()
    model.train()
    dist.all_reduce(hits)
    return 100 * hits.item() / len(labels)


def average_statistics(model: nn.Module) -> None:
    """Batch norm's running statistics, over ranks. Collective."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= dist.get_world_size()


def train(chosen: argparse.Namespace) -> None:
    rank, world_size = dist.get_rank(), dist.get_world_size()
    images, labels = read_split(chosen.data / "train")
    test_images, test_labels = read_split(chosen.data / "test")
    torch.manual_seed(chosen.seed)
    depth = int(chosen.arch.removeprefix("resnet"))
    model = SmallResNet(depth, int(labels.max()) + 1).to(memory_format=torch.channels_last)
    replica = replicate(model, chosen.hook, chosen.bucket_mb)
    optimizer = torch.optim.SGD(
        replica.parameters(),
        lr=chosen.lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=chosen.weight_decay,
        fused=True,
    )
    order = torch.Generator().manual_seed(chosen.seed)
    augment = torch.Generator().manual_seed(1000 * chosen.seed + rank)
    global_batch = chosen.batch_size * world_size
    steps_per_epoch = len(labels) // global_batch
    total = chosen.epochs * steps_per_epoch
    train_s = 0.0
    for epoch in range(chosen.epochs):
        shuffled = torch.randperm(len(labels), generator=order)
        began = time.perf_counter()
        for number in range(steps_per_epoch):
            step = epoch * steps_per_epoch + number
            optimizer.param_groups[0]["lr"] = rate(step, total, steps_per_epoch, chosen)
            first = number * global_batch + rank * chosen.batch_size
            batch = shuffled[first : first + chosen.batch_size]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=chosen.precision == "bf16"):
                logits = replica(normalized(augmented(images[batch], augment)))
                loss = cross_entropy(logits, labels[batch])
            with counted_allreduce() as sent:
                loss.backward()
            optimizer.step()
        train_s += time.perf_counter() - began
        average_statistics(model)
        result = {"epoch": epoch, "top1": top1(model, test_images, test_labels, rank, world_size)}
        result |= {"train_s": round(train_s, 2), "steps": (epoch + 1) * steps_per_epoch}
        if rank == 0:
            print(json.dumps(result), flush=True)
    if rank == 0:
        dense_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
        wire_bytes = sum(sent) or dense_bytes  # of the last step; DDP without a hook isn't seen
        print(json.dumps({"hook": chosen.hook, "wire_bytes": wire_bytes, **result}), flush=True)


def main() -> None:
    chosen = options()
    torch.set_num_threads(chosen.threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # PowerSGD's hook waits for a card wherever it sees one
    # See ddp_step.py: the group's destructor can hang.
    try:
        dist.init_process_group("gloo")
        train(chosen)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
