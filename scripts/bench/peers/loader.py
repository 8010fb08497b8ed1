"""Times another loader on ImageNet's training views: the peer of `slicereduce bench loader`.

Each at what is best for it: bytes come out, as they do from ours, so that nobody converts or normalises on
the CPU; DALI decodes only crops, with its fast inverse transform. Prints one JSON object on one line.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SIDE = 224
KINDS = ("torchvision", "webdataset", "dali")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--data", type=Path, required=True, help="CLASS/*.JPEG; of webdataset, shards *.tar")
    parser.add_argument("--threads", type=int, default=1, help="worker processes, or DALI's threads")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--warmup", type=int, default=4, help="batches before those that are timed")
    parser.add_argument("--batches", type=int, default=20)
    return parser.parse_args()


def training_view() -> Callable:
    from torchvision import transforms  # not where DALI is timed

    return transforms.Compose(
        [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    )


def torchvision_batches(args: argparse.Namespace) -> Iterator[int]:
    import torch
    from torchvision.datasets import ImageFolder

    loader = torch.utils.data.DataLoader(
        ImageFolder(str(args.data), training_view()),
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.threads,
        prefetch_factor=4,
        drop_last=True,
    )
    for images, _ in loader:
        yield len(images)


def webdataset_batches(args: argparse.Namespace) -> Iterator[int]:
    import webdataset

    view = training_view()
    shards = sorted(map(str, args.data.glob("*.tar")))
    shuffled = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=1).shuffle(1000).decode("pil")
    batches = shuffled.to_tuple("jpg", "cls").map_tuple(view).batched(args.batch_size, partial=False)
    loader = webdataset.WebLoader(batches, batch_size=None, num_workers=args.threads, prefetch_factor=4)
    for images, _ in loader:
        yield len(images)


def dali_batches(args: argparse.Namespace) -> Iterator[int]:
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(
        batch_size=args.batch_size, num_threads=args.threads, device_id=None, prefetch_queue_depth=4
    )
    def pipeline() -> tuple:
        files, labels = fn.readers.file(file_root=str(args.data), random_shuffle=True, name="files")
        crop = fn.decoders.image_random_crop(
            files,
            device="cpu",
            random_area=(0.08, 1.0),
            random_aspect_ratio=(3 / 4, 4 / 3),
            use_fast_idct=True,
            jpeg_fancy_upsampling=False,
        )
        view = fn.resize(
            crop, size=(SIDE, SIDE), interp_type=types.INTERP_LINEAR, antialias=True, dtype=types.UINT8
        )
        return fn.flip(view, horizontal=fn.random.coin_flip()), labels

    pipe = pipeline()
    pipe.build()
    while True:
        images, _ = pipe.run()
        yield len(images)


def main() -> None:
    args = options()
    source = {"torchvision": torchvision_batches, "webdataset": webdataset_batches, "dali": dali_batches}
    batches = source[args.kind](args)
    for _ in range(args.warmup):
        next(batches)
    begin = time.perf_counter()
    images = sum(next(batches) for _ in range(args.batches))
    line = {
        "peer": args.kind,
        "threads": args.threads,
        "images_per_s": images / (time.perf_counter() - begin),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
