#!/usr/bin/env python3
"""Runs clang-tidy on C++ files, and not again on a file that was clean and has not changed since.

A file's key is a hash of all that clang-tidy sees of it: the project's files it includes, its compile command, the
configuration and clang-tidy's version. Keys of clean files are kept in build/tidy_cache. System headers are
taken to change with their packages alone: after an upgrade, remove that folder.

    scripts/run_clang_tidy.py [--build build/release] [--jobs N] FILE...
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "tidy_cache"
# Flags of g++ that clang does not know.
EXTRA = ["-Wno-unknown-warning-option", "-Wno-ignored-optimization-argument"]


def output_of(command, **how):
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


def load_commands(build):
    """Compile commands by file, as lists."""
    path = build / "compile_commands.json"
    if not path.exists():
        sys.exit(f"clang-tidy: no {path}; configure first: cmake --preset release")
    return {
        pathlib.Path(entry["file"]).resolve(): (shlex.split(entry["command"]), entry["directory"])
        for entry in json.loads(path.read_text())
    }


class Tidy:
    def __init__(self, build):
        self.build = build
        self.commands = load_commands(build)
        self.version = output_of(["clang-tidy", "--version"]).stdout

    def key(self, path):
        """The hash of what clang-tidy sees, or None where the file does not even preprocess."""
        command, directory = self.commands[path]
        # Compiler wrappers stand in front of the compiler; -o FILE and -c go.
        flags = command[next(i for i, word in enumerate(command) if word.startswith("-")) :]
        at = flags.index("-o")
        flags = [word for word in flags[:at] + flags[at + 2 :] if word != "-c"]
        listed = output_of(["clang++", *flags, *EXTRA, "-w", "-MM", "-MT", "x"], cwd=directory)
        if listed.returncode != 0:
            return None
        digest = hashlib.sha256("\0".join([self.version, *flags]).encode())
        files = listed.stdout.replace("\\\n", " ").split()[1:]
        configs = {folder / ".clang-tidy" for folder in path.parents if folder >= ROOT}
        for name in sorted({os.path.join(directory, file) for file in files} | set(map(str, configs))):
            if os.path.exists(name):
                digest.update(name.encode() + b"\0" + pathlib.Path(name).read_bytes())
        return digest.hexdigest()

    def check(self, path):
        """(clean, seconds or None where the answer was known, clang-tidy's words)."""
        start = time.monotonic()
        key = self.key(path)
        known = CACHE / key if key else None
        if known and known.exists():
            return True, None, ""
        command = ["clang-tidy", "-p", str(self.build), "--quiet"]
        command += [f"--extra-arg={flag}" for flag in EXTRA]
        done = output_of([*command, str(path)], cwd=ROOT)
        if done.returncode == 0 and known:
            known.touch()
        return done.returncode == 0, time.monotonic() - start, done.stdout + done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    tidy = Tidy(args.build)
    paths = [path.resolve() for path in args.files]
    skipped = [path for path in paths if path not in tidy.commands]
    for path in skipped:
        print(f"clang-tidy: {path.relative_to(ROOT)} is not compiled in {args.build.name}: skipped")
    paths = [path for path in paths if path in tidy.commands]
    known, dirty = 0, []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for path, (clean, seconds, words) in zip(paths, pool.map(tidy.check, paths)):
            name = path.relative_to(ROOT)
            if seconds is None:
                known += 1
            elif clean:
                print(f"clang-tidy: {name} is clean ({seconds:.0f} s)", flush=True)
            else:
                dirty.append(name)
                print(words.strip() or f"clang-tidy failed on {name}", flush=True)
    if dirty:
        print(f"clang-tidy: {len(dirty)} of {len(paths)} files have findings:", *dirty)
        return 1
    print(f"clang-tidy: {len(paths)} files are clean ({known} unchanged since the last run)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
