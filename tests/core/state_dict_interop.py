"""The Python half of state_dict_interop_test.cpp: `make` writes files, `check` reads what C++ wrote.

Exit code 77 tells ctest that the test was skipped: there is no PyTorch or torchvision to compare with.
"""

import argparse
import os
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

SKIPPED = 77

try:
    import torch
    import torchvision
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)


def tiny_model():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


def views():
    base = torch.arange(24, dtype=torch.float32)
    return {
        "head": base[:6],
        "tail": base[18:].view(2, 3),
        "transposed": base.view(4, 6).t(),
        "every_other": base[1::2],
        "expanded": base[3:4].expand(5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }


def dtypes():
    values = torch.tensor([0.0, 1.0, 2.0, 5.0])
    names = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"]
    return {name: values.to(getattr(torch, name)) for name in names} | {
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(-7),
    }


def training_script():
    model = tiny_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.zeros(4, 3, 6, 6)).sum().backward()
    sgd.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [30, 60])
    return {
        "epoch": 3,
        "arch": "tiny",
        "state_dict": OrderedDict(("module." + k, v) for k, v in model.state_dict().items()),
        "best_acc1": torch.tensor(71.5),
        "optimizer": sgd.state_dict(),
        "scheduler": schedule.state_dict(),
    }


CASES = {
    "ordered_dict": lambda: tiny_model().state_dict(),
    "plain_dict": lambda: dict(tiny_model().state_dict()),
    "parameters": lambda: dict(tiny_model().named_parameters()),
    "views": views,
    "dtypes": dtypes,
    "training_script": training_script,
    "under_model": lambda: {"model": tiny_model().state_dict(), "epoch": 2, "done": True},
    "resnet18": lambda: torchvision.models.resnet18().state_dict(),
}


class Attack:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"touch {self.folder}/attacked",)


def make(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, case in CASES.items():
        torch.save(case(), folder / f"{name}.pt")
    torch.save(tiny_model().state_dict(), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.ones(2), "x": Attack(folder)}, folder / "malicious.pt")
    torch.save(tiny_model(), folder / "whole_model.pt")
    torch.save(dict(tiny_model().state_dict()), folder / "protocol4.pt", pickle_protocol=4)
    torch.save([torch.ones(2)], folder / "list.pt")
    (folder / "made").touch()


def expected_tensors(saved):
    for key in ("state_dict", "model"):
        saved = saved.get(key, saved)
    return {k.removeprefix("module."): v for k, v in saved.items()}


def is_dense(tensor):
    alone = tensor.untyped_storage().nbytes() == tensor.nbytes
    return alone and tensor.stride() == torch.empty_like(tensor).stride()


def same(name, one, other):
    assert one.dtype == other.dtype and one.shape == other.shape, name
    assert torch.equal(one, other), name
    if is_dense(one):
        assert one.stride() == other.stride(), name
    assert other.untyped_storage().nbytes() == other.nbytes, f"{name}: written with more than its elements"


def check_round_trip(folder, name):
    expected = expected_tensors(torch.load(folder / f"{name}.pt", weights_only=True))
    got = torch.load(folder / f"{name}.back.pt", weights_only=True)
    assert type(got) is dict and list(got) == list(expected), name
    for key, tensor in expected.items():
        same(f"{name}: {key}", tensor.detach(), got[key])


def check_written(folder):
    got = torch.load(folder / "written.pt", weights_only=True)
    assert list(got) == ["weight", "channels", "epoch", "ratio", "note", "sets", "none"]
    assert torch.equal(got.pop("weight"), torch.arange(6.0).view(2, 3))
    assert torch.equal(got.pop("channels"), torch.tensor([0, 2, 5]))
    assert got == {"epoch": 2**40, "ratio": 0.25, "note": "ein Gruß", "sets": [1, -2, 300], "none": []}, got


def check_loads_into_torchvision(folder):
    model = torchvision.models.resnet18()
    model.load_state_dict(torch.load(folder / "resnet18.back.pt", weights_only=True), strict=True)


def check_checkpoint(folder):
    got = torch.load(folder / "run.checkpoint", weights_only=True)
    assert got["manifest"] == '{"step": 7}'
    assert list(got["sections"]) == ["weights", "momentum"]
    assert torch.equal(got["sections"]["weights"]["weight"], torch.arange(6.0))


def check(folder):
    for name in CASES:
        check_round_trip(folder, name)
    check_written(folder)
    check_loads_into_torchvision(folder)
    check_checkpoint(folder)
    shutil.rmtree(folder)  # 90 MB that nobody needs again


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["make", "check"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    {"make": make, "check": check}[arguments.command](arguments.folder)


if __name__ == "__main__":
    main()
