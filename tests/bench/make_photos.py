#!/usr/bin/env python3
"""Makes photograph-like JPEGs for measuring throughput, in one folder for each class.

    make_photos.py WALLPAPERS OUT COUNT

Cuts windows out of large photographs (WALLPAPERS is any folder of them, for example Debian's wallpaper packages), at
the sizes and JPEG qualities of images from the web. Adds camera noise, so that the images compress like real ones:
about 60 kB each at 500 x 375. The same arguments make the same files. Each photograph is a class, but these classes
are not meant to be learnt. Needs OpenCV and NumPy.
"""
import pathlib
import sys
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np

# width, height, how many of 16 images
SIZES = [(500, 375, 6), (375, 500, 2), (500, 333, 3), (333, 500, 1), (640, 480, 1), (400, 300, 1), (500, 500, 1), (300, 225, 1)]
QUALITIES = [78, 85, 90, 92, 95, 96]
SHORTEST = 720  # of a source photograph
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def is_large(path):
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return photo is not None and min(photo.shape[:2]) >= SHORTEST


def cut(photo, size, rng):
    """A random window of the photograph, up to 1.7 times the given size, shrunk to that size."""
    width, height = size
    room = min(photo.shape[1] / width, photo.shape[0] / height, 1.7)
    zoom = rng.uniform(1, room)
    w, h = round(width * zoom), round(height * zoom)
    x = rng.integers(0, photo.shape[1] - w + 1)
    y = rng.integers(0, photo.shape[0] - h + 1)
    return cv2.resize(photo[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)


def make_class(job):
    number, path, out, count = job
    cv2.setNumThreads(1)
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    rng = np.random.default_rng(number)
    folder = out / f"photo-{number:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [(w, h) for w, h, often in SIZES for _ in range(often)]
    for i in range(count):
        image = cut(photo, sizes[rng.integers(len(sizes))], rng).astype(np.float32)
        image += rng.normal(0, rng.uniform(3, 11), image.shape)
        quality = int(rng.choice(QUALITIES))
        wide = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if rng.random() < 0.2 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, wide]
        cv2.imwrite(str(folder / f"{i:05d}.jpg"), np.clip(image, 0, 255).astype(np.uint8), options)
    return count


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    source, out, total = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    photos = sorted({path.resolve() for path in source.rglob("*") if path.suffix.lower() in ENDINGS})
    if not photos:
        sys.exit(f"there is no photograph below {source}")
    large = [path for path in photos if is_large(path)]
    each = -(-total // len(large))
    with ProcessPoolExecutor() as pool:
        made = sum(pool.map(make_class, [(i, path, out, each) for i, path in enumerate(large)]))
    print(f"{made} photographs of {len(large)} classes in {out}")


if __name__ == "__main__":
    main()
