"""PyTorch's communication hooks for DistributedDataParallel, by the names that the benchmarks have for them.

none, bf16, fp16, powersgd-RANK, and powersgd-RANK-bf16, whose arithmetic is in bf16 as well. (PyTorch 2.11's
batched_powerSGD_hook, which is said to be faster and less exact, ends with an assertion in _orthogonalize.)
"""

import re

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

DENSE_POWERSGD_STEPS = 3  # the first ones, in which DDP still rearranges its buckets
NAMES = "none|bf16|fp16|powersgd-RANK[-bf16]"
PLAIN = {
    "none": None,
    "bf16": default_hooks.bf16_compress_hook,
    "fp16": default_hooks.fp16_compress_hook,
}
POWERSGD = re.compile(r"powersgd-([1-9]\d*)(-bf16)?")


def is_name(hook: str) -> bool:
    return hook in PLAIN or is_powersgd(hook)


def is_powersgd(hook: str) -> bool:
    return POWERSGD.fullmatch(hook) is not None


class PowerSgd:
    """The hook with a state and a process group for each bucket.

    It waits for its second and third AllReduce in callbacks, on the threads that have to carry them out.
    Where all buckets share a group, several of them at once leave no thread for that, and ranks come in
    different order: they hang. With groups of their own a bucket is on its way while backward makes the next.
    """

    def __init__(self, hook: str, buckets: int) -> None:
        rank, narrow = POWERSGD.fullmatch(hook).groups()
        plain = powerSGD_hook.powerSGD_hook
        self.run = default_hooks.bf16_compress_wrapper(plain) if narrow else plain
        groups = [None] if buckets == 1 else [dist.new_group() for _ in range(buckets)]
        self.states = [
            powerSGD_hook.PowerSGDState(
                group, matrix_approximation_rank=int(rank), start_powerSGD_iter=DENSE_POWERSGD_STEPS
            )
            for group in groups
        ]


def powersgd(buckets: PowerSgd, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    state = buckets.states[bucket.index()]
    future = buckets.run(state, bucket)
    if not bucket.is_last():
        state.iter += 1  # it counts steps by the last bucket alone
    return future


def register(replica: DistributedDataParallel, hook: str, bucket_mb: float) -> None:
    if is_powersgd(hook):
        gradient_mb = sum(4 * p.numel() for p in replica.parameters() if p.requires_grad) / 2**20
        # DDP closes a bucket when it is full; its first one may be smaller.
        buckets = 1 if bucket_mb > gradient_mb else int(gradient_mb / bucket_mb) + 3
        replica.register_comm_hook(PowerSgd(hook, buckets), powersgd)
    elif PLAIN[hook]:
        replica.register_comm_hook(None, PLAIN[hook])
