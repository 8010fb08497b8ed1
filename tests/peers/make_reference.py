"""Writes what PyTorch and torchvision compute, for the C++ tests to agree with.

    make_reference.py OUT_DIR

Every file is written by torch.save and holds one dict:

* resnet{18,50}_torchvision.pt: torchvision's state_dict as it is (an OrderedDict), random weights,
  running statistics of two training batches.
* resnet{18,50}_logits.pt: 'input' [4, 3, 64, 64] and 'logits' [4, 1000] in evaluation mode.
* {wrn-10-2,mlp-3x50,cnn}_state.pt: the state_dict of those networks, written in PyTorch below, after two
  batches. {...}_pass.pt: 'input' [4, 3, H, H], 'logits' in evaluation mode, and 'grad.NAME', the gradients of
  the sum of the squares of the logits in training mode.
* ddp_resnet18.pt: 20 steps of DistributedDataParallel on two processes (gloo): 'initial.NAME' for the
  whole state_dict, 'inputs' [20, 2, 8, 3, 32, 32], 'labels' [20, 2, 8], 'losses' [20, 2], 'final.NAME'
  for every parameter, and 'final64.NAME', the same training in float64: how far 'final' is from it
  is the scale of rounding. 'lr', 'momentum' and 'weight_decay' are scalars.
* sgd_reference.pt: torch.optim.SGD alone, ten steps of given gradients: 'case<i>.lr' and its like are
  scalars, 'case<i>.initial' [N], 'case<i>.grads' [10, N], 'case<i>.final' [N],
  'case<i>.momentum_buffer' [N]; 'cases' counts them.
"""

import argparse
import itertools
import os
import socket
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision
from torch import nn
from torch.nn.parallel import DistributedDataParallel

WORLD_SIZE = 2
STEPS = 20
BATCH = 8
CLASSES = 10
DDP_OPTIMIZER = {"lr": 0.002, "momentum": 0.9, "weight_decay": 5e-4}  # see ddp_problem
FIRST_SEED = 21
MOST_ROUNDING = 1e-5  # the C++ test allows 1e-4


def save(tensors: dict, path: Path) -> None:
    """Renames into place, so that a test never reads a part of a file."""
    partial = path.with_suffix(".part")
    torch.save(tensors, partial)
    partial.replace(path)


def torchvision_logits(arch: str, out: Path) -> None:
    torch.manual_seed(18)
    model = shaken(torchvision.models.get_model(arch, weights=None))
    model.train()
    for _ in range(2):
        model(torch.randn(4, 3, 64, 64))
    model.eval()
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        logits = model(images)
    save(model.state_dict(), out / f"{arch}_torchvision.pt")
    save({"input": images, "logits": logits}, out / f"{arch}_logits.pt")


class WideBlock(nn.Module):
    """Zagoruyko and Komodakis 2016, with a convolution on a shortcut that changes the size."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, stride, 1)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut.append(nn.Conv2d(channels, out, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(torch.relu(self.bn1(x)))
        return self.conv2(torch.relu(self.bn2(h))) + self.shortcut(x)


class WideResNet(nn.Module):
    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        channels = 16
        for stage in range(3):
            blocks = nn.Sequential()
            for number in range((depth - 4) // 6):
                out = 16 * width << stage
                blocks.append(WideBlock(channels, out, 2 if stage > 0 and number == 0 else 1))
                channels = out
            self.add_module(f"layer{stage + 1}", blocks)
        self.bn1 = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.linear(torch.relu(self.bn1(x)).mean((2, 3)))


class Perceptron(nn.Module):
    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        sizes = [3 * 28 * 28, *(layers - 1) * [width], CLASSES]
        self.model = nn.ModuleDict(
            {f"linear{i}": nn.Linear(*pair) for i, pair in enumerate(itertools.pairwise(sizes))}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for i, linear in enumerate(self.model.values()):
            x = linear(torch.relu(x) if i > 0 else x)
        return x


class SmallCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 1024)
        self.fc2 = nn.Linear(1024, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution in (self.conv1, self.conv2):
            x = torch.relu(nn.functional.max_pool2d(convolution(x), 2))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def shaken(model: nn.Module) -> nn.Module:
    """Batch norm's own weights and biases start at 1 and 0, where mixing them up would not show."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
    return model


def papers_network(name: str, model: nn.Module, side: int, out: Path) -> None:
    shaken(model).train()
    for _ in range(2):
        model(torch.randn(4, 3, side, side))
    images = torch.randn(4, 3, side, side)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        logits = model.eval()(images)
    model.train()(images).square().sum().backward()
    save(state, out / f"{name}_state.pt")
    gradients = {f"grad.{key}": value.grad for key, value in model.named_parameters()}
    save({"input": images, "logits": logits} | gradients, out / f"{name}_pass.pt")


def papers_networks(out: Path) -> None:
    torch.manual_seed(19)
    papers_network("wrn-10-2", WideResNet(10, 2), 16, out)
    papers_network("mlp-3x50", Perceptron(3, 50), 28, out)
    papers_network("cnn", SmallCnn(), 28, out)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_rank(rank: int, port: int, reference: dict, dtype: torch.dtype, result: str) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD_SIZE)
    model = torchvision.models.resnet18(num_classes=CLASSES).to(dtype)
    prefix = "initial."
    initial = {key.removeprefix(prefix): value for key, value in reference.items() if key.startswith(prefix)}
    model.load_state_dict(initial)
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), **DDP_OPTIMIZER)
    losses = []
    for images, labels in zip(reference["inputs"][:, rank], reference["labels"][:, rank], strict=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(replica(images.to(dtype)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    mine = torch.stack(losses)
    everyones = [torch.empty_like(mine) for _ in range(WORLD_SIZE)]
    dist.all_gather(everyones, mine)
    if rank == 0:
        final = {name: value.detach() for name, value in model.named_parameters()}
        torch.save({"losses": torch.stack(everyones, 1), "final": final}, result)
    # Not by destroy_process_group: its destructor joins a thread that may wait for the GIL, which it holds
    # itself (PyTorch 2.11, gloo), and the process then hangs for good.
    os._exit(0)


def train_replicas(reference: dict, dtype: torch.dtype) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        result = str(Path(folder) / "result.pt")
        mp.spawn(train_rank, args=(free_port(), reference, dtype, result), nprocs=WORLD_SIZE)
        return torch.load(result, weights_only=True)


def ddp_problem(seed: int) -> dict:
    """Weights, batches and labels that amplify rounding little.

    With random labels, lr 0.05 and batch norm over the 1x1 maps of layer4, float32 ends 50 % away from
    float64. Damped residual branches, a small step, and images whose classes can be told apart (a coarse
    pattern for each, plus noise) avoid that, while the loss still falls to less than half.
    """
    torch.manual_seed(seed)
    model = torchvision.models.resnet18(num_classes=CLASSES)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bn2.weight"):
                value.fill_(0.2)
            elif name.endswith(("bn1.bias", "bn2.bias", "downsample.1.bias")):
                value.normal_(std=0.1)
    problem = {f"initial.{name}": value.clone() for name, value in model.state_dict().items()}
    patterns = nn.functional.interpolate(torch.randn(CLASSES, 3, 4, 4), size=(32, 32))
    labels = torch.randint(CLASSES, (STEPS, WORLD_SIZE, BATCH))
    problem["labels"] = labels
    problem["inputs"] = patterns[labels] + torch.randn(STEPS, WORLD_SIZE, BATCH, 3, 32, 32)
    for option, value in DDP_OPTIMIZER.items():
        problem[option] = torch.tensor(value, dtype=torch.float64)
    return problem


def ddp_resnet18(out: Path) -> None:
    """Takes the first seed from FIRST_SEED on whose float32 run ends within MOST_ROUNDING of float64.

    In about every second problem some value comes within rounding of a kink of ReLU or a tie of the max
    pool; two correct implementations then take different branches and part by 1e-3, which says nothing
    about either.
    """
    for seed in range(FIRST_SEED, FIRST_SEED + 10):
        problem = ddp_problem(seed)
        single = train_replicas(problem, torch.float32)
        double = train_replicas(problem, torch.float64)
        distances = [
            ((single["final"][name].double() - exact).norm() / exact.norm()).item()
            for name, exact in double["final"].items()
        ]
        print(f"seed {seed}: float32 ends within {max(distances):.1e} of float64", flush=True)
        if max(distances) < MOST_ROUNDING:
            problem["losses"] = single["losses"]
            problem |= {f"final.{name}": value for name, value in single["final"].items()}
            problem |= {f"final64.{name}": value for name, value in double["final"].items()}
            save(problem, out / "ddp_resnet18.pt")
            return
    raise RuntimeError(f"no seed gave a float32 run within {MOST_ROUNDING} of float64")


def sgd_reference(out: Path) -> None:
    torch.manual_seed(10)
    reference = {}
    cases = [
        (momentum, weight_decay, nesterov)
        for momentum, weight_decay, nesterov in itertools.product((0.0, 0.9), (0.0, 5e-4), (False, True))
        if momentum > 0 or not nesterov  # PyTorch refuses Nesterov without momentum
    ]
    for i, (momentum, weight_decay, nesterov) in enumerate(cases):
        weight = nn.Parameter(torch.randn(257))
        grads = torch.randn(10, 257)
        reference[f"case{i}.initial"] = weight.detach().clone()
        optimizer = torch.optim.SGD(
            [weight], lr=0.1, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )
        for grad in grads:
            weight.grad = grad.clone()
            optimizer.step()
        buffer = optimizer.state[weight].get("momentum_buffer")
        reference |= {
            f"case{i}.lr": torch.tensor(0.1, dtype=torch.float64),
            f"case{i}.momentum": torch.tensor(momentum, dtype=torch.float64),
            f"case{i}.weight_decay": torch.tensor(weight_decay, dtype=torch.float64),
            f"case{i}.nesterov": torch.tensor(nesterov),
            f"case{i}.grads": grads,
            f"case{i}.final": weight.detach().clone(),
            f"case{i}.momentum_buffer": torch.zeros(257) if buffer is None else buffer.clone(),
        }
    reference["cases"] = torch.tensor(len(cases))
    save(reference, out / "sgd_reference.pt")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torchvision_logits("resnet18", out)
    torchvision_logits("resnet50", out)
    papers_networks(out)
    ddp_resnet18(out)
    sgd_reference(out)


if __name__ == "__main__":
    main()
