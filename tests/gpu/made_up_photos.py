#!/usr/bin/env python3
"""Makes JPEGs as large as photographs that were scaled down for training: a short edge of 256 pixels, about 35 kB each,
in one folder for each class.

    made_up_photos.py OUT COUNT [SIZE]

Smooth colours with noise: they take as long to decode as photographs of that many bytes. Needs Pillow and NumPy. Prints
how many bytes an image has.
"""
import os
import pathlib
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image

CLASSES = 8


def write(task):
    out, number, size = task
    random = np.random.default_rng(number)
    width, height = (size * 4 // 3, size) if number % 3 else (size, size * 4 // 3)
    colours = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    noise = random.normal(0, 11, (height, width, 1)) + random.normal(0, 3, (height, width, 3))
    pixels = np.clip(np.asarray(colours, dtype=np.float32) + noise, 0, 255).astype(np.uint8)
    path = out / f"class-{number % CLASSES}" / f"{number:06}.jpg"
    Image.fromarray(pixels).save(path, quality=90)
    return path.stat().st_size


def main():
    out, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    size = int(sys.argv[3]) if len(sys.argv) > 3 else 256
    for number in range(CLASSES):
        (out / f"class-{number}").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        sizes = list(pool.map(write, [(out, number, size) for number in range(count)], chunksize=32))
    print(f"{count} images, {sum(sizes) / count:.0f} bytes each")


main()
