"""The workspaces of cuDNN's first choices as a table for the estimator, asked without a GPU.

    table.py LIB CAPABILITY > lines

LIB is the folder of libcudnn.so.9 (see `workspaces.py`). Each line is for one operation, data type, memory
format and shape of images; its groups, separated by spaces, are the kinds of convolution of the network, each with its
channel counts, in the order below. A group has a row for each batch of `BATCHES`, separated by tabs; an empty row is as
the one before. A row is a list of segments of five letters, by the number of pixels (images x height x width):

1. where it starts, in eighths of an octave after the group's first number of pixels;
2. which tensors the engine copies into its own layout, and whether the other bytes grow with the pixels;
3. how many copies of the weight it makes;
4. and 5. the logarithm of the other bytes at the start.

Where cuDNN has no engine, the second letter is "~". A group "=" of square images is as the one of the data type before.
Of other images, a row or a group "=" is as the one of square images, and so is everything without a line.
`crates/estimator/src/step/kernels/cuda/table.rs` reads it.
"""

import functools
import math
import sys

import workspaces

# Channels of a stage.
CHANNELS = [8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
# The image's and the result's channels for `c`, the kernel, the stride, and the most channels that occur.
KINDS = [
    ("same", lambda c: (c, c), 3, 1, 1024),
    ("half", lambda c: (c // 2, c), 3, 1, 1024),
    ("double", lambda c: (2 * c, c), 3, 1, 512),
    ("up", lambda c: (c, 2 * c), 2, 2, 512),
    ("first", lambda c: (3, c), 3, 1, 128),
    ("head", lambda c: (c, 1), 1, 1, 128),
    # Of several classes.
    ("heads", lambda c: (c, 4), 1, 1, 128),
]
BATCHES = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32]
# Numbers of a stage's tensor. Fewer are looked up as the fewest, and more as the most.
FEWEST, MOST = 2**18, 2**30
# Pixels of one image of a stage.
SMALLEST, LARGEST = 2**8, 2**22
# Widths of images, in heights.
SHAPES = [1, 1.5, 1 / 1.5]
# Steps of an octave of pixels, and of an octave of bytes from the least on.
STARTS, LOGS, LEAST = 8, 256, 10
# Copies of a weight of fewer bytes are not counted as such.
SMALL_WEIGHT = 2**16
# Fewer bytes are left out, and differences of fewer bytes are none. Requests of libtorch's allocator are rounded
# up to 2 MiB: a few bytes more than copies of tensors can take as much.
SMALL, EQUAL = 512, 2**14
FP32, FP16, BF16 = 0, 2, 9


def letter(number):
    """The printable characters after the space."""
    return chr(33 + min(number, 93))


def sides(pixels, shape):
    """Height and width of about this shape, both even."""
    unit = 8 if pixels >= 2**12 else 2
    width = max(unit, round(math.sqrt(shape * pixels) / unit) * unit)
    return max(unit, round(pixels / width / unit) * unit), width


def copies(elements, channels, pixels, unit):
    """Bytes of a tensor that is not copied, copied, and copied with its channels padded."""
    padded = -(-channels // unit) * unit
    return [0, channels * pixels * elements, padded * pixels * elements]


class Taken:
    """What an engine takes at a number of pixels."""

    def __init__(self, kind, channels, sizes, kernel, stride, found):
        elements = 4 if kind == FP32 else 2
        unit = 16 // elements
        self.pixels = sizes[0] * sizes[1] * sizes[2]
        image = copies(elements, channels[0], self.pixels, unit)
        result = copies(elements, channels[1], self.pixels // stride**2, unit)
        pairs = [(i + r, 3 * a + b) for a, i in enumerate(image) for b, r in enumerate(result) if i + r <= found]
        most = max(pairs)[0]
        # Of equal ones the plain copy.
        self.copied = min(code for size, code in pairs if size == most)
        rest = found - most
        weight = channels[0] * channels[1] * kernel**2 * elements
        self.weights = min(rest // weight, 93) if weight >= SMALL_WEIGHT else 0
        rest -= self.weights * weight
        self.rest = 0 if rest < SMALL else rest

    def growth(self, later):
        """Whether the rest grows with the pixels until `later`; None if it is another engine."""
        if (self.copied, self.weights) != (later.copied, later.weights):
            return None
        if abs(later.rest - self.rest) <= max(0.01 * self.rest, EQUAL):
            return 0
        ratio = later.pixels / self.pixels
        is_proportional = abs(later.rest - ratio * self.rest) <= max(0.01 * later.rest, EQUAL)
        return 1 if is_proportional else None

    def letters(self, start, growth, first):
        # The rest at the start, which can be elsewhere than where it was asked.
        rest = self.rest * (first * 2 ** (start / STARTS) / self.pixels if growth else 1)
        log = 0 if rest < 1 else max(1, math.ceil(LOGS * (math.log2(rest) - LEAST)) + 1)
        return letter(start) + letter(self.copied + 9 * growth) + letter(self.weights) + letter(log // 94) + letter(log % 94)


def row(ask, first, last):
    """The segments of a batch, from `first` pixels to `last`."""
    ends = range(0, STARTS * round(math.log2(last / first)) + 1, STARTS)
    known = {}

    def at(step):
        if step not in known:
            known[step] = ask(first * 2 ** (step / STARTS))
        return known[step]

    def follows(a, b, growth):
        """Whether b goes on with a, and how."""
        if at(a) is None or at(b) is None:
            return 0 if at(a) is at(b) else None
        found = at(a).growth(at(b))
        return found if growth is None or found == growth else None

    segments, begin, growth = [], 0, None
    start = 0
    for before, end in zip(ends, ends[1:]):
        found = follows(before, end, growth)
        if found is not None:
            growth = found
            continue
        segments.append((start, begin, growth or 0))
        low, high = before, end
        while high - low > 1:
            middle = (low + high) // 2
            if follows(middle, end, None) is None:
                low = middle
            else:
                high = middle
        start, begin, growth = high, end, None
    segments.append((start, begin, growth or 0))
    return "".join(
        at(begin).letters(start, growth, first) if at(begin) else letter(start) + "~!!!" for start, begin, growth in segments
    )


def group(cudnn, device, op, kind, channels_last, shape, channels, kernel, stride, stage):
    """The rows of a group."""
    first, last = (2 ** math.ceil(math.log2(FEWEST / stage)), 2 ** math.floor(math.log2(MOST / stage)))
    rows = []
    for batch in BATCHES:

        @functools.cache
        def of_size(h, w):
            line = f"{op} {kind} {channels_last} {batch} {channels[0]} {h} {w} {channels[1]} {kernel} {stride}"
            found = cudnn.engines(device, line, most=1)
            return Taken(kind, channels, (batch, h, w), kernel, stride, found[0][1]) if found else None

        def ask(pixels):
            return of_size(*sides(min(max(pixels / batch, SMALLEST), LARGEST), shape))

        rows.append(row(ask, first, last))
    return rows


def text(rows, square):
    """`square` are the rows of square images, None if these are they."""
    if rows == square:
        return "="

    def short(at):
        if at and rows[at] == rows[at - 1]:
            return ""
        return "=" if square and rows[at] == square[at] else rows[at]

    return "\t".join(short(at) for at in range(len(rows)))


def main():
    folder, capability = sys.argv[1:]
    cudnn = workspaces.Cudnn(folder)
    device = cudnn.device(capability)
    kinds = [(of(c), kernel, stride, c) for _, of, kernel, stride, most in KINDS for c in CHANNELS if c <= most]
    for op in (10, 11, 12):
        for channels_last in (0, 1):
            before = None
            for kind in (FP32, FP16, BF16):
                square = None
                for number, shape in enumerate(SHAPES):
                    groups = [group(cudnn, device, op, kind, channels_last, shape, *it) for it in kinds]
                    if square:
                        texts = [text(*pair) for pair in zip(groups, square)]
                    else:
                        texts = ["=" if before and it == before[at] else text(it, None) for at, it in enumerate(groups)]
                        before = square = groups
                    print(f"{capability} {op} {kind} {channels_last} {number}: " + " ".join(texts), flush=True)


if __name__ == "__main__":
    main()
