"""Times a training step of PyTorch on one card: the peer of `slicereduce bench step --device cuda`.

With the settings that are best for it: channels_last, bf16 autocast, cuDNN choosing by measurement, SGD's
fused implementation, gradients dropped instead of zeroed, synthetic images that are made once, and
nothing that waits for the card inside a step. Prints one JSON object on one line: step_ms is the median
over blocks of the mean of `--steps` steps, with one wait at the end of each.
"""

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch.nn.functional import cross_entropy

COMPILE = ("off", "default", "reduce-overhead")
BEFORE_CAPTURE = 3  # steps in which libraries take what they keep


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet50", help="a torchvision classification network")
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="bf16: autocast")
    parser.add_argument("--compile", choices=COMPILE, default="off", help="torch.compile, and its mode")
    parser.add_argument("--graph", action="store_true", help="the whole step as one CUDA graph")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a block")
    parser.add_argument("--warmup", type=int, default=10, help="steps before them")
    parser.add_argument("--device", default="cuda", help="cpu: to try this out")
    return parser.parse_args()


def make_step(chosen: argparse.Namespace) -> Callable[[], torch.Tensor]:
    torch.manual_seed(0)
    device = torch.device(chosen.device)
    model = torchvision.models.get_model(chosen.arch, num_classes=chosen.num_classes)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    shape = (chosen.batch_size, 3, chosen.image_size, chosen.image_size)
    images = torch.randn(shape).to(device, memory_format=torch.channels_last)
    labels = torch.randint(chosen.num_classes, (chosen.batch_size,)).to(device)
    if chosen.compile != "off":
        model = torch.compile(model, mode=chosen.compile)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=chosen.precision == "bf16"):
            loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def capture(step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The same step, given to the card at once."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(BEFORE_CAPTURE):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return loss

    return replay


def forget_peak() -> None:
    """What cuDNN has taken to try its kernels is no part of a step."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def timed_blocks(chosen: argparse.Namespace) -> list[float]:
    """Milliseconds of a step, of each block."""
    on_card = chosen.device == "cuda"
    wait = torch.cuda.synchronize if on_card else contextlib.nullcontext
    step = make_step(chosen)
    for _ in range(chosen.warmup):
        step()
    wait()
    if on_card:
        forget_peak()
    if chosen.graph:
        step = capture(step)
    times = []
    for _ in range(chosen.blocks):
        start = time.perf_counter()
        for _ in range(chosen.steps):
            loss = step()
        wait()
        times.append(1e3 * (time.perf_counter() - start) / chosen.steps)
    if not torch.isfinite(loss):
        raise SystemExit(f"the loss is {loss.item()}")
    return times


def main() -> None:
    chosen = options()
    torch.backends.cudnn.benchmark = True
    times = timed_blocks(chosen)
    step_ms = statistics.median(times)
    line = {
        "peer": "pytorch",
        "torch": torch.__version__,
        **vars(chosen),
        "step_ms": step_ms,
        "images_per_s": 1e3 * chosen.batch_size / step_ms,
        "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if chosen.device == "cuda" else 0,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
