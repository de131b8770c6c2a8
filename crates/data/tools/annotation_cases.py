"""Random outlines and their masks by the tools of each format, one case per line:
rule, height, width (1 to SIDE), numbers, the mask as COCO's compressed RLE.

Usage: annotation_cases.py COUNT SEED SIDE > crates/data/src/annotations/raster/cases.txt

`cases.txt` was made by `annotation_cases.py 40 1 40` with pycocotools 2.0.11, Pillow 13.0.0,
opencv-python-headless 5.0.0.93 and numpy 2.4.6. For a longer test, write another file and name it in
`SNUG_TEST_ANNOTATION_CASES`.
"""

import math
import random
import sys

import cv2
import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask


def number(value):
    return repr(float(value)).removesuffix(".0")


def rle(mask):
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


def polygon(rng, height, width):
    """A polygon of one of many kinds: smooth, self-intersecting, tiny, collinear, outside."""
    kind = rng.randrange(9)
    count = rng.choice([3, 3, 4, 5, 7, 12, 30])
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    if kind == 0:  # any order, so mostly self-intersecting
        points = [(rng.uniform(-0.2, 1.2) * width, rng.uniform(-0.2, 1.2) * height) for _ in range(count)]
    elif kind == 1:  # a star around a point
        radius = rng.uniform(1, max(height, width))
        turns = sorted(rng.uniform(0, 2 * math.pi) for _ in range(count))
        points = [(x + radius * rng.random() * math.cos(t), y + radius * rng.random() * math.sin(t)) for t in turns]
    elif kind == 2:  # tiny
        points = [(x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)) for _ in range(count)]
    elif kind == 3:  # on one line
        dx, dy = rng.uniform(-width, width), rng.uniform(-height, height)
        points = [(x + t * dx, y + t * dy) for t in (rng.random() for _ in range(count))]
    elif kind == 4:  # far outside
        points = [(rng.uniform(-9, 10) * width, rng.uniform(-9, 10) * height) for _ in range(count)]
    elif kind == 5:  # integers, often repeated
        points = [(rng.randint(0, min(8, width)), rng.randint(0, min(8, height))) for _ in range(count)]
    elif kind == 6:  # halves and tenths, right angles
        points = [(x, y)]
        for i in range(count):
            px, py = points[-1]
            points.append((rng.randint(0, 10 * width) / 10, py) if i % 2 else (px, rng.randint(0, 2 * height) / 2))
    elif kind == 7:  # corners of the image
        points = [(rng.choice([0, width - 1, width, width / 2]), rng.choice([0, height - 1, height, height / 2])) for _ in range(count)]
    else:  # as a tool writes it, two digits
        radius = rng.uniform(2, max(height, width))
        turns = sorted(rng.uniform(0, 2 * math.pi) for _ in range(count))
        points = [(round(x + radius * math.cos(t), 2), round(y + radius * math.sin(t), 2)) for t in turns]
    return points


def coco(rng, height, width):
    points = polygon(rng, height, width)
    flat = [c for point in points for c in point]
    return flat, coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat], height, width)))


def drawn(size, draw):
    image = Image.new("L", (size[1], size[0]))
    draw(ImageDraw.Draw(image))
    return np.array(image)


def pillow(rng, height, width):
    points = polygon(rng, height, width)
    mask = drawn((height, width), lambda d: d.polygon(points, fill=1, outline=1))
    return [c for point in points for c in point], mask


def circle(rng, height, width):
    x, y, r = rng.uniform(-2, width + 2), rng.uniform(-2, height + 2), rng.uniform(0, width)
    bounds = [x - r, y - r, x + r, y + r]
    return bounds, drawn((height, width), lambda d: d.ellipse(bounds, fill=1, outline=1))


def opencv(rng, height, width):
    points = np.array(polygon(rng, height, width))
    if rng.random() < 0.8:  # as labels of YOLO, clipped to the image
        points = np.clip(points, 0, [width, height])
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32)], color=1)
    return points.flatten().tolist(), mask


def ellipse(rng, height, width):
    """As CVAT exports ellipses: rounded, with an outline of one pixel. This rule is met closely only."""
    x, y = rng.randint(0, width), rng.randint(0, height)
    rx, ry = rng.randint(1, width), rng.randint(1, height)
    degrees = rng.choice([0, 0, rng.uniform(0, 360)])
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (x, y), (rx, ry), degrees, 0, 360, 1, thickness=-1)
    return [x, y, rx + 0.5, ry + 0.5, degrees], mask


def main():
    count, seed, side = map(int, sys.argv[1:])
    rng = random.Random(seed)
    for rule in (coco, pillow, circle, opencv, ellipse):
        for _ in range(count):
            height, width = rng.randint(1, side), rng.randint(1, side)
            numbers, mask = rule(rng, height, width)
            print(rule.__name__, height, width, ",".join(map(number, numbers)), rle(mask))


if __name__ == "__main__":
    main()
