"""Writes reference.txt: small files by Pillow, tifffile and imagecodecs, with the values that Pillow or
tifffile reads from them.

    pip install pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy
    python reference.py > reference.txt

A line is: name, type, height, width, channels, alpha, highest, pages, samples, RGB, file. RGB is what
Pillow shows upright on white, or `-` where it cannot. Samples of lossy files are within a tolerance.
"""

import io

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

H, W = 3, 5
rng = np.random.default_rng(7)


def ints(dtype, channels=None, low=0, high=None):
    shape = (H, W) if channels is None else (H, W, channels)
    high = np.iinfo(dtype).max if high is None else high
    return rng.integers(low, high, shape, dtype=dtype, endpoint=True)


def shown(data):
    """Pixels as Pillow shows them upright on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode in ("1", "L", "RGB", "CMYK", "P") and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"))
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return np.asarray(white)


def line(name, data, array, alpha="none", highest=None, pages=1, rgb=True):
    array = np.asarray(array)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype == bool:
        array, highest = array.astype(np.uint8), 1
    if array.dtype in (np.int8, np.int16, np.int32, np.int64, np.uint64):
        is_wide = array.min() < 0 or array.max() > 2**32 - 1
        if not is_wide and highest is None:
            highest = min(np.iinfo(array.dtype).max, 2**32 - 1)
        array = array.astype(np.float32 if is_wide else np.uint32)
    if array.dtype.kind == "f":
        array, highest = array.astype(np.float32), 0
    highest = np.iinfo(array.dtype).max if highest is None else highest
    values = array.ravel()
    values = values.view(np.uint32) if array.dtype == np.float32 else values
    rgb = shown(data).tobytes().hex() if rgb else "-"
    shape = " ".join(map(str, array.shape))
    samples = ",".join(map(str, values))
    print(name, array.dtype, shape, alpha, highest, pages, samples, rgb, data.hex())


def tif(name, array, alpha="none", highest=None, pages=1, rgb=False, **options):
    data = io.BytesIO()
    tifffile.imwrite(data, array, metadata=None, software=False, **options)
    read = tifffile.imread(io.BytesIO(data.getvalue()), key=0)
    if options.get("planarconfig") == "separate":
        read = np.moveaxis(read, 0, -1)
    line(name, data.getvalue(), read, alpha, highest, pages, rgb)


def pil(name, image, kind, array=None, alpha="none", highest=None, pages=1, rgb=True, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    data = data.getvalue()
    read = np.asarray(Image.open(io.BytesIO(data)))
    line(name, data, read if array is None else array, alpha, highest, pages, rgb)


tif("tiff-gray8", ints(np.uint8), rgb=True)
tif("tiff-gray16-big-endian", ints(np.uint16), byteorder=">")
tif("tiff-gray32", ints(np.uint32))
tif("tiff-gray64", ints(np.uint64, high=2**32 - 1))
tif("tiff-gray64-large", ints(np.uint64))
tif("tiff-int8", ints(np.int8))
tif("tiff-int8-negative", ints(np.int8, low=-128))
tif("tiff-int16", ints(np.int16))
tif("tiff-int16-negative", ints(np.int16, low=-2000))
tif("tiff-int32", ints(np.int32))
tif("tiff-int64-negative", ints(np.int64, low=-(2**40), high=2**40))
floats = rng.normal(0, 1e3, (H, W))
floats[0, :3] = np.nan, np.inf, -np.inf
tif("tiff-float16", floats.astype(np.float16))
tif("tiff-float32", floats.astype(np.float32))
tif("tiff-float64", floats)
tif("tiff-float32-predictor", floats.astype(np.float32), compression="deflate", predictor=3)
# Here 0 is white: tifffile reads what is stored, and Pillow what is shown.
tif("tiff-bit", ints(np.uint8, high=1).astype(bool), rgb=True)
tif("tiff-bit-black-is-zero", ints(np.uint8, high=1).astype(bool), photometric="minisblack", rgb=True)
tif("tiff-gray8-white-is-zero", ints(np.uint8), photometric="miniswhite", rgb=True)
tif("tiff-gray16-white-is-zero", ints(np.uint16), photometric="miniswhite")
tif("tiff-rgb8", ints(np.uint8, 3), photometric="rgb", rgb=True)
tif("tiff-rgb16-big", ints(np.uint16, 3), photometric="rgb", bigtiff=True)
tif("tiff-rgb16-lzw", ints(np.uint16, 3), photometric="rgb", compression="lzw", predictor=2)
tif("tiff-rgb8-deflate", ints(np.uint8, 3), photometric="rgb", compression="deflate", rgb=True)
tif("tiff-gray8-packbits", ints(np.uint8), compression="packbits", rgb=True)
planes = np.moveaxis(ints(np.uint16, 3), -1, 0)
tif("tiff-rgb16-planes", planes, photometric="rgb", planarconfig="separate")
tif("tiff-bands", ints(np.uint16, 6), photometric="minisblack", planarconfig="contig")
tif("tiff-rgb8-rows", ints(np.uint8, 3), photometric="rgb", rowsperstrip=1, rgb=True)
tif("tiff-tiles", rng.integers(0, 7, (19, 33), dtype=np.uint16), tile=(16, 16), compression="deflate")
tif("tiff-rgba8", ints(np.uint8, 4), "straight", photometric="rgb", extrasamples=["unassalpha"], rgb=True)
tif("tiff-rgba8-predictor", ints(np.uint8, 4), "straight", photometric="rgb", compression="lzw", predictor=2,
    extrasamples=["unassalpha"], rgb=True)
tif("tiff-rgba16", ints(np.uint16, 4), "straight", photometric="rgb", extrasamples=["unassalpha"])
tif("tiff-graya8", ints(np.uint8, 2), "straight", photometric="minisblack", planarconfig="contig",
    extrasamples=["unassalpha"], rgb=True)
multiplied = np.minimum(ints(np.uint8, 4), np.array([60, 70, 80, 255], np.uint8))
multiplied[..., 3] |= 128
tif("tiff-rgba8-multiplied", multiplied, "premultiplied", photometric="rgb", extrasamples=["assocalpha"])
tif("tiff-rgb8-infrared", ints(np.uint8, 4), photometric="rgb", extrasamples=["unspecified"])
colours = rng.integers(0, 2**16, (3, 256), dtype=np.uint16)
tif("tiff-palette", ints(np.uint8), photometric="palette", colormap=colours, rgb=True)
tif("tiff-pages", np.stack([ints(np.uint8) for _ in range(3)]), photometric="minisblack", pages=3, rgb=True)
bits = Image.fromarray(ints(np.uint8, high=1).astype(bool))
pil("tiff-fax", bits, "TIFF", compression="group4")

gray = Image.fromarray(ints(np.uint8))
colour = Image.fromarray(ints(np.uint8, 3))
with_alpha = Image.fromarray(ints(np.uint8, 4))
pil("png-gray", gray, "PNG")
pil("png-bit", bits, "PNG")
pil("png-gray-alpha", Image.fromarray(ints(np.uint8, 2), "LA"), "PNG", alpha="straight")
pil("png-rgb", colour, "PNG")
pil("png-rgba", with_alpha, "PNG", alpha="straight")
pil("png-gray16", Image.fromarray(ints(np.uint16)), "PNG", rgb=False)
few = Image.fromarray(ints(np.uint8, high=3), "P")
few.putpalette([9, 8, 7, 60, 50, 40, 250, 240, 230, 1, 2, 3])
pil("png-palette", few, "PNG", highest=3)
pil("png-palette-alpha", few, "PNG", highest=3, transparency=bytes([0, 128, 255, 60]))
key = np.asarray(colour)[1, 2]
keyed = np.dstack([colour, np.where((np.asarray(colour) == key).all(-1), 0, 255).astype(np.uint8)])
pil("png-key", colour, "PNG", keyed, "straight", transparency=tuple(map(int, key)))
deep = ints(np.uint16, 4)
line("png-rgba16", imagecodecs.png_encode(deep), deep, "straight", rgb=False)

pil("bmp-bit", bits, "BMP", np.asarray(bits))
pil("bmp-gray", gray, "BMP")
pil("bmp-palette", few, "BMP", np.asarray(few), highest=255)
pil("bmp-rgb", colour, "BMP")
pil("bmp-unused-byte", with_alpha, "BMP")

pil("gif-gray", gray, "GIF", optimize=False)
pil("gif-palette", few, "GIF", np.asarray(few))
pil("gif-transparent", few, "GIF", np.asarray(few), transparency=2)
frames = [Image.fromarray(ints(np.uint8, high=3), "P") for _ in range(3)]
for frame in frames:
    frame.putpalette(few.getpalette())
pil("gif-frames", frames[0], "GIF", np.asarray(frames[0]), pages=3, save_all=True, append_images=frames[1:],
    optimize=False)

pil("webp-lossless", colour, "WEBP", lossless=True)
pil("webp-lossless-alpha", with_alpha, "WEBP", alpha="straight", lossless=True, exact=True)
pil("webp-frames", colour, "WEBP", pages=2, save_all=True, append_images=[gray.convert("RGB")], lossless=True)
ramp = np.add.outer(np.arange(11) * 8, np.arange(9) * 9).astype(np.uint8)
smooth = Image.fromarray(np.dstack([ramp, ramp[::-1], ramp // 2]))
pil("webp-lossy", smooth, "WEBP", quality=95)
pil("jpeg-rgb", smooth, "JPEG", quality=95)
pil("jpeg-gray", Image.fromarray(ramp), "JPEG", quality=95)
pil("jpeg-progressive", smooth, "JPEG", quality=95, progressive=True)
