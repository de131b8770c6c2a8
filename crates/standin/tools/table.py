"""The workspaces of cuDNN's first choices as a table for the estimator, asked without a GPU.

    table.py LIB CAPABILITY > lines

LIB is the folder of libcudnn.so.9 (see `workspaces.py`). Each line is for one operation, data type, memory
format and shape of images; its groups, separated by spaces, are the kinds of convolution of the network, each with its
channel counts, in the order below. A group has a row for each batch of `BATCHES`, separated by tabs; an empty row is as
the one before. A row is a list of segments of five letters, by the size of the images:

1. the first of its images, as a step of `unit`;
2. which tensors the engine copies into its own layout, whether it does so twice, and whether the other bytes grow with
   the pixels;
3. how many copies of the weight it makes;
4. and 5. the logarithm of the other bytes at the start.

Images are asked whose sides are a few units of 8 to 15 times a power of two (every second one, from the first of a row),
as are those that people train with, and
the images of the deeper stages.

Where cuDNN has no engine, the second letter is "~". A group "=" of square images is as the one of the data type before.
Of other images, a row or a group "=" is as the one of square images, and so is everything without a line.
`crates/estimator/src/step/kernels/cuda/table.rs` reads it.
"""

import functools
import math
import sys

import workspaces

# Channels of a stage.
CHANNELS = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
# The image's and the result's channels for `c`, the kernel, the stride, and the most channels that occur.
KINDS = [
    ("same", lambda c: (c, c), 3, 1, 1024),
    ("half", lambda c: (c // 2, c), 3, 1, 1024),
    ("double", lambda c: (2 * c, c), 3, 1, 512),
    ("up", lambda c: (c, 2 * c), 2, 2, 512),
    ("first", lambda c: (3, c), 3, 1, 128),
    ("head", lambda c: (c, 1), 1, 1, 128),
    # Of several classes: an even number, an odd one, a whole vector, and many.
    ("even", lambda c: (c, 4), 1, 1, 128),
    ("odd", lambda c: (c, 3), 1, 1, 128),
    ("vector", lambda c: (c, 8), 1, 1, 128),
    ("many", lambda c: (c, 21), 1, 1, 128),
]
BATCHES = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32]
# Numbers of a stage's tensor. Fewer are looked up as the fewest, and more as the most.
FEWEST, MOST = 2**18, 2**30
# Height and width of images, in units.
SHAPES = [(2, 2), (2, 3), (3, 2)]
# Units of the smallest and the largest image, and steps of an octave.
SMALLEST, LARGEST, STEPS = 8, 1024, 8
# Each of these steps is asked, and those between them where the engine changes.
EVERY = 2
# Steps of an octave of bytes from the least on.
LOGS, LEAST = 256, 10
# Copies of a weight of fewer bytes are not counted as such.
SMALL_WEIGHT = 2**16
# Fewer bytes are left out, and differences of fewer bytes are none. Requests of libtorch's allocator are rounded
# up to 2 MiB: a few bytes more than copies of tensors can take as much.
SMALL, EQUAL = 512, 2**14
# What takes no more than this part beside copies made twice is one engine with them, and engines that differ by no
# more than this part of two copies are one.
SMALL_PART = 1 / 128
# Of the letter for copies: constant, growing, made twice.
TWICE = 18
FP32, FP16, BF16 = 0, 2, 9


def letter(number):
    """The printable characters after the space."""
    return chr(33 + min(number, 93))


def unit(step):
    octave, part = divmod(step, STEPS)
    return SMALLEST * 2**octave * (STEPS + part) / STEPS


def step_of(pixels, shape):
    """The step of an image of about these pixels."""
    units = max(1, math.sqrt(pixels / (shape[0] * shape[1])) / SMALLEST)
    octave = math.floor(math.log2(units))
    return STEPS * octave + round(STEPS * (units / 2**octave - 1))


def sides(step, shape):
    """Height and width, both even."""
    height, width = (round(of * unit(step)) for of in shape)
    return height + height % 2, width + width % 2


def copies(elements, channels, pixels, unit):
    """Bytes of a tensor that is not copied, copied, and copied with its channels padded."""
    padded = -(-channels // unit) * unit
    return [0, channels * pixels * elements, padded * pixels * elements]


class Taken:
    """What an engine takes for an image."""

    def __init__(self, kind, channels, sizes, kernel, stride, found):
        elements = 4 if kind == FP32 else 2
        unit = 16 // elements
        self.found = found
        self.pixels = sizes[0] * sizes[1] * sizes[2]
        image = copies(elements, channels[0], self.pixels, unit)
        result = copies(elements, channels[1], self.pixels // stride**2, unit)
        once = [i + r for i in image for r in result]
        # By the code of copies.
        self.sizes = once + once + [2 * size for size in once]
        fitting = [(size, -code) for code, size in enumerate(once) if size <= found]
        twice = [
            (2 * size, -code - TWICE) for code, size in enumerate(once) if 0 < 2 * size <= found <= (1 + SMALL_PART) * 2 * size
        ]
        # Of equal ones the plain copy.
        most, code = max(fitting)
        if twice and found > (1 + SMALL_PART) * most:
            most, code = max(twice)
        self.copied = -code
        rest = found - most
        self.weight = channels[0] * channels[1] * kernel**2 * elements
        self.weights = min(rest // self.weight, 93) if self.weight >= SMALL_WEIGHT else 0
        rest -= self.weights * self.weight
        self.rest = 0 if rest < SMALL else rest

    def growth(self, later):
        """Whether the rest grows with the pixels until `later`; None if it is another engine."""
        if (self.copied, self.weights) != (later.copied, later.weights):
            return None
        if abs(later.rest - self.rest) <= max(0.01 * self.rest, EQUAL):
            return 0
        ratio = later.pixels / self.pixels
        is_proportional = abs(later.rest - ratio * self.rest) <= max(0.01 * later.rest, EQUAL)
        return 1 if is_proportional and self.copied < TWICE else None

    def is_close(self, later, growth):
        """Whether this engine would take about as much as the one of `later` does."""
        rest = self.rest * (later.pixels / self.pixels) ** growth
        said = later.sizes[self.copied] + self.weights * self.weight + rest
        return abs(said - later.found) <= max(SMALL_PART * max(later.sizes), EQUAL)

    def letters(self, start, pixels, growth):
        # The rest at the start, which can be elsewhere than where it was asked.
        rest = self.rest * (pixels / self.pixels if growth else 1)
        log = 0 if rest < 1 else max(1, math.ceil(LOGS * (math.log2(rest) - LEAST)) + 1)
        return letter(start) + letter(self.copied + 9 * growth) + letter(self.weights) + letter(log // 94) + letter(log % 94)


def row(ask, pixels, first, last):
    """The segments of a batch, from the step `first` to `last`; `pixels` of a step."""

    def follows(a, b, growth=None):
        """Whether b goes on with a, and how."""
        if ask(a) is None or ask(b) is None:
            return 0 if ask(a) is ask(b) else None
        found = ask(a).growth(ask(b))
        return found if growth is None or found == growth else None

    def is_close(a, b, growth):
        return None not in (ask(a), ask(b)) and ask(a).is_close(ask(b), growth)

    segments, start, begin, growth = [], first, first, None
    for step in range(first, last + 1, EVERY):
        found = follows(begin, step, growth)
        if found is not None:
            # Bytes that are small can seem to be both.
            if step > begin:
                growth = found
        elif not is_close(begin, step, growth or 0):
            segments.append((start, begin, growth or 0))
            start = step - 1 if follows(step - 1, step) is not None else step
            begin, growth = step, None
    segments.append((start, begin, growth or 0))
    # What does not grow is also that of smaller images.
    if segments[0][2] == 0:
        segments[0] = (0, *segments[0][1:])
    return "".join(
        ask(begin).letters(start, pixels(start), growth) if ask(begin) else letter(start) + "~!!!" for start, begin, growth in segments
    )


def group(cudnn, device, op, kind, channels_last, shape, channels, kernel, stride, stage):
    """The rows of a group."""
    rows = []
    for batch in BATCHES:

        @functools.cache
        def ask(step):
            h, w = sides(step, shape)
            line = f"{op} {kind} {channels_last} {batch} {channels[0]} {h} {w} {channels[1]} {kernel} {stride}"
            found = cudnn.engines(device, line, most=1)
            return Taken(kind, channels, (batch, h, w), kernel, stride, found[0][1]) if found else None

        def pixels(step):
            return batch * shape[0] * shape[1] * unit(step) ** 2

        most = step_of(LARGEST**2 * shape[0] * shape[1], shape)
        first, last = (min(step_of(elements / stage / batch, shape), most) for elements in (FEWEST, MOST))
        rows.append(row(ask, pixels, first, last))
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


def asked(op, name, channels):
    """Weight gradients of an odd number of classes, about which cuDNN thinks long, are as those of one."""
    return (channels[0], 1) if op == 11 and name in ("odd", "many") else channels


def main():
    folder, capability = sys.argv[1:]
    cudnn = workspaces.Cudnn(folder)
    device = cudnn.device(capability)

    @functools.cache
    def rows(*of):
        return group(cudnn, device, *of)

    for op in (10, 11, 12):
        kinds = [(asked(op, name, of(c)), kernel, stride, c) for name, of, kernel, stride, most in KINDS for c in CHANNELS if c <= most]
        for channels_last in (0, 1):
            before = None
            for kind in (FP32, FP16, BF16):
                square = None
                for number, shape in enumerate(SHAPES):
                    # Cards before 8.0 have no bf16, and are not used with it.
                    has_kind = kind != BF16 or float(capability) >= 8
                    groups = [rows(op, kind if has_kind else FP16, channels_last, shape, *it) for it in kinds]
                    if square:
                        texts = [text(*pair) for pair in zip(groups, square)]
                    else:
                        texts = ["=" if before and it == before[at] else text(it, None) for at, it in enumerate(groups)]
                        before = square = groups
                    print(f"{capability} {op} {kind} {channels_last} {number}: " + " ".join(texts), flush=True)


if __name__ == "__main__":
    main()
