#!/usr/bin/env python3
"""Checks the include rules: rooms depend downwards only, and few of them see the outside world.

Run from anywhere; prints each breach as FILE:LINE and exits 1 when there is one.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A room may include itself and the rooms listed. Longest prefix wins.
ROOMS = {
    "common/base": [],
    "common/tensor": ["common/base"],
    "common/config": ["common/base", "common/tensor"],
    "common/parallel": ["common/base", "common/config", "common/tensor"],
    "common/kernels": ["common/base", "common/parallel", "common/tensor"],
    "common/protocol": ["common/base", "common/kernels", "common/parallel"],
    "common/checkpoint": ["common/base", "common/config", "common/parallel", "common/tensor"],
    "common/text": ["common/base"],
    "common/transport": ["common/base", "common/parallel", "common/protocol"],
    "worker/model": [
        "common/base", "common/checkpoint", "common/config", "common/kernels", "common/parallel", "common/tensor",
    ],
    "worker/stage": ["common", "worker/model"],
    "coordinator": ["common"],
    # Lines, requests and results: no rank in sight.
    "coordinator/io": ["common/base", "common/config", "common/tensor", "common/text"],
    # The verbs and main know both roles.
    "coordinator/cli": ["common", "coordinator", "worker"],
    "coordinator/main.cc": ["common", "coordinator", "worker"],
}
# Headers that only some rooms may see.
RESTRICTED = [
    (re.compile(r"[<\"](mpi|nccl)\.h[>\"]"), ["common/transport", "tests"]),
    (re.compile(r"<sys/socket\.h>|<netinet/|<arpa/inet\.h>"), []),
    # Logs go through common/base/log.h, and Debian's Abseil is not instrumented for TSan.
    (re.compile(r"[<\"]spdlog/"), ["common/base"]),
    (re.compile(r"[<\"]absl/(synchronization|log)/"), []),
]
# These compute: they open no file.
NO_FILES = ["common/kernels", "worker/model"]
FILE_HEADERS = re.compile(
    r"<(fstream|filesystem|fcntl\.h|unistd\.h|cstdio|stdio\.h|sys/(mman|stat|types)\.h)>"
)
TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "README.md", "common", "configs", "coordinator", "docs",
    "examples", "models", "scripts", "tests", "worker",
}


def room_of(path):
    best = None
    for room in ROOMS:
        if (path == room or path.startswith(room + "/")) and (best is None or len(room) > len(best)):
            best = room
    return best


def allowed(room, included):
    return any(
        included == target or included.startswith(target + "/") for target in [room, *ROOMS[room]]
    )


def check_file(path, breaches):
    name = path.relative_to(ROOT).as_posix()
    room = room_of(name)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+(<[^>]+>|"[^"]+")', line)
        if not match:
            continue
        header = match.group(1)
        for pattern, rooms in RESTRICTED:
            if pattern.search(header) and not any(name.startswith(r + "/") for r in rooms):
                breaches.append(f"{name}:{number}: {header} is not for this room")
        if FILE_HEADERS.search(header) and any(name.startswith(r + "/") for r in NO_FILES):
            breaches.append(f"{name}:{number}: {header} in a room that computes")
        included = header.strip('"<>')
        target = room_of(included)
        if room is not None and target is not None and not allowed(room, included):
            breaches.append(f"{name}:{number}: {room} may not include {included}")


def main():
    breaches = []
    for folder in ("common", "worker", "coordinator", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".h", ".cc", ".inc", ".cu"}:
                check_file(path, breaches)
    for path in sorted(ROOT.iterdir()):
        if not path.name.startswith(".") and path.name not in TOP_LEVEL | {"build"}:
            breaches.append(f"{path.name}: not a name of the top level")
    print("\n".join(breaches) if breaches else "include rules hold")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
