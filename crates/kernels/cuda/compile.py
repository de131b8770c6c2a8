#!/usr/bin/env python3
"""Compiles `kernels.cu` to `images/`: a cubin for each compute capability, and PTX for later ones.

    python3 crates/kernels/cuda/compile.py

No GPU is needed: NVRTC, NVIDIA's compiler, comes as a wheel of this version, installed by pip into a folder that is
removed afterwards. `images/checksums.txt` says from which source and by which options the images were made; a test of the crate
compares.
"""

import ctypes
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zlib

WHEEL = "nvidia-cuda-nvrtc==13.0.88"
CAPABILITIES = [75, 80, 86, 89, 90, 100, 120]
# No multiply-add but those that the source names, so that a GPU's bits are those of the emulation.
OPTIONS = ["--std=c++17", "--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false"]
HERE = pathlib.Path(__file__).parent


def install(folder):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, WHEEL]
    subprocess.run(command, check=True)
    lib = pathlib.Path(folder) / "nvidia/cu13/lib"
    # NVRTC finds this one by name only.
    ctypes.CDLL(str(lib / "libnvrtc-builtins.so.13.0"), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(lib / "libnvrtc.so.13"))


def compile_for(nvrtc, source, target, kind):
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
    options = [option.encode() for option in [f"--gpu-architecture={target}", *OPTIONS]]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    print(log.value.decode(), end="", file=sys.stderr)
    if failed:
        sys.exit(f"kernels.cu does not compile for {target}")
    getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{kind}")(program, image)
    return image.raw


def main():
    source = (HERE / "kernels.cu").read_bytes()
    images = HERE / "images"
    images.mkdir(exist_ok=True)
    made_of = [HERE / "kernels.cu", pathlib.Path(__file__)]
    lines = [f"{hashlib.sha256(it.read_bytes()).hexdigest()}  ../{it.name}" for it in made_of]
    with tempfile.TemporaryDirectory() as folder:
        nvrtc = install(folder)
        of = [(f"{it}.cubin", f"sm_{it}", "CUBIN") for it in CAPABILITIES]
        of.append((f"{CAPABILITIES[0]}.ptx", f"compute_{CAPABILITIES[0]}", "PTX"))
        for name, target, kind in of:
            image = zlib.compress(compile_for(nvrtc, source, target, kind), 9)
            (images / f"{name}.z").write_bytes(image)
            lines.append(f"{hashlib.sha256(image).hexdigest()}  {name}.z")
            print(f"{name}.z: {len(image)} bytes")
    (images / "checksums.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
