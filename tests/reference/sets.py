#!/usr/bin/env python3
"""Reads data sets that Python packages ship or make with `train`, and compares with what other programs read.

    sets.py TRAIN

TRAIN is the program. The packages are fetched with pip and never committed: labelme 6.3.1, stardist 0.9.1, deepforest
2.1.0, ultralytics 8.4.190 and nnunetv2 2.8.1, without what they depend on. Needs numpy, opencv-python-headless, pillow,
pycocotools, tifffile, scikit-image, scipy, batchgenerators and acvl-utils; without these or a network it says that it
is skipped.
"""

import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import types
import zipfile

PACKAGES = {
    "labelme": "6.3.1",
    "stardist": "0.9.1",
    "deepforest": "2.1.0",
    "ultralytics": "8.4.190",
    "nnunetv2": "2.8.1",
}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(0)


try:
    import cv2  # noqa: F401
    import numpy as np
    import tifffile
    from acvl_utils.morphology import morphology_helper  # noqa: F401
    from PIL import Image
    from pycocotools.coco import COCO
    from scipy import ndimage  # noqa: F401
    from skimage import io  # noqa: F401
except ImportError as error:
    skip(error)


def fetch(work):
    """The unpacked packages, by name."""
    folders = {}
    for name, version in PACKAGES.items():
        # Sources have examples that wheels lack.
        source = ["--no-binary", name] if name in ("labelme", "stardist") else []
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *source, "-d", work, f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            skip(f"pip does not fetch {name}=={version}: {done.stderr.strip().splitlines()[-1:]}")
        archive = next(work.glob(f"{name}-{version}*"))
        folder = work / name
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(folder)
        else:
            tarfile.open(archive).extractall(folder, filter="data")
            folder = next(folder.iterdir())
        folders[name] = folder
    return folders


class Snug:
    def __init__(self, train, work):
        self.train, self.work, self.num = train, work, 0

    def run(self, *arguments):
        done = subprocess.run([self.train, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inspect(self, folder, *flags):
        return json.loads(self.run("inspect", folder, "--json", *flags))

    def imported(self, folder):
        """Masks by stem, and the names of their classes."""
        self.num += 1
        out = self.work / f"out{self.num}"
        self.run("import", folder, "--out", out)
        classes = tomllib.loads((out / "classes.toml").read_text())["classes"]["names"]
        masks = {path.stem.removesuffix("_mask"): pixels(path) for path in out.rglob("*_mask.png")}
        return masks, classes


def pixels(path):
    return np.array(Image.open(path))


def shares(report):
    return [it["share"] for it in report["classes"]]


def labelme(snug, folder):
    examples = folder / "examples"
    voc = examples / "semantic_segmentation/data_dataset_voc"
    labels = {path.stem: pixels(path) for path in (voc / "SegmentationClass").glob("*.png")}
    report = snug.inspect(voc)
    everything = np.concatenate([it.ravel() for it in labels.values()])
    counts = np.bincount(everything, minlength=256)
    known = [it for it in np.unique(everything) if it != 255]
    expected = [counts[it] / counts[known].sum() for it in known]
    assert np.allclose(shares(report), expected, rtol=0, atol=1e-12), (shares(report), expected)
    print(f"labelme, VOC: {len(known)} classes in {len(labels)} masks, every pixel")

    drawn, classes = snug.imported(examples / "semantic_segmentation/data_annotated")
    names = (voc / "class_names.txt").read_text().splitlines()
    differ = total = 0
    for stem, mask in drawn.items():
        theirs = labels[stem]
        ours = np.full(256, 255)
        ours[: len(classes)] = [names.index(it if it != "background" else "_background_") for it in classes]
        differ += (ours[mask] != theirs).sum()
        total += mask.size
    assert drawn.keys() == labels.keys() and differ <= 1e-4 * total, (differ, total)
    print(f"labelme, its JSON: {differ} of {total} pixels differ from labelme's own masks")

    source = examples / "instance_segmentation/data_dataset_coco"
    drawn, classes = snug.imported(source)
    coco = COCO(source / "annotations.json")
    for image in coco.loadImgs(coco.getImgIds()):
        expected = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            name = coco.loadCats(annotation["category_id"])[0]["name"]
            expected[coco.annToMask(annotation) == 1] = classes.index(name)
        assert (drawn[pathlib.Path(image["file_name"]).stem] == expected).all(), image["file_name"]
    print(f"labelme, COCO: {len(drawn)} masks equal pycocotools' annToMask")
    return source


def stardist(snug, folder):
    image, mask = (next(folder.rglob(f"{name}2d.tif")) for name in ("img", "mask"))
    data = snug.work / "stardist"
    for nth in range(2):
        for kind, path in (("images", image), ("masks", mask)):
            (data / kind).mkdir(parents=True, exist_ok=True)
            (data / kind / f"{nth}.tif").write_bytes(path.read_bytes())
    report = snug.inspect(data)
    values, labels = tifffile.imread(image), tifffile.imread(mask)
    assert report["images"]["ranges"] == [[float(values.min()), float(values.max())]], report["images"]
    share = (labels > 0).mean()
    assert abs(report["parts"][0]["foreground"] - share) < 1e-12
    print(f"stardist: {len(np.unique(labels)) - 1} objects, numbered up to {labels.max()}, are foreground ({share:.4f}), range {values.min()} to {values.max()}")


def deepforest(snug, folder):
    image = folder / "deepforest/data/OSBS_029.tif"
    values = pixels(image)
    data = snug.work / "deepforest"
    mask = np.zeros(values.shape[:2], np.uint8)
    mask[: len(mask) // 2] = 255
    for nth in range(2):
        for kind in ("images", "masks"):
            (data / kind).mkdir(parents=True, exist_ok=True)
        (data / f"images/{nth}.tif").write_bytes(image.read_bytes())
        Image.fromarray(mask).save(data / f"masks/{nth}.png")
    report = snug.inspect(data)
    assert report["parts"][0]["max_size"] == list(values.shape[:2]), report["parts"]
    assert report["images"]["channels"] == values.shape[2] == 3
    print(f"deepforest: a GeoTIFF of {values.shape}")


def ultralytics(snug, folder, source):
    """COCO by Ultralytics' own converter. Its package imports PyTorch, so that the file is run without it."""
    lines = (folder / "ultralytics/data/converter.py").read_text().splitlines()
    start = next(at for at, it in enumerate(lines) if it.startswith("def "))
    imports = [it for it in lines[:start] if it.startswith(("import", "from")) and "ultralytics" not in it]
    module = types.ModuleType("converter")
    # What its own package would give.
    module.LOGGER = types.SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)
    module.TQDM = lambda it, **_: it
    for name in ("ASSETS_URL", "PLATFORM_URL"):
        setattr(module, name, "")
    module.DATASETS_DIR, module.NUM_THREADS, module.WINDOWS, module.YAML = pathlib.Path("."), 1, False, None
    module.increment_path = lambda path, **_: pathlib.Path(path)
    exec(compile("\n".join(imports + lines[start:]), "converter.py", "exec"), module.__dict__)
    out = snug.work / "yolo"
    module.convert_coco(source, out, use_segments=True, cls91to80=False)
    labels = next(path for path in (out / "labels").rglob("*.txt")).parent
    images = pathlib.Path(str(labels).replace("labels", "images"))
    images.mkdir(parents=True, exist_ok=True)
    coco = COCO(source / "annotations.json")
    for image in coco.loadImgs(coco.getImgIds()):
        path = source / image["file_name"]
        (images / path.name).write_bytes(path.read_bytes())
        for label in out.rglob(f"{path.stem}.txt"):
            if label.parent != labels:
                label.rename(labels / label.name)
    categories = {it["id"] - 1: it["name"] for it in coco.loadCats(coco.getCatIds())}
    names = "\n".join(f"  {number}: {json.dumps(name)}" for number, name in categories.items() if number >= 0)
    (out / "data.yaml").write_text(f"path: .\ntrain: {images.relative_to(out)}\nval: {images.relative_to(out)}\nnames:\n{names}\n")
    drawn, classes = snug.imported(out)
    theirs, their_classes = snug.imported(source)
    # The same class has another number.
    ours = np.full(256, 255)
    ours[: len(classes)] = [their_classes.index(it) for it in classes]
    differ = sum((ours[drawn[it]] != theirs[it]).sum() for it in theirs)
    total = sum(it.size for it in theirs.values())
    assert drawn.keys() == theirs.keys() and differ < 0.01 * total, (differ, total)
    print(f"ultralytics: {len(drawn)} masks of its polygons, {differ} of {total} pixels other than COCO's ({len(classes)} classes)")


def nnunet(snug, folder):
    """A set as nnU-Net's converter for roads writes it."""
    sys.path.insert(0, str(folder))
    source = (folder / "nnunetv2/dataset_conversion/Dataset120_RoadSegmentation.py").read_text()
    module = {"__name__": "roads"}
    source = "\n".join(it for it in source.splitlines() if "nnunetv2" not in it)
    exec(compile(source, "roads.py", "exec"), module)
    data = snug.work / "nnunet"
    (data / "imagesTr").mkdir(parents=True)
    (data / "labelsTr").mkdir()
    random = np.random.default_rng(0)
    foreground = []
    for nth in range(6):
        image = random.integers(0, 200, (96, 128, 3), np.uint8)
        seg = np.zeros((96, 128), np.uint8)
        seg[:, 20 + 5 * nth : 40 + 5 * nth] = 255
        for name, values in (("image", image), ("seg", seg)):
            Image.fromarray(values).save(snug.work / f"{name}.png")
        label = data / f"labelsTr/road_{nth}.png"
        module["load_and_convert_case"](
            str(snug.work / "image.png"), str(snug.work / "seg.png"), str(data / f"imagesTr/road_{nth}_0000.png"), str(label)
        )
        foreground.append((pixels(label) == 1).mean())
    (data / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "road": 1}, "file_ending": ".png"}))
    report = snug.inspect(data)
    assert len(foreground) == sum(it["images"] for it in report["parts"])
    assert abs(shares(report)[1] - np.mean(foreground)) < 1e-12
    print(f"nnU-Net: {report['layout']}, foreground {np.mean(foreground):.4f}")


def carvana(snug):
    """The names of Carvana, whose masks are GIFs."""
    data = snug.work / "carvana"
    for nth in range(4):
        (data / "train").mkdir(parents=True, exist_ok=True)
        (data / "train_masks").mkdir(exist_ok=True)
        stem = f"00087a6bd4dc_{nth + 1:02}"
        Image.fromarray(np.full((64, 96, 3), 40 * nth, np.uint8)).save(data / f"train/{stem}.jpg")
        mask = np.zeros((64, 96), np.uint8)
        mask[10:40, 10:50] = 1
        gif = Image.fromarray(mask, "P")
        gif.putpalette([0, 0, 0, 255, 255, 255])
        gif.save(data / f"train_masks/{stem}_mask.gif")
    report = snug.inspect(data)
    assert sum(it["images"] for it in report["parts"]) == 4
    assert abs(shares(report)[1] - 30 * 40 / (64 * 96)) < 1e-12, report
    print(f"Carvana: {report['layout']}")


def main():
    (train,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        packages = fetch(work)
        snug = Snug(pathlib.Path(train).resolve(), work)
        source = labelme(snug, packages["labelme"])
        stardist(snug, packages["stardist"])
        deepforest(snug, packages["deepforest"])
        ultralytics(snug, packages["ultralytics"], source)
        nnunet(snug, packages["nnunetv2"])
        carvana(snug)


if __name__ == "__main__":
    main()
