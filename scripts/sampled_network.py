"""Runs in PyTorch what `slicereduce export --network sampled` writes.

    from sampled_network import load_sampled
    network = load_sampled("sampled.pt").eval()
    logits = network(images)                     # [N, C, H, W] float -> [N, classes]

or, from a shell: `sampled_network.py sampled.pt` prints the network, `sampled_network.py --self-test`
checks this file against torchvision.

The file is a plain dict that `torch.load(weights_only=True)` reads: torchvision's names, with compact
tensors (a convolution's weight is [kept out, kept in, kh, kw]); for each sampled site the kept channels
`channels.<site>` (int64, of the dense input of that site) and, where the sampler weighs them,
`scale.<site>` (float); and `meta.arch` and `meta.coupling` (strings), among other facts. Sites are
`layerL.B.input` (one gather for conv1 and downsample), `layerL.B.conv2`, `layerL.B.conv3` and `fc`; one
that is absent keeps all channels.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

BASIC_DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
BOTTLENECK_DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
CIFAR_DEPTHS = {f"resnet{6 * n + 2}": (n, n, n) for n in (3, 5, 7, 9, 18)}


class Select(nn.Module):
    """Keeps the sampled channels of its input, [N, C, ...] -> [N, kept, ...], and scales them."""

    def __init__(self, file: dict, site: str, compact_already: bool = False):
        super().__init__()
        self.register_buffer("channels", None if compact_already else file.get(f"channels.{site}"))
        self.register_buffer("scale", file.get(f"scale.{site}"))

    def forward(self, x: Tensor) -> Tensor:
        if self.channels is not None:
            x = x.index_select(1, self.channels)
        if self.scale is not None:
            x = x * self.scale.view(-1, *[1] * (x.dim() - 2))
        return x


def convolution(file: dict, name: str, stride: int = 1) -> nn.Conv2d:
    outputs, inputs, height, width = file[f"{name}.weight"].shape
    padding = (height // 2, width // 2)
    return nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)


def batch_norm(file: dict, name: str) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(len(file[f"{name}.weight"]))


class Block(nn.Module):
    """A basic block (two convolutions) or a bottleneck (three; its stride is on the second)."""

    def __init__(self, file: dict, name: str, stride: int, convolutions: int):
        super().__init__()
        # Coupled sampling: a convolution makes only the channels that the next one keeps.
        coupled = file["meta.coupling"] == "block"
        self.input = Select(file, f"{name}.input")
        self.conv1 = convolution(file, f"{name}.conv1", stride if convolutions == 2 else 1)
        self.bn1 = batch_norm(file, f"{name}.bn1")
        self.select2 = Select(file, f"{name}.conv2", compact_already=coupled)
        self.conv2 = convolution(file, f"{name}.conv2", stride if convolutions == 3 else 1)
        self.bn2 = batch_norm(file, f"{name}.bn2")
        if convolutions == 3:
            self.select3 = Select(file, f"{name}.conv3", compact_already=coupled)
            self.conv3 = convolution(file, f"{name}.conv3")
            self.bn3 = batch_norm(file, f"{name}.bn3")
        self.stride = stride
        self.outputs = len(file[f"{name}.bn{convolutions}.weight"])
        self.downsample = None
        if f"{name}.downsample.0.weight" in file:
            self.downsample = nn.Sequential(
                convolution(file, f"{name}.downsample.0", stride), batch_norm(file, f"{name}.downsample.1")
            )

    def skip(self, x: Tensor, kept: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.downsample(kept)
        missing = self.outputs - x.shape[1]
        if missing == 0 and self.stride == 1:
            return x
        # Option A of the CIFAR networks (He et al. 2016, section 4.2): subsample and pad with zeros.
        return functional.pad(
            x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, missing // 2, missing // 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = self.input(x)
        h = self.select2(functional.relu(self.bn1(self.conv1(kept))))
        h = self.bn2(self.conv2(h))
        if hasattr(self, "conv3"):
            h = self.bn3(self.conv3(self.select3(functional.relu(h))))
        return functional.relu(h + self.skip(x, kept))


class SampledNetwork(nn.Module):
    """Images [N, C, H, W] float, normalized as in training, to logits [N, classes]."""

    def __init__(self, file: dict):
        super().__init__()
        self.arch = file["meta.arch"]
        cifar = self.arch in CIFAR_DEPTHS
        depths = (BASIC_DEPTHS | BOTTLENECK_DEPTHS | CIFAR_DEPTHS).get(self.arch)
        if depths is None:
            raise ValueError(f"meta.arch = {self.arch}: expected a ResNet that slicereduce exports")
        self.conv1 = convolution(file, "conv1", stride=1 if cifar else 2)
        self.bn1 = batch_norm(file, "bn1")
        self.maxpool = nn.Identity() if cifar else nn.MaxPool2d(3, stride=2, padding=1)
        convolutions = 3 if self.arch in BOTTLENECK_DEPTHS else 2
        self.stages = [f"layer{i + 1}" for i in range(len(depths))]
        for stage, depth in zip(self.stages, depths, strict=True):
            first = 1 if stage == "layer1" else 2
            blocks = [Block(file, f"{stage}.{i}", first if i == 0 else 1, convolutions) for i in range(depth)]
            self.add_module(stage, nn.Sequential(*blocks))
        self.select_fc = Select(file, "fc")
        classes, features = file["fc.weight"].shape
        self.fc = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.fc(self.select_fc(x.mean((2, 3))))


def from_dict(file: dict) -> SampledNetwork:
    """Builds the network of a dict as described above. Raises KeyError or RuntimeError for a tensor that
    is missing, left over, or of another shape."""
    network = SampledNetwork(file)
    about = ("channels.", "scale.", "meta.")
    weights = {name: value for name, value in file.items() if not name.startswith(about)}
    outcome = network.load_state_dict(weights, strict=False)
    selects = ("channels", "scale")
    missing = [name for name in outcome.missing_keys if name.rsplit(".", 1)[-1] not in selects]
    if missing or outcome.unexpected_keys:
        raise KeyError(f"missing: {missing}; unexpected: {outcome.unexpected_keys}")
    return network


def load_sampled(path: str) -> SampledNetwork:
    """The network in the file at `path`, on the CPU, in training mode as nn.Module is: call eval()."""
    return from_dict(torch.load(path, map_location="cpu", weights_only=True))


def masked_weights(dense: dict, channels: dict) -> dict:
    """Dense weights in which the inputs that are not kept count nothing: the network that a sampled file
    stands for, written down in another way."""
    masked = {name: value.clone() for name, value in dense.items()}
    for site, kept in channels.items():
        block, last = site.rsplit(".", 1)
        names = [f"{block}.conv1", f"{block}.downsample.0"] if last == "input" else [site]
        for name in names:
            if (weight := masked.get(f"{name}.weight")) is not None:
                mask = torch.zeros(weight.shape[1])
                mask[kept] = 1
                weight *= mask.view(1, -1, 1, 1)
    return masked


def compacted(dense: dict, channels: dict, coupling: str) -> dict:
    """What an exporter writes for `channels`, from dense weights."""
    compact = dict(dense)
    for site, kept in channels.items():
        block, last = site.rsplit(".", 1)
        names = [f"{block}.conv1", f"{block}.downsample.0"] if last == "input" else [site]
        for name in names:
            if (weight := compact.get(f"{name}.weight")) is not None:
                compact[f"{name}.weight"] = weight[:, kept]
        if last != "input" and coupling == "block":
            before = int(last.removeprefix("conv")) - 1
            compact[f"{block}.conv{before}.weight"] = compact[f"{block}.conv{before}.weight"][kept]
            for part in ("weight", "bias", "running_mean", "running_var"):
                compact[f"{block}.bn{before}.{part}"] = compact[f"{block}.bn{before}.{part}"][kept]
    return compact | {f"channels.{site}": kept for site, kept in channels.items()}


def self_test() -> None:
    """Half of the channels of each site, coupled and not, against torchvision with masked weights."""
    import torchvision

    def agree(got: Tensor, want: Tensor) -> None:
        distance = (got - want).norm() / want.norm()
        assert distance < 1e-5, f"relative distance {distance:.2e}"

    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    for arch in ("resnet18", "resnet50"):
        reference = torchvision.models.get_model(arch, num_classes=10)
        reference(images)  # running statistics that are not 0 and 1
        reference.eval()
        dense = reference.state_dict()
        sites = {}
        for name, weight in dense.items():
            parts = name.split(".")
            if parts[0].startswith("layer") and parts[2].startswith("conv"):
                site = ".".join((*parts[:2], "input" if parts[2] == "conv1" else parts[2]))
                inputs = weight.shape[1]
                sites[site] = torch.randperm(inputs)[: inputs // 2].sort().values
        with torch.no_grad():
            for coupling in ("block", "none"):
                meta = {"meta.arch": arch, "meta.coupling": coupling, "meta.num_classes": "10"}
                reference.load_state_dict(dense)
                agree(from_dict(dense | meta).eval()(images), reference(images))
                reference.load_state_dict(masked_weights(dense, sites))
                half = from_dict(compacted(dense, sites, coupling) | meta).eval()
                agree(half(images), reference(images))
                print(f"{arch} coupling={coupling}: agrees with torchvision")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", help="what `slicereduce export --network sampled` wrote")
    parser.add_argument("--self-test", action="store_true", help="compare this file with torchvision")
    options = parser.parse_args()
    if options.self_test:
        self_test()
    elif options.file:
        network = load_sampled(options.file)
        print(network)
        print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters")
    else:
        parser.error("name a file, or --self-test")


if __name__ == "__main__":
    main()
