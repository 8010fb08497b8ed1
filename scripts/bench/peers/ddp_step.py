"""Times a training step of PyTorch's DistributedDataParallel: the peer of `slicereduce bench step`.

Starts its ranks itself on 127.0.0.1, or is one of them where RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
are set. With the settings that are best for it here: channels_last, gradients as
views of their buckets, no broadcast of buffers, SGD's fused implementation, no graph kept, synthetic images
that are made once, on cards cuDNN choosing by measurement. Prints one JSON object on one line. A step's time
is the slowest rank's, peak_memory_bytes the largest rank's, and wire_bytes what a rank hands to AllReduce in
a step.
"""

import argparse
import contextlib
import itertools
import json
import os
import socket
import statistics
import time
import traceback
from collections.abc import Iterator
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision
from ddp_hooks import DENSE_POWERSGD_STEPS, NAMES, is_name, is_powersgd, register
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

PHASES = ("forward", "backward", "optimizer")
ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet18", help="a torchvision classification network")
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16, help="per rank")
    parser.add_argument("--world-size", type=int, help="default: that of the environment, or 2")
    parser.add_argument("--steps", type=int, default=30, help="timed steps")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: autocast")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backend", choices=("gloo", "nccl"), help="default: gloo, on cards nccl")
    parser.add_argument("--hook", default="none", metavar=NAMES)
    parser.add_argument("--bucket-mb", type=float, default=25, help="DDP's bucket_cap_mb")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads per rank")
    parser.add_argument("--sgd", choices=("foreach", "fused"), default="fused")
    chosen = parser.parse_args()
    if is_a_rank() and chosen.world_size not in (None, int(os.environ["WORLD_SIZE"])):
        parser.error(f"--world-size {chosen.world_size}: WORLD_SIZE is {os.environ['WORLD_SIZE']}")
    chosen.backend = chosen.backend or ("nccl" if chosen.device == "cuda" else "gloo")
    if chosen.backend == "nccl" and chosen.device == "cpu":
        parser.error("--backend nccl needs --device cuda")
    chosen.world_size = chosen.world_size or int(os.environ["WORLD_SIZE"] if is_a_rank() else 2)
    if not is_name(chosen.hook):
        parser.error(f"--hook {chosen.hook}: expected {NAMES}")
    if min(chosen.steps, chosen.world_size, chosen.batch_size, chosen.threads) < 1 or chosen.warmup < 0:
        parser.error("--steps, --world-size, --batch-size and --threads must be positive")
    if is_powersgd(chosen.hook) and chosen.warmup <= DENSE_POWERSGD_STEPS:
        parser.error(f"--warmup {chosen.warmup}: PowerSGD needs more than {DENSE_POWERSGD_STEPS}")
    return chosen


def is_a_rank() -> bool:
    """Whether somebody else has started the ranks, and this is one of them."""
    return all(name in os.environ for name in ENVIRONMENT)


def replicate(model: torch.nn.Module, hook: str, bucket_mb: float) -> DistributedDataParallel:
    # Batch norm's statistics needn't travel at every step, and ours don't.
    replica = DistributedDataParallel(
        model, gradient_as_bucket_view=True, broadcast_buffers=False, bucket_cap_mb=bucket_mb
    )
    register(replica, hook, bucket_mb)
    return replica


@contextlib.contextmanager
def counted_allreduce() -> Iterator[list[int]]:
    """The bytes of each tensor that a hook hands to AllReduce. DDP without a hook goes past this function."""
    sent: list[int] = []
    allreduce = dist.all_reduce

    def counting(tensor: torch.Tensor, *args: object, **kwargs: object) -> dist.Work | None:
        sent.append(tensor.numel() * tensor.element_size())
        return allreduce(tensor, *args, **kwargs)

    with mock.patch.object(dist, "all_reduce", counting):
        yield sent


def timed_steps(
    replica: DistributedDataParallel, chosen: argparse.Namespace, rank: int
) -> tuple[torch.Tensor, int]:
    """[steps, 1 + phases] milliseconds: the whole step, then its phases; and a step's bytes. Collective."""
    generator = torch.Generator().manual_seed(rank)
    shape = (chosen.batch_size, 3, chosen.image_size, chosen.image_size)
    images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(chosen.num_classes, (chosen.batch_size,), generator=generator)
    images, labels = images.to(chosen.device), labels.to(chosen.device)
    # fused: 287 and 285 ms a step against 296 and 298 with foreach (ResNet-18 at 64x64, batch 16, 2 ranks
    # of 1 thread on an AMD EPYC of Zen 4 class).
    how = {chosen.sgd: True}
    optimizer = torch.optim.SGD(replica.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, **how)

    def timed_step() -> list[float]:
        marks = [time.perf_counter()]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(chosen.device, dtype=torch.bfloat16, enabled=chosen.precision == "bf16"):
            loss = cross_entropy(replica(images), labels)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        if chosen.device == "cuda":
            torch.cuda.synchronize()  # once a step, as ours waits; the phases before are launches alone
        marks.append(time.perf_counter())
        spans = [after - before for before, after in itertools.pairwise(marks)]
        return [1e3 * span for span in (marks[-1] - marks[0], *spans)]

    for _ in range(chosen.warmup):
        timed_step()
    with counted_allreduce() as sent:
        times = torch.tensor([timed_step() for _ in range(chosen.steps)])
    gradient_bytes = sum(p.numel() * p.element_size() for p in replica.parameters() if p.requires_grad)
    return times, gradient_bytes if chosen.hook == "none" else sum(sent) // chosen.steps


def peak_memory_bytes() -> int:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def report(slowest: torch.Tensor, counts: dict[str, int], chosen: argparse.Namespace) -> dict:
    step = slowest[:, 0]
    step_ms = statistics.median(step.tolist())
    phases = {
        f"{phase}_ms": round(column.median().item(), 3)
        for phase, column in zip(PHASES, slowest[:, 1:].T, strict=True)
    }
    return {
        "peer": "pytorch-ddp",
        "torch": torch.__version__,
        **vars(chosen),
        "step_ms": round(step_ms, 3),
        "step_ms_p10": round(step.quantile(0.1).item(), 3),
        "step_ms_p90": round(step.quantile(0.9).item(), 3),
        **phases,
        "images_per_s": round(1e3 * chosen.batch_size * chosen.world_size / step_ms, 2),
        **counts,
    }


def start_group(chosen: argparse.Namespace) -> None:
    """As the environment says. Ranks that share a card are hosts of their own to NCCL, which refuses two."""
    if chosen.device == "cpu":
        # PowerSGD's hook waits for a card wherever it sees one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        dist.init_process_group("gloo")
        return
    torch.backends.cudnn.benchmark = True
    rank, cards = int(os.environ["RANK"]), torch.cuda.device_count()
    torch.cuda.set_device(rank % cards)
    if chosen.world_size > cards:
        os.environ.setdefault("NCCL_HOSTID", f"rank {rank}")
    # As ours: what slow links want. NCCL chooses by the speed that it believes them to have.
    os.environ.setdefault("NCCL_ALGO", "Ring")
    os.environ.setdefault("NCCL_PROTO", "Simple")
    dist.init_process_group(f"cpu:gloo,cuda:{chosen.backend}")


def measure(chosen: argparse.Namespace) -> None:
    torch.set_num_threads(chosen.threads)
    start_group(chosen)
    torch.manual_seed(0)
    model = torchvision.models.get_model(chosen.arch, num_classes=chosen.num_classes)
    model = model.to(chosen.device, memory_format=torch.channels_last)
    times, wire_bytes = timed_steps(replicate(model, chosen.hook, chosen.bucket_mb), chosen, dist.get_rank())
    # In host memory, so that no rank leaves before they have arrived.
    dist.all_reduce(times, dist.ReduceOp.MAX)
    on_card = torch.cuda.max_memory_allocated() if chosen.device == "cuda" else 0
    memory = torch.tensor([peak_memory_bytes(), on_card])
    dist.all_reduce(memory, dist.ReduceOp.MAX)
    if dist.get_rank() == 0:
        counts = {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "wire_bytes": wire_bytes,
            "peak_memory_bytes": int(memory[0]),
            "peak_device_memory_bytes": int(memory[1]),
        }
        print(json.dumps(report(times, counts, chosen)), flush=True)


def run_rank(chosen: argparse.Namespace) -> None:
    # The process isn't left by destroy_process_group, nor by an exception: the group's destructor joins a
    # thread that may wait for the GIL, which it holds itself (PyTorch 2.11, gloo), and hangs for good.
    try:
        measure(chosen)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run_spawned_rank(rank: int, port: int, chosen: argparse.Namespace) -> None:
    values = (str(rank), str(chosen.world_size), "127.0.0.1", str(port))
    os.environ |= dict(zip(ENVIRONMENT, values, strict=True))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    run_rank(chosen)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    chosen = options()
    # Before the ranks start: OpenMP reads it when it is loaded.
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    if is_a_rank():
        run_rank(chosen)
    mp.spawn(run_spawned_rank, args=(free_port(), chosen), nprocs=chosen.world_size)


if __name__ == "__main__":
    main()
