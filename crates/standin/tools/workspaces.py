#!/usr/bin/env python3
"""Asks cuDNN, without a GPU, which engines it would offer for convolutions, and their workspaces.

    workspaces.py LIB CAPABILITY < convolutions > workspaces

LIB is the folder of libcudnn.so.9 of the wheel that libtorch is built for (nvidia-cudnn-cu13 9.19.0.56),
CAPABILITY a compute capability such as 8.6. Each line of the input names a convolution as
`runtime/cudnn.cpp` does, and the output adds the engines in the order of the heuristics: the bits of the
numerical notes, and the bytes of the workspace. cuDNN documents this use since 9.8: the properties of a
card take the place of a handle. It needs no driver. Only the compute capability changes the answers for
these convolutions; the other properties are those of one card.
"""

import ctypes
import json
import sys

(TENSOR, CONVOLUTION, GRAPH, HEURISTICS, CONFIG, ENGINE, PLAN, DEVICE) = (17, 1, 15, 4, 3, 2, 5, 38)
(DATA_TYPE, BOOLEAN, INT64, FLOAT, CONV_MODE, HEUR_MODE, NOTE, DESCRIPTOR, CHAR) = (1, 2, 3, 4, 7, 8, 11, 15, 24)
FP32, FP16, BF16 = 0, 2, 9
OPERATIONS = {10: (704, 703, 705, 702, 700, 701), 12: (710, 709, 711, 708, 706, 707), 11: (716, 715, 717, 714, 712, 713)}

# The properties of a card in JSON, except for its compute capability.
CARD = {
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "multiProcessorCount": 28,
    "warpSize": 32,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 101376,
    "maxSharedMemoryPerSM": 102400,
    "reservedSharedMemoryPerBlock": 1024,
    "maxRegistersPerSM": 65536,
    "maxCtasPerSM": 16,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 1536,
    "pciDeviceId": 0,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "totalGlobalMem": 12884901888,
    "smClockRateKHz": 1777000,
    "memClockRateKHz": 7501000,
    "l2CacheSize": 2359296,
    "cudaDeviceId": 0,
    "driverVer": 13000,
    "deviceName": "a card",
}


class Cudnn:
    def __init__(self, folder):
        self.lib = ctypes.CDLL(f"{folder}/libcudnn.so.9", mode=ctypes.RTLD_GLOBAL)
        self.lib.cudnnGetErrorString.restype = ctypes.c_char_p
        # The descriptors of one convolution.
        self.made = []

    def check(self, status, what):
        if status:
            raise RuntimeError(f"{what}: {self.lib.cudnnGetErrorString(status).decode()}")

    def make(self, kind, **attributes):
        descriptor = ctypes.c_void_p()
        self.check(self.lib.cudnnBackendCreateDescriptor(kind, ctypes.byref(descriptor)), "create")
        if kind != DEVICE:
            self.made.append(descriptor)
        return descriptor

    def set(self, descriptor, attribute, kind, values):
        self.check(
            self.lib.cudnnBackendSetAttribute(
                descriptor, attribute, kind, ctypes.c_int64(len(values)), ctypes.byref(values)
            ),
            f"attribute {attribute}",
        )

    def integers(self, descriptor, attribute, values):
        self.set(descriptor, attribute, INT64, (ctypes.c_int64 * len(values))(*values))

    def choice(self, descriptor, attribute, kind, value):
        self.set(descriptor, attribute, kind, (ctypes.c_int * 1)(value))

    def link(self, descriptor, attribute, other):
        self.set(descriptor, attribute, DESCRIPTOR, (ctypes.c_void_p * 1)(other))

    def finalize(self, descriptor):
        self.check(self.lib.cudnnBackendFinalize(descriptor), "finalize")
        return descriptor

    def get(self, descriptor, attribute, kind, values):
        count = ctypes.c_int64(0)
        self.check(
            self.lib.cudnnBackendGetAttribute(
                descriptor, attribute, kind, ctypes.c_int64(len(values)), ctypes.byref(count), values
            ),
            f"attribute {attribute}",
        )
        return count.value

    def tensor(self, name, kind, sizes, channels_last):
        n, c, h, w = sizes
        strides = [c * h * w, 1, w * c, c] if channels_last else [c * h * w, h * w, w, 1]
        tensor = self.make(TENSOR)
        self.choice(tensor, 901, DATA_TYPE, kind)
        self.integers(tensor, 902, sizes)
        self.integers(tensor, 903, strides)
        self.integers(tensor, 906, [ord(name)])
        self.integers(tensor, 900, [16])
        return self.finalize(tensor)

    def device(self, capability):
        major, minor = capability.split(".")
        text = json.dumps({**CARD, "deviceVer": 100 * int(major) + 10 * int(minor)}).encode()
        device = self.make(DEVICE)
        self.set(device, 2702, CHAR, (ctypes.c_char * len(text))(*text))
        return self.finalize(device)

    def engines(self, device, line, most=64):
        """The engines of a convolution, in order; `most` of them are enough."""
        found = self.find(device, line, most)
        for descriptor in self.made:
            self.check(self.lib.cudnnBackendDestroyDescriptor(descriptor), "destroy")
        self.made.clear()
        return found

    def find(self, device, line, most):
        operation, kind, channels_last, n, c, h, w, k, r, stride = map(int, line.split())
        pad = (r - 1) // 2 if stride == 1 else 0
        out_h, out_w = (h, w) if stride == 1 else (h // stride, w // stride)
        x = self.tensor("x", kind, [n, c, h, w], channels_last)
        weight = self.tensor("w", kind, [k, c, r, r], channels_last)
        y = self.tensor("y", kind, [n, k, out_h, out_w], channels_last)
        convolution = self.make(CONVOLUTION)
        self.choice(convolution, 100, DATA_TYPE, FP32)
        self.choice(convolution, 101, CONV_MODE, 1)
        for attribute, value in [(102, 1), (103, stride), (104, pad), (105, pad)]:
            self.integers(convolution, attribute, [value, value])
        self.integers(convolution, 106, [2])
        self.finalize(convolution)
        op = self.make(operation)
        x_at, w_at, y_at, convolution_at, alpha, beta = OPERATIONS[operation]
        for attribute, other in [(x_at, x), (w_at, weight), (y_at, y), (convolution_at, convolution)]:
            self.link(op, attribute, other)
        for attribute, value in [(alpha, 1.0), (beta, 0.0)]:
            self.set(op, attribute, FLOAT, (ctypes.c_float * 1)(value))
        self.finalize(op)
        graph = self.make(GRAPH)
        self.link(graph, 801, op)
        self.finalize(graph)
        found = []
        # libtorch takes the instant heuristics, then the fallback list.
        for mode in (0, 2):
            heuristics = self.make(HEURISTICS)
            self.link(heuristics, 201, graph)
            self.choice(heuristics, 200, HEUR_MODE, mode)
            self.link(heuristics, 204, device)
            self.finalize(heuristics)
            # More than heuristics ever offer, or more than can fail before the first `most`: fewer are faster.
            room = min(64, 8 * most)
            configs = (ctypes.c_void_p * room)(*[self.make(CONFIG).value for _ in range(room)])
            num = self.get(heuristics, 202, DESCRIPTOR, configs)
            for config in configs[:num]:
                if len(found) == most:
                    return found
                engine = self.plan(device, ctypes.c_void_p(config))
                if engine is not None:
                    found.append(engine)
        return found

    def plan(self, device, config):
        engine = (ctypes.c_void_p * 1)(self.make(ENGINE).value)
        self.get(config, 300, DESCRIPTOR, engine)
        notes = (ctypes.c_int * 10)()
        num = self.get(ctypes.c_void_p(engine[0]), 1303, NOTE, notes)
        plan = self.make(PLAN)
        self.link(plan, 401, config)
        self.link(plan, 407, device)
        try:
            self.finalize(plan)
        except RuntimeError:
            return None
        size = (ctypes.c_int64 * 1)()
        self.get(plan, 402, INT64, size)
        return sum(1 << note for note in notes[:num]), size[0]


def main():
    folder, capability = sys.argv[1:]
    cudnn = Cudnn(folder)
    device = cudnn.device(capability)
    for line in sys.stdin:
        line = line.strip()
        if line:
            engines = cudnn.engines(device, line)
            print(f"{line}: " + " ".join(f"{notes}/{size}" for notes, size in engines), flush=True)


if __name__ == "__main__":
    main()
