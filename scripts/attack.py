#!/usr/bin/env python3
"""Attacks the real commands, and says what they did not withstand.

Mutated files: every kind of file that a command reads (scripts/attack_inputs.py) is damaged in many ways;
whatever happens, the command must end in time with exit code 0, 2 or 3, say why in one printable line, leave
its inputs as they are, and leave a complete output, none, or one with which the same command goes on once the
inputs are mended. Kills: training, curves, `convert` and `lowbank run` are killed at random moments, and at
each call of fsync, rename, mkdir and the like; started again, they must give what an undisturbed run gives,
byte for byte. Places: full disks, closed descriptors, two commands in one folder.

usage: scripts/attack.py [--bin DIR] [--seed N] [--seconds N] [--only files kills places] [--summary FILE]
Without --seconds this is the short form, a fixed number of attacks of each kind (for continuous integration).
With --seconds (1800 before a release) each command is killed at every call, and at 100 random moments or more,
and files are damaged in the time that is left. The exit code is 1 if anything was not withstood, or if there
were fewer attacks than that. Needs a C compiler.
"""

import argparse
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attack_inputs
from attack_inputs import COMMON, DATA, NOISY, ROOT, SAMPLES, STORY, TRAIN

TIME_LIMIT_S = 60
LONG_LIMIT_S = 20  # of a command that damage may have asked for more work; then it has to obey Ctrl-C
MEMORY_LIMIT_BYTES = 8 << 30
MOST_KEPT = 30  # folders of findings
# Whatever a terminal would act on, in UTF-8.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
# What differs between two undisturbed runs.
VOLATILE = {"seconds", "tokens_per_second", "date", "ctime_ns", "resume", "fingerprint"}
WITH_TIMES = re.compile(r"log\.txt|report\.html|table_(runs|training)\..*|\.lock")
RANDOM_KILLS = 110
INTERRUPTS = 12


def children_of(parent):
    try:
        return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def without_volatile(node):
    if isinstance(node, dict):
        return {key: without_volatile(value) for key, value in node.items() if key not in VOLATILE}
    return [without_volatile(value) for value in node] if isinstance(node, list) else node


def result_of(folder):
    """What must be equal: the names of all files, and their content without times."""
    result = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path.name == "run.json":
            content = sorted(json.loads(content)["outputs"])
        elif path.suffix == ".json":
            content = without_volatile(json.loads(content))
        elif path.suffix == ".jsonl":
            content = [without_volatile(json.loads(line)) for line in content.splitlines()]
        elif WITH_TIMES.fullmatch(path.name) or path.parent.name == "stages":
            content = None
        result[str(path.relative_to(folder))] = content
    return result


def first_difference(result, expected):
    for name in sorted({*result, *expected}):
        if name not in result or name not in expected:
            return f"{name} {'is missing' if name not in result else 'is left'}"
        if result[name] != expected[name]:
            return f"{name} differs"
    return None


class Attack:
    def __init__(self, options):
        self.bin = Path(options.bin).resolve()
        self.seed = options.seed
        self.is_short = options.seconds is None
        self.work = Path(tempfile.mkdtemp(prefix="lowbank_attack_"))
        self.given = self.work / "given"
        self.counts = Counter()
        self.findings = []
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        self.bases = {}

    # ---- Commands --------------------------------------------------------------------------------

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def finding(self, what, command, result=None, keep=None):
        line = f"{what}: {' '.join(map(str, command))}"
        if result is not None:
            line += f"\n    exit {result.returncode}: {result.stderr.strip()[-300:]!r}"
        with self.lock:
            if keep is not None and keep.exists() and len(self.findings) < MOST_KEPT:
                place = Path(tempfile.mkdtemp(prefix="lowbank_found_"))
                shutil.copytree(keep, place, dirs_exist_ok=True, symlinks=True)
                line += f"\n    files: {place}"
            self.findings.append(line)
            print("NOT WITHSTOOD", line, flush=True)

    def folder(self):
        """A new folder, alone in its parent."""
        folder = self.work / str(next(self.numbers)) / "here"
        folder.parent.mkdir()
        return folder

    def start(self, command, cwd, file_bytes=None, environment=None, stdout=subprocess.PIPE):
        limits = [f"--as={MEMORY_LIMIT_BYTES}", "--core=0", *([f"--fsize={file_bytes}"] if file_bytes is not None else [])]
        words = [self.bin / "lowbank", *command] if command[0] == "run" else \
            [self.bin / f"lowbank-{command[0]}", *command[1:]]
        return subprocess.Popen(
            ["prlimit", *limits, "--", *words], cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "LOWBANK_HOME": str(ROOT), **(environment or {})})

    def end(self, process, command, cwd, limit_s=TIME_LIMIT_S, may_be_long=False):
        """Waits for the end; None if it had to be stopped."""
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            if may_be_long:
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(5)
                os.killpg(process.pid, signal.SIGINT)
                result = self.end(process, [*command, "(after Ctrl-C)"], cwd, 10)
                self.count("ended by Ctrl-C after 20 s")
                return result
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.finding("hang", command, keep=cwd)
            return None
        return subprocess.CompletedProcess(command, process.returncode, (out or b"").decode("utf-8", "replace"),
                                           err.decode("utf-8", "replace"))

    def run(self, command, cwd, may_be_long=False, **more):
        return self.end(self.start(command, cwd, **more), command, cwd,
                        LONG_LIMIT_S if may_be_long else TIME_LIMIT_S, may_be_long)

    def must_run(self, command, cwd, environment=None):
        result = self.run(command, cwd, environment=environment)
        if result is None or result.returncode != 0:
            raise SystemExit(f"attack: {' '.join(command)}: {result and result.stderr}")

    def work_through(self, tasks, end=None):
        """Two workers, as there is one core for each at least."""
        tasks = iter(tasks)

        def worker():
            while end is None or time.monotonic() < end:
                with self.lock:
                    task = next(tasks, None)
                if task is None:
                    return
                task()
        with ThreadPoolExecutor(2) as pool:
            for worker_end in [pool.submit(worker) for _ in range(2)]:
                worker_end.result()

    def prepare(self):
        self.library = self.work / "kill_at.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library,
                        Path(__file__).resolve().parent / "attack_kill_at.c", "-ldl"], check=True)
        attack_inputs.prepare(self.given, self.must_run)

        def kill(command, folder):
            program = "lowbank-finetune" if command[0] == "run" else f"lowbank-{command[0]}"
            self.start(command, folder, environment=self.killing(program, 35 if "noisy" not in program else 14)).communicate()
            if not list(folder.glob("**/started.json")) or not list(folder.glob("**/metrics.jsonl")):
                raise SystemExit(f"attack: {command} was not interrupted while it worked")
        attack_inputs.interrupt(self.given, kill)

    # ---- Mutated files ---------------------------------------------------------------------------

    def attack_file(self, subject, number):
        """Number 0 changes nothing: the command must work."""
        choose = random.Random(f"{self.seed} {subject.name} {number}")
        folder = self.folder()
        subject.make(folder)
        out = folder / subject.out
        damaged = choose.choice(subject.files(folder))
        if number > 0:
            attack_inputs.damage(choose, damaged)

        def inputs():
            return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")
                    if path.is_file() and out not in path.parents and path.with_suffix("") != out.with_suffix("")}
        before = inputs()
        result = self.run(subject.command, folder, subject.may_be_long)
        if result is not None:
            what = f"{subject.name} {number}: {damaged.relative_to(folder)}"
            reason = self.fault(subject, result, out, damaged, number)
            if reason is None and (inputs() != before or os.listdir(folder.parent) != ["here"]):
                reason = "changed what is not its output"
            if reason is not None:
                self.finding(f"{reason} ({what})", subject.command, result, folder)
            elif result.returncode not in (0, 130) and out.exists() and "--out" in subject.command:
                self.mend(subject, what, folder)
            self.count("mutated files" if number > 0 else "undamaged files")
            if number > 0:
                self.count(f"mutated files, exit {result.returncode}")
        shutil.rmtree(folder.parent)

    def fault(self, subject, result, out, damaged, number):
        """What a command did not withstand, or None."""
        is_output_damaged = out in damaged.parents
        if result.returncode < 0:
            return f"crash by signal {-result.returncode}"
        if result.returncode not in (0, 2, 3) and not (result.returncode == 130 and subject.may_be_long):
            return "called our bug"
        if result.returncode != 0 and number == 0:
            return "an undamaged file is refused"
        if result.returncode != 0 and subject.must_end_well:
            return "did not run again"
        prints_texts = subject.command[0] in ("tokenize", "generate")
        if CONTROL.search(result.stderr) or not prints_texts and CONTROL.search(result.stdout):
            return "control characters on the terminal"
        lines = result.stderr.strip().split("\n")
        if result.returncode in (2, 3) and ("lowbank" not in lines[-1] or len(lines[-1]) > 4500):
            return "no reason in the last line"
        if not out.exists():
            return "no output" if result.returncode == 0 and "--out" in subject.command else None
        left = [p for p in out.rglob("*") if p.suffix == ".tmp" or p.name in (".lock", ".partial")]
        if left and not is_output_damaged:
            return f"left {left[0].name}"
        if result.returncode != 0 and not is_output_damaged and subject.command[0] != "run" and \
                (out / "run.json").exists():
            return "marked complete though it failed"
        if subject.must_end_well:
            if number == 0:
                self.bases[subject.name] = result_of(out)
            return first_difference(result_of(out), self.bases[subject.name])
        if not is_output_damaged:
            return attack_inputs.what_is_broken(out, damaged.read_bytes())
        return None

    def mend(self, subject, what, folder):
        """What a failed command left does not keep the same command with good inputs from its work."""
        mended = self.folder()
        subject.make(mended)
        shutil.rmtree(mended / subject.out, ignore_errors=True)
        (folder / subject.out).rename(mended / subject.out)
        result = self.run([word for word in subject.command if word != "--resume"], mended)
        if result is not None:
            broken = result.returncode == 0 and attack_inputs.what_is_broken(mended / subject.out)
            if result.returncode != 0 or broken:
                self.finding(f"cannot begin again {broken or ''} ({what})", subject.command, result, mended)
        self.count("begun again after a failure")
        shutil.rmtree(mended.parent)

    def attack_files(self, end):
        subjects = attack_inputs.subjects(self.given)
        fast, slow = [s for s in subjects if not s.slow], [s for s in subjects if s.slow]

        def tasks(subjects, numbers):
            return [lambda s=s, n=n: self.attack_file(s, n) for n in numbers for s in subjects]
        if self.is_short:
            self.work_through(tasks([s for s in slow if s.must_end_well], [0]) + tasks(fast, range(3)))
            self.work_through(tasks(slow, [1]))
            return
        self.work_through(tasks(subjects, [0]))
        rounds = (tasks(fast, range(6 * n + 1, 6 * n + 7)) + tasks(slow, [n + 1]) for n in itertools.count())
        self.work_through(itertools.chain.from_iterable(rounds), end)

    # ---- Kills -----------------------------------------------------------------------------------

    def killing(self, program, call):
        return {"LD_PRELOAD": str(self.library), "ATTACK_PROGRAM": program, "ATTACK_KILL_AT": str(call)}

    def commands_to_kill(self):
        def recipe(keys):
            return json.dumps({**COMMON, **keys})
        model, factored = str(self.given / "model"), str(self.given / "factored")
        train = {"data": DATA, "train": TRAIN}
        return {
            "convert": recipe({"src": str(STORY / "stories260K.bin"), "tokenizer": str(STORY / "tok512.model")}),
            "finetune": recipe({"checkpoint": model, "resume": True, **train}),
            "redistribute": recipe({"checkpoint": factored, "resume": True, "importance_max_examples": 4, **train}),
            "noisy-infer": recipe({"checkpoint": factored, "resume": True, **NOISY,
                                   "importance": ["rank_order", "random"]}),
            "run": json.dumps({"name": "r", "seed": 1, "threads": 1, "stages": [
                {"stage": "convert", "src": str(SAMPLES / "stories260K/stories260K.bin"),
                 "tokenizer": str(STORY / "tok512.model")},
                {"stage": "finetune", "checkpoint": "@convert", **train},
                {"stage": "compress", "checkpoint": "@finetune", "rank": "break_even"},
                {"stage": "noisy-infer", "checkpoint": "@compress", **NOISY, "importance": ["rank_order"]},
                {"stage": "report", "runs": ["@finetune", "@noisy-infer"]}]})}

    def kill_folder(self, name):
        folder = self.folder()
        folder.mkdir()
        (folder / "recipe.json").write_text(self.commands_to_kill()[name])
        return folder, [name, "recipe.json", "--out", "out", "--quiet"]

    def undisturbed(self, name):
        """Result, seconds and [(program, call)] of a command that nothing disturbs."""
        folder, command = self.kill_folder(name)
        log = folder / "calls"
        start = time.monotonic()
        self.must_run(command, folder, {"LD_PRELOAD": str(self.library), "ATTACK_LOG": str(log)})
        seconds = time.monotonic() - start
        self.bases[name] = (result_of(folder / "out"), seconds,
                            [line.split() for line in log.read_text().splitlines()])
        shutil.rmtree(folder.parent)

    def go_on(self, name, how, folder, command):
        """Starts a killed command again until it ends, and compares."""
        end = time.monotonic() + TIME_LIMIT_S
        while True:
            result = self.run(command, folder)
            if result is None:
                return
            if "in use by" not in result.stderr or time.monotonic() > end:
                break
            time.sleep(0.2)  # the killed front's stage is still ending
        if result.returncode != 0:
            self.finding(f"{name} killed {how}: cannot go on", command, result, folder)
            return
        difference = first_difference(result_of(folder / "out"), self.bases[name][0]) or \
            attack_inputs.what_is_broken(folder / "out")
        if difference:
            self.finding(f"{name} killed {how}: {difference}", command, keep=folder)

    def kill_at_call(self, name, program, call, of):
        folder, command = self.kill_folder(name)
        process = self.start(command, folder, environment=self.killing(program, call))
        result = self.end(process, command, folder)
        if result is not None:
            how = f"in {program} at call {call} ({of})"
            if result.returncode == 0:
                self.finding(f"{name} was not killed {how}", command, result)
            self.go_on(name, how, folder, command)
            self.count(f"{name} killed at calls")
        shutil.rmtree(folder.parent)

    def kill_at_random(self, name, who, number):
        """who: front, stage, both, or the name of a signal that asks for an end."""
        choose = random.Random(f"{self.seed} {name} {who} {number}")
        folder, command = self.kill_folder(name)
        moments = []
        for kill in range(choose.choice((1, 1, 1, 2, 3))):
            for _ in range(10):
                process = self.start(command, folder)
                moments.append(choose.uniform(0, self.bases[name][1]))
                time.sleep(moments[-1])
                children = children_of(process.pid)
                if process.poll() is None and (who != "stage" or children):
                    break
                self.end(process, command, folder)
                shutil.rmtree(folder / "out", ignore_errors=True)
            try:
                if who == "stage":
                    for child in children:
                        os.kill(child, signal.SIGKILL)
                elif who == "both":
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.send_signal(signal.SIGKILL if who == "front" else signal.Signals[who])
            except ProcessLookupError:
                pass
            result = self.end(process, command, folder, 20)
            if result is None:
                break
            # The dynamic loader and prlimit know nothing of Ctrl-C yet.
            if who.startswith("SIG") and result.returncode not in (0, 130, -signal.Signals[who]):
                self.finding(f"{name} at {who}", command, result, folder)
        how = f"({who}) after " + ", ".join(f"{moment:.3f} s" for moment in moments)
        self.go_on(name, how, folder, command)
        self.count(f"{name} {'asked to end' if who.startswith('SIG') else 'killed at random'}")
        shutil.rmtree(folder.parent)

    def attack_kills(self, end):
        names = list(self.commands_to_kill())
        self.work_through([lambda n=n: self.undisturbed(n) for n in reversed(names)])
        choose = random.Random(self.seed)
        walks, moments = [], []
        for name in names:
            seen = Counter()
            walk = []
            for program, call in self.bases[name][2]:
                seen[program] += 1
                walk.append(lambda n=name, p=program, c=seen[program], of=call: self.kill_at_call(n, p, c, of))
            whos = ("front", "stage", "both") if name == "run" else ("front",)
            if self.is_short:
                walk = choose.sample(walk, 8 if name == "convert" else 2)
            walks += walk
            self.counts[f"{name} calls to be killed at"] = len(walk)
            whos = [(who, i) for who in whos for i in range(1 if self.is_short else -(-RANDOM_KILLS // len(whos)))]
            if not self.is_short or name == "finetune":
                whos += [(who, i) for who in ("SIGINT", "SIGTERM", "SIGHUP") for i in
                         range(1 if self.is_short else INTERRUPTS // 3)]
            moments += [lambda n=name, w=who, i=i: self.kill_at_random(n, w, i) for who, i in whos]
        choose.shuffle(walks)
        choose.shuffle(moments)
        self.work_through(walks, end)
        self.work_through(moments, end)
        wanted = 1 if self.is_short else 100
        for name in names:
            if self.counts[f"{name} killed at calls"] < self.counts[f"{name} calls to be killed at"] or \
                    self.counts[f"{name} killed at random"] < wanted:
                self.finding("too few kills in this time", [name])

    # ---- Places ----------------------------------------------------------------------------------

    def full_disk(self, name, number):
        limit = random.Random(f"{self.seed} {name} {number}").choice((0, 100, 4096, 30_000, 100_000, 900_000))
        folder, command = self.kill_folder(name)
        result = self.run(command, folder, file_bytes=limit)
        # Where all files are smaller, go_on() compares the result.
        if result is not None and result.returncode not in (0, 3):
            self.finding(f"files of at most {limit} bytes", command, result, folder)
        self.go_on(name, f"with files of at most {limit} bytes", folder, command)
        self.count("full disks")
        shutil.rmtree(folder.parent)

    def lost_result(self):
        command = ["inspect", str(SAMPLES / "tiny_bert")]
        with open("/dev/full", "wb") as full:
            result = self.run(command, self.work, stdout=full)
        if result is not None and result.returncode != 3:
            self.finding("result lost on a full device", command, result)
        for closed in (">&-", ">&- 2>&-", "<&- >&- 2>&-"):
            shell = f"'{self.bin}/lowbank-inspect' '{SAMPLES}/tiny_bert' {closed}"
            result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=TIME_LIMIT_S,
                                    check=False)
            if result.returncode != 3:
                self.finding("result lost on a closed descriptor", [shell], result)
        self.count("lost results")

    def two_at_once(self, name, number):
        """One of them works, or one after the other, but never both."""
        folder, command = self.kill_folder(name)
        processes = [self.start(command, folder)]
        time.sleep(random.Random(f"{self.seed} {number}").uniform(0, self.bases[name][1]))
        processes.append(self.start(command, folder))
        results = [self.end(process, command, folder) for process in processes]
        codes = [result and result.returncode for result in results]
        if 0 not in codes or any(code not in (0, 3) for code in codes):
            self.finding(f"two at once: exit codes {codes}", command, results[1], folder)
        difference = first_difference(result_of(folder / "out"), self.bases[name][0])
        if difference:
            self.finding(f"two at once: {difference}", command, keep=folder)
        self.count("two at once")
        shutil.rmtree(folder.parent)

    def attack_places(self, end):
        names = list(self.commands_to_kill())
        if names[0] not in self.bases:
            self.work_through([lambda n=n: self.undisturbed(n) for n in names])
        if self.is_short:
            names = ["convert"]
        self.work_through((task for number in (range(2) if self.is_short else itertools.count()) for task in (
            self.lost_result, *(lambda n=n, i=number, f=f: f(n, i) for n in names
                                for f in (self.full_disk, self.two_at_once)))), end)


def main():
    parts = ("kills", "places", "files")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--seconds", type=float, help="of the long form; without it the short form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--summary", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    start = time.monotonic()
    attack = Attack(options)
    try:
        attack.prepare()
        for part in (part for part in parts if part in options.only):
            # Most of the time is for kills, which end earlier if they can.
            share = {"kills": 0.75, "places": 0.8, "files": 1}[part] if len(options.only) > 1 else 1
            getattr(attack, "attack_" + part)(options.seconds and start + share * options.seconds)
            if not any(count for what, count in attack.counts.items()):
                attack.finding("no attack", [part])
    finally:
        shutil.rmtree(attack.work, ignore_errors=True)
    figures = {**dict(sorted(attack.counts.items())), "not withstood": len(attack.findings),
               "largest memory MiB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
               "seconds": round(time.monotonic() - start), "seed": options.seed}
    print("attack: " + ", ".join(f"{what} {count}" for what, count in figures.items()))
    if options.summary:
        options.summary.write_text(json.dumps({**figures, "findings": attack.findings}, indent=1) + "\n")
    return 1 if attack.findings else 0


if __name__ == "__main__":
    sys.exit(main())
