#!/usr/bin/env python3
"""MXNet as referee: its readers must read from our shards what we packed, and our reader what its im2rec packed.

    mxnet_referee.py BIN SCRATCH

BIN is the folder of the stages' executables, SCRATCH an empty folder. Ends with "mxnet: N checks passed", or stops at
the first check that fails.
"""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys

import cv2
import mxnet as mx
import numpy as np

MAGIC = struct.pack("<I", 0xCED7230A)
CLASSES, EACH, SIDE = 7, 24, 40
passed = 0


def check(holds, what):
    global passed
    if not holds:
        sys.exit(f"mxnet: FAILED: {what}")
    passed += 1


def make_image(rng, number):
    """A JPEG with sides of SIDE or more. Every third one contains RecordIO's magic, at each alignment in turn."""
    height, width = rng.randrange(SIDE, 3 * SIDE), rng.randrange(SIDE, 3 * SIDE)
    pixels = np.array([rng.randrange(256) for _ in range(27)], np.uint8).reshape(3, 3, 3)
    image = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    if number % 5 == 0:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    if number % 3 == 0:
        comment = b"x" * (number % 4) + MAGIC * 3 + b"y" + MAGIC + b"zz" + MAGIC
        jpeg = jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]
    return jpeg


def make_images(folder):
    rng = random.Random(4)
    for label in range(CLASSES):
        for number in range(EACH):
            path = folder / f"class-{label}" / f"{number:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_image(rng, label * EACH + number))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"mxnet: {command[0]} failed\n{done.stdout}{done.stderr}")
    return done.stdout


def read_list(path):
    """id -> (label, path)"""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {int(row[0]): (int(float(row[1])), row[2]) for row in rows}


def check_records(shards, listed, images):
    """MXIndexedRecordIO, by key: each record once, with its label and the bytes of the file."""
    seen = set()
    for rec in shards:
        reader = mx.recordio.MXIndexedRecordIO(str(rec.with_suffix(".idx")), str(rec), "r")
        for key in reader.keys:
            header, image = mx.recordio.unpack(reader.read_idx(key))
            label, path = listed[key]
            check(header.id == key and header.label == label,
                  f"record {key} of {rec.name} has the id and label of its list line")
            check(image == (images / path).read_bytes(), f"record {key} of {rec.name} has the bytes of {path}")
            seen.add(key)
        reader.close()
    check(seen == set(listed), "the shards contain every listed image")


def middle(jpeg):
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    y, x = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
    return pixels[y : y + SIDE, x : x + SIDE]


def check_iterator(rec, listed, images):
    """ImageRecordIter: the labels in the order of the shard, and the pixels in the middle of each image."""
    order = [int(line.split("\t")[0]) for line in rec.with_suffix(".idx").read_text().splitlines()]
    batches = mx.io.ImageRecordIter(path_imgrec=str(rec), data_shape=(3, SIDE, SIDE), batch_size=1, preprocess_threads=2,
                                    shuffle=False, verbose=False)
    at = 0
    for batch in batches:
        label, path = listed[order[at]]
        check(int(batch.label[0].asscalar()) == label, f"ImageRecordIter reads the label of image {order[at]}")
        pixels = batch.data[0][0].asnumpy().transpose(1, 2, 0)
        want = middle((images / path).read_bytes())
        # Two builds of libjpeg may differ by one in the rounding of a colour conversion.
        check(np.abs(pixels - want).max() <= 1, f"ImageRecordIter reads the pixels of image {order[at]}")
        at += 1
    check(at == len(order), f"ImageRecordIter reads all of {rec.name}")


def check_our_shards(bin_folder, scratch, images):
    description = scratch / "images.json"
    description.write_text(json.dumps({"schema": "packhorse/dataset/2", "name": "images",
                                       "train": {"source": str(images)}, "validation": {"fraction": 0.2}}))
    run(bin_folder / "packhorse-list", description, "--out", scratch / "list")
    run(bin_folder / "packhorse-pack", scratch / "list" / "manifest.json", "--shards", 3, "--out", scratch / "pack")
    for split in "train", "validation":
        listed = read_list(scratch / "list" / f"{split}.lst")
        shards = sorted((scratch / "pack").glob(f"{split}-*.rec"))
        check_records(shards, listed, images)
        for rec in shards:
            check_iterator(rec, listed, images)


def check_its_shards(bin_folder, scratch, images):
    """What im2rec packed: the label, size and bytes of each image, as our reader reports them."""
    tool = pathlib.Path(mx.__file__).parent / "tools" / "im2rec.py"
    run(sys.executable, tool, "--list", "--recursive", scratch / "theirs", images)
    run(sys.executable, tool, "--pass-through", "--num-thread", 2, scratch / "theirs", images)
    listed = read_list(scratch / "theirs.lst")
    check(len(listed) == CLASSES * EACH, "im2rec lists every image")
    # The same images, packed by us, give the checksum of each.
    ours = {}
    for rec in sorted((scratch / "pack").glob("*.rec")):
        split = rec.name.split("-")[0]
        names = read_list(scratch / "list" / f"{split}.lst")
        for identity, _, size, crc in shown(bin_folder, rec):
            ours[names[identity][1]] = size, crc
    rows = shown(bin_folder, scratch / "theirs.rec")
    check(len(rows) == len(listed), "our reader reads every record of im2rec's")
    for identity, label, size, crc in rows:
        want, path = listed[identity]
        check(label == want, f"our reader reads im2rec's label of {path}")
        check((size, crc) == ours[path], f"our reader reads im2rec's bytes of {path}")


def shown(bin_folder, rec):
    rows = (line.split("\t") for line in run(bin_folder / "packhorse-verify", rec, "--decode", "--show").splitlines()[:-1])
    return [(int(identity), int(label), int(size), crc) for identity, label, size, crc in rows]


def main():
    bin_folder, scratch = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    images = scratch / "images"
    make_images(images)
    check_our_shards(bin_folder, scratch, images)
    check_its_shards(bin_folder, scratch, images)
    print(f"mxnet: {passed} checks passed (MXNet {mx.__version__})")


if __name__ == "__main__":
    os.environ["MXNET_CPU_WORKER_NTHREADS"] = "2"
    main()
