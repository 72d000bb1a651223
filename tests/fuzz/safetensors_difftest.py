#!/usr/bin/env python3
"""Compares tandem's safetensors header checks with the reference's on mutated files.

What tandem accepts, the reference must accept; what tandem alone refuses is listed by reason (a
name that comes twice is the wanted difference). Needs PyPI's safetensors (compared with 0.8.0).

    safetensors_difftest.py build/release/tests/.../safetensors_check SEED_FOLDER [--files 20000]
"""

import argparse
import collections
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

from safetensors import deserialize

INSERTS = [b"0", b'"', b"}", b"{", b",", b"\\u0041", b"18446744073709551616", b"\xff", b"  ",
           b"[]", b"null", b"1e3", b"-1", b"true", b'"dtype":"F32",', b'"shape":[1],']


def mutate(data, rng):
    for _ in range(rng.randrange(0, 4)):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:at + rng.randrange(1, 9)]
        elif kind == 2:
            data[at:at] = rng.choice(INSERTS)
        elif kind == 3 and len(data) > 8:
            size = struct.unpack("<Q", data[:8])[0]
            delta = rng.choice([-1, 1, 8, -8, 2**63, 100000001])
            data[:8] = struct.pack("<Q", (size + delta) % 2**64)
        elif kind == 4:
            del data[at:]
        elif kind == 5 and len(data) > 8:  # A header of the length it should have.
            size = max(0, min(len(data) - 8, data.rfind(b"}") + 1 - 8))
            data[:8] = struct.pack("<Q", size)
        elif kind == 6:  # Another digit.
            digits = [i for i, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
            if digits:
                data[rng.choice(digits)] = 48 + rng.randrange(10)
    return bytes(data)


def accepted_by_reference(data):
    try:
        deserialize(data)
        return True
    except Exception:  # Whatever it refuses with.
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check")
    parser.add_argument("seeds", type=pathlib.Path)
    parser.add_argument("--files", type=int, default=20000)
    args = parser.parse_args()
    rng = random.Random(3)
    seeds = [path.read_bytes() for path in sorted(args.seeds.iterdir())]
    ours_alone = []
    refused_alone = collections.Counter()
    num_accepted = 0
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, args.files, 500):
            files = []
            for i in range(first, min(first + 500, args.files)):
                path = pathlib.Path(folder, str(i % 500))
                data = mutate(bytearray(rng.choice(seeds)), rng)
                path.write_bytes(data)
                files.append((path, data))
            output = subprocess.run([args.check] + [str(path) for path, _ in files],
                                    capture_output=True, text=True, check=True).stdout
            for (path, data), said in zip(files, output.splitlines(), strict=True):
                reference = accepted_by_reference(data)
                num_accepted += reference
                if said == "ok" and not reference:
                    ours_alone.append(data[:160])
                elif said != "ok" and reference:
                    reason = re.sub(r'"[^"]*"', '"..."', said.split(": ", 1)[1])
                    refused_alone[re.sub(r"\d+", "N", reason)] += 1
    print(f"{args.files} files, the reference accepts {num_accepted}")
    print(f"accepted by tandem alone: {len(ours_alone)}")
    for data in ours_alone[:10]:
        print("  ", data)
    print("refused by tandem alone:", dict(refused_alone))
    return 1 if ours_alone else 0


if __name__ == "__main__":
    sys.exit(main())
