"""Times a training step of PyTorch's DistributedDataParallel on CPUs: the peer of `slicereduce bench step`.

Starts its ranks itself on 127.0.0.1 (gloo), or is one of them where RANK, WORLD_SIZE and MASTER_ADDR
say so. With the settings that are best for it here: channels_last, gradients as views of their buckets, SGD's
fused implementation, no graph kept, synthetic images that are made once. Prints one JSON object on one line.
A step's time is the slowest rank's, and so is the memory.
"""

import argparse
import itertools
import json
import os
import resource
import socket
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

PHASES = ("forward", "backward", "optimizer")
MIN_COMPRESSION_RATE = 0.5


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet18", help="a torchvision classification network")
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16, help="per rank")
    parser.add_argument("--world-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30, help="timed steps")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: CPU autocast")
    parser.add_argument("--hook", default="none", metavar="none|bf16|fp16|powersgd-RANK")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads per rank")
    parser.add_argument("--sgd", choices=("foreach", "fused"), default="fused")
    chosen = parser.parse_args()
    if chosen.hook not in ("none", "bf16", "fp16") and not powersgd_rank(chosen.hook):
        parser.error(f"--hook {chosen.hook}: expected none, bf16, fp16 or powersgd-RANK")
    if min(chosen.steps, chosen.world_size, chosen.batch_size, chosen.threads) < 1 or chosen.warmup < 0:
        parser.error("--steps, --world-size, --batch-size and --threads must be positive")
    return chosen


def powersgd_rank(hook: str) -> int:
    """0 where the hook is another one."""
    name, _, rank = hook.partition("-")
    return int(rank) if name == "powersgd" and rank.isdigit() else 0


def wire_bytes(model: torch.nn.Module, hook: str) -> int:
    """What a rank hands to AllReduce in a step. PowerSGD sends fp32, and its state's rule picks factors."""
    if rank := powersgd_rank(hook):
        numbers = 0
        for parameter in model.parameters():
            n = parameter.shape[0]
            m = parameter.numel() // n
            r = min(n, m, rank)
            numbers += (n + m) * r if (n + m) * r * MIN_COMPRESSION_RATE < n * m else n * m
        return 4 * numbers
    return (2 if hook in ("bf16", "fp16") else 4) * sum(p.numel() for p in model.parameters())


def replicate(model: torch.nn.Module, hook: str) -> DistributedDataParallel:
    # PowerSGD's hook starts its second AllReduce inside a callback; with several buckets the ranks'
    # orders differ and gloo deadlocks. One bucket can't.
    bucket_mb = 2000 if powersgd_rank(hook) else 25
    replica = DistributedDataParallel(model, gradient_as_bucket_view=True, bucket_cap_mb=bucket_mb)
    if hook == "bf16":
        replica.register_comm_hook(None, default_hooks.bf16_compress_hook)
    elif hook == "fp16":
        replica.register_comm_hook(None, default_hooks.fp16_compress_hook)
    elif rank := powersgd_rank(hook):
        state = powerSGD_hook.PowerSGDState(
            None,
            matrix_approximation_rank=rank,
            start_powerSGD_iter=3,
            min_compression_rate=MIN_COMPRESSION_RATE,
        )
        replica.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    return replica


def timed_steps(replica: DistributedDataParallel, chosen: argparse.Namespace, rank: int) -> torch.Tensor:
    """[steps, 1 + phases] milliseconds: the whole step, then its phases. Collective."""
    generator = torch.Generator().manual_seed(rank)
    shape = (chosen.batch_size, 3, chosen.image_size, chosen.image_size)
    images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(chosen.num_classes, (chosen.batch_size,), generator=generator)
    # fused: 287 and 285 ms a step against 296 and 298 with foreach (ResNet-18 at 64x64, batch 16, 2 ranks
    # of 1 thread on an AMD EPYC of Zen 4 class).
    how = {chosen.sgd: True}
    optimizer = torch.optim.SGD(replica.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, **how)
    times = []
    for _ in range(chosen.warmup + chosen.steps):
        marks = [time.perf_counter()]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=chosen.precision == "bf16"):
            loss = cross_entropy(replica(images), labels)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        spans = [after - before for before, after in itertools.pairwise(marks)]
        times.append([1e3 * span for span in (marks[-1] - marks[0], *spans)])
    return torch.tensor(times[chosen.warmup :])


def report(
    slowest: torch.Tensor, peak_memory_bytes: int, model: torch.nn.Module, chosen: argparse.Namespace
) -> dict:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sent = wire_bytes(model, chosen.hook)
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
        "parameters": parameters,
        "wire_bytes": sent,
        "peak_memory_bytes": peak_memory_bytes,
    }


def spawned_rank(rank: int, port: int, chosen: argparse.Namespace) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=chosen.world_size
    )
    run_rank(rank, chosen)


def run_rank(rank: int, chosen: argparse.Namespace) -> None:
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    model = torchvision.models.get_model(chosen.arch, num_classes=chosen.num_classes)
    model = model.to(memory_format=torch.channels_last)
    times = timed_steps(replicate(model, chosen.hook), chosen, rank)
    dist.all_reduce(times, dist.ReduceOp.MAX)
    memory = torch.tensor([1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])
    dist.all_reduce(memory, dist.ReduceOp.MAX)
    if rank == 0:
        print(json.dumps(report(times, int(memory.item()), model, chosen)), flush=True)
    # Not by destroy_process_group: its destructor joins a thread that may wait for the GIL, which it holds
    # itself (PyTorch 2.11, gloo), and the process then hangs for good.
    os._exit(0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    chosen = options()
    # Before the ranks start: OpenMP reads it when it is loaded.
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        chosen.world_size = dist.get_world_size()
        run_rank(dist.get_rank(), chosen)
    else:
        mp.spawn(spawned_rank, args=(free_port(), chosen), nprocs=chosen.world_size)


if __name__ == "__main__":
    main()
