#!/usr/bin/env python3
"""Attacks the real commands, and says what they did not withstand.

Mutated files: every kind of file that a command reads is damaged in many ways; whatever happens, the
command must end in time with exit code 0, 2 or 3, say why in one printable line, and leave either a
complete and finite output or none. Kills: training, noisy-infer and `lowbank run` are killed at random
moments, up to three times in a row, and at each call of fsync, rename and mkdir; started again, the result
must be that of an undisturbed run, byte for byte. Places: full disks, closed descriptors, two commands in
one folder.

usage: scripts/attack.py [--bin DIR] [--seconds N] [--seed N] [--only files kills places]
The three kinds run at the same time, each for --seconds (default 20, for continuous integration; 1800
before a release) and at least a few times. The exit code is 1 if anything was not withstood. Needs a C
compiler for the kills at each system call.
"""

import argparse
import array
import json
import math
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/parity/fixtures"
SAMPLES = ROOT / "data/samples"
TIME_LIMIT_S = 60
MEMORY_LIMIT_BYTES = 8 << 30
# Whatever a terminal would act on, in UTF-8.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def children_of(parent):
    children = Path(f"/proc/{parent}/task/{parent}/children")
    try:
        return [int(word) for word in children.read_text().split()]
    except OSError:
        return []


def infinite_tensor(path):
    """The name of a float32 tensor of a safetensors file with an infinity or NaN in it, or None."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8:8 + size]).items():
        if name == "__metadata__" or tensor["dtype"] != "F32":
            continue
        begin, end = tensor["data_offsets"]
        values = array.array("f", data[8 + size + begin:8 + size + end])
        if not all(map(math.isfinite, values)):
            return name
    return None


def without_times(value):
    """JSON without what an equal run may measure differently."""
    if isinstance(value, list):
        return [without_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: without_times(item) for key, item in value.items()
            if "second" not in key and key != "fingerprint"}


class Attack:
    """One kind of attack, in a folder of its own."""

    def __init__(self, options, kind):
        self.bin = Path(options.bin).resolve()
        self.random = random.Random(f"{options.seed} {kind}")
        self.work = Path(tempfile.mkdtemp(prefix=f"lowbank_attack_{kind}_"))
        self.end = time.monotonic() + options.seconds
        self.counts = {}
        self.findings = []

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def finding(self, what, command, result, keep=None):
        line = f"{what}: {' '.join(map(str, command))}"
        if result is not None:
            line += f"\n    exit {result.returncode}: {result.stderr.strip()[-300:]!r}"
        if keep is not None:
            place = Path(tempfile.mkdtemp(prefix="lowbank_found_"))
            shutil.copytree(keep, place, dirs_exist_ok=True, symlinks=True)
            line += f"\n    files: {place}"
        self.findings.append(line)
        print("NOT WITHSTOOD", line, flush=True)

    def start(self, command, cwd, **more):
        def limit():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if "file_bytes" in more:
                resource.setrlimit(resource.RLIMIT_FSIZE, (more["file_bytes"],) * 2)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOWBANK_HOME": str(ROOT),
                       **more.get("environment", {})}
        return subprocess.Popen(
            [self.bin / f"lowbank-{command[0]}" if command[0] != "run" else self.bin / "lowbank",
             *(command if command[0] == "run" else command[1:])],
            cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
            stdout=more.get("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
            preexec_fn=limit, start_new_session=True)

    def run(self, command, cwd, **more):
        """Runs to the end; None if it had to be stopped."""
        process = self.start(command, cwd, **more)
        try:
            out, err = process.communicate(timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.finding("hang", command, None, cwd)
            return None
        return subprocess.CompletedProcess(command, process.returncode,
                                           (out or b"").decode("utf-8", "replace"),
                                           err.decode("utf-8", "replace"))

    def judge(self, command, result, cwd):
        if result is None:
            return
        self.count(f"exit code {result.returncode}")
        if result.returncode < 0:
            self.finding(f"crash by signal {-result.returncode}", command, result, cwd)
        elif result.returncode not in (0, 2, 3):
            self.finding("called our bug", command, result, cwd)
        elif CONTROL.search(result.stderr):
            self.finding("control characters on the terminal", command, result, cwd)
        elif result.returncode != 0 and "lowbank" not in result.stderr.strip().split("\n")[-1]:
            self.finding("no reason in the last line", command, result, cwd)
        out = Path(cwd) / "out"
        if result.returncode != 0 and out.is_dir() and (out / "run.json").exists():
            self.finding("marked complete though it failed", command, result, cwd)
        if result.returncode == 0 and out.is_dir():
            for path in out.rglob("*.safetensors"):
                if (name := infinite_tensor(path)) is not None:
                    self.finding(f"infinite values of {name} were saved", command, result, cwd)
        leftovers = [p for p in Path(cwd).rglob("*.tmp")]
        if leftovers:
            self.finding(f"left {leftovers[0].name}", command, result, cwd)

    # ---- Mutated files ---------------------------------------------------------------------------

    def mutate_bytes(self, data):
        data = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 8))):
            at = self.random.randrange(len(data) + 1) if self.random.random() < 0.5 else \
                self.random.randrange(min(len(data), 512) + 1)
            kind = self.random.randrange(6)
            if kind == 0:
                del data[at:]
            elif kind == 1 and at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
            elif kind == 2:
                del data[at:at + self.random.choice((1, 4, 64))]
            elif kind == 3:
                data[at:at] = data[at:at + self.random.choice((1, 16, 256))]
            elif kind == 4:
                data[at:at + 8] = self.random.choice(
                    (b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"\x1b]0;x\x07 ", b"\xc2\x9b31m\n"))
            else:
                numbers = list(re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", bytes(data[:1 << 16])))
                if numbers:
                    found = self.random.choice(numbers)
                    data[found.start():found.end()] = self.random.choice(
                        (b"-1", b"0", b"1e9", b"9223372036854775807", b"4611686018427387904", b"1e308",
                         b"0.5", b"null", b"\"x\"", b"[]", b"true"))
        return bytes(data)

    def mutate_json(self, data):
        """Another type or an absurd value somewhere in a JSON text; None if it is no JSON."""
        try:
            root = json.loads(data)
        except ValueError:
            return None
        places = []

        def walk(node):
            for key in (node if isinstance(node, dict) else range(len(node))):
                places.append((node, key))
                if isinstance(node[key], (dict, list)):
                    walk(node[key])
        if not isinstance(root, (dict, list)) or not root:
            return None
        walk(root)
        node, key = self.random.choice(places)
        if self.random.random() < 0.2:
            del node[key]
        else:
            node[key] = self.random.choice(
                (None, True, -1, 0, 2 ** 62, 1e308, "", "\x1b[31m\nx", "../x", [], {}, [[]], {"a": 1}))
        return json.dumps(root).encode()

    def mutate(self, path):
        data = path.read_bytes()
        changed = self.mutate_json(data) if path.suffix == ".json" and self.random.random() < 0.7 else None
        path.write_bytes(changed if changed is not None else self.mutate_bytes(data))

    def subjects(self):
        """(name, what makes the folder, files to damage, command) of every kind of input."""
        story = SAMPLES / "stories260K"

        def copied(*sources, more=None):
            def make(folder):
                if more is not None:
                    more(folder)
                for source in sources:
                    if source.is_dir():
                        shutil.copytree(source, folder / source.name, dirs_exist_ok=True)
                    else:
                        shutil.copy(source, folder)
            return make
        out = ["--out", "out", "--quiet"]
        for family in ("llama_default", "llama_llama3_rope", "bert_pretraining", "mamba_default",
                       "mamba_state_spaces", "old_bert", "old_mamba"):
            if not (FIXTURES / family).is_dir():
                continue
            yield (family, copied(FIXTURES / family), f"{family}/*", ["convert", family, *out])
            if family not in ("mamba_state_spaces", "old_mamba"):
                yield (family + " inspect", copied(FIXTURES / family), f"{family}/*", ["inspect", family])
        yield ("GGUF", self.make_gguf, "story.gguf", ["convert", "story.gguf", *out])
        yield ("llama2.c", copied(story), "stories260K/*",
               ["convert", "stories260K/stories260K.bin", "--tokenizer", "stories260K/tok512.model", *out])
        tiny_bert = SAMPLES / "tiny_bert"
        with_texts = self.make_texts
        tokenize = ["tokenize", "--file", "texts.jsonl", "--quiet", "--tokenizer"]
        yield ("vocab.txt", copied(tiny_bert, more=with_texts), "tiny_bert/*", [*tokenize, "tiny_bert"])
        yield ("tokenizer.model", copied(story / "tok512.model", more=with_texts), "*.model", [*tokenize, "tok512.model"])
        tokenizer_json = FIXTURES / "tokenizers/smollm2_form.json"
        yield ("tokenizer.json", copied(tokenizer_json, more=with_texts), "*.json", [*tokenize, tokenizer_json.name])
        yield ("texts", with_texts, "texts.jsonl", [*tokenize, str(tiny_bert)])
        yield ("GGUF tokenizer", self.make_gguf, "story.gguf", [*tokenize, "story.gguf"])
        presets = sorted((ROOT / "configs/pim").glob("*.json"))  # with the parts that they name
        for system in ("gpu-h100", "hbm-pim-a100", "pimba-b200", "rram-hyflexpim"):
            yield (system, copied(*presets, ROOT / "configs/workloads/bert-large.json"), "*.json",
                   ["estimate", "--workload", "bert-large.json", "--system", f"./{system}.json", *out])
        yield ("experiments", copied(ROOT / "configs/pim/figures.jsonl"), "figures.jsonl",
               ["estimate", "--experiments", "figures.jsonl", *out])
        yield ("records", self.make_runs, "runs/*/*.json*", ["report", "runs", *out])
        yield ("run again", self.make_runs, "runs/*/*.json*",
               ["run", "recipe.json", "--out", "runs", "--quiet"])
        yield ("recipe", self.make_runs, "recipe.json",
               ["run", "recipe.json", "--out", "runs", "--quiet"])

    def slow_subjects(self):
        """Inputs of the commands that start LibTorch, which takes a second."""
        out = ["--out", "out", "--threads", "1", "--quiet"]
        score = ["evaluate", "model", "--data", "text.txt", "--context", "32", "--max-chunks", "1", *out]
        yield ("checkpoint", self.make_model, "model/*", score)
        yield ("text", self.make_model, "text.txt", score)
        train = ["--set", "train.steps=2", "--set", "train.warmup_steps=0", "--set", "train.micro_batch_size=1",
                 "--set", "data.context=32"]
        yield ("training text", self.make_model, "*.txt",
               ["finetune", "model", "--set", "data.train=text.txt", *train, *out])
        yield ("table", self.make_table, "train.tsv",
               ["finetune", str(SAMPLES / "tiny_bert"), "--set", "data.train=train.tsv", *train, *out])
        yield ("resume point", self.make_resume_point, "out/*/*",
               ["finetune", "model", *self.data(), *self.LONGER, "--out", "out", "--resume"])
        yield ("noise", self.make_factored, "noise.json",
               ["noisy-infer", "factored", "--noise", "noise.json", "--data", "text.txt", "--context", "32",
                "--max-chunks", "1", "--trials", "1", "--slc-frac", "0", "--importance", "rank_order", *out])

    def make_texts(self, folder):
        lines = [{"text": "A dog barks."}, {"text": "\u00e9 \ud83d\ude00", "more": [1, {"text": "x"}]}]
        (folder / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def make_gguf(self, folder):
        commands = [self.CONVERT, ["convert", "model", "story.gguf"]]
        shutil.copy(self.made_once("gguf_made", commands) / "story.gguf", folder)
        self.make_texts(folder)

    def made_once(self, name, commands):
        """A folder with what some commands make of the sample model."""
        made = self.work / name
        if not made.exists():
            made.mkdir()
            shutil.copy(SAMPLES / "tinyshakespeare/valid.txt", made / "text.txt")
            for command in commands:
                result = self.run([*command, "--quiet"], made)
                if result is None or result.returncode != 0:
                    raise SystemExit(f"attack: {command}: {result and result.stderr}")
        return made

    CONVERT = ["convert", str(SAMPLES / "stories260K/stories260K.bin"), "--tokenizer",
               str(SAMPLES / "stories260K/tok512.model"), "--out", "model"]
    COMPRESS = ["compress", "model", "--rank", "break_even", "--out", "factored"]

    def make_model(self, folder):
        shutil.copytree(self.made_once("model_made", [self.CONVERT]), folder, dirs_exist_ok=True)

    def make_factored(self, folder):
        made = self.made_once("factored_made", [self.CONVERT, self.COMPRESS])
        shutil.copytree(made, folder, dirs_exist_ok=True)
        shutil.copy(ROOT / "configs/noise/multiplicative_twos_complement.json", folder / "noise.json")

    def make_table(self, folder):
        shutil.copy(SAMPLES / "moods/train.tsv", folder)

    def make_resume_point(self, folder):
        made = self.work / "resume_made"
        if not made.exists():
            shutil.copytree(self.made_once("model_made", [self.CONVERT]), made)
            process = self.start(["finetune", "model", *self.data(), *self.LONGER, "--out", "out", "--resume"], made)
            while process.poll() is None and not list((made / "out").glob("state/*.safetensors")):
                time.sleep(0.02)
            process.kill()
            process.communicate()
        shutil.copytree(made, folder, dirs_exist_ok=True)

    def make_runs(self, folder):
        """A small finished run, made once and copied."""
        made = self.work / "runs_made"
        if not made.exists():
            made.mkdir()
            recipe = {"name": "r", "stages": [
                {"stage": "convert", "src": str(SAMPLES / "tiny_bert")},
                {"stage": "estimate", "workload": [str(ROOT / "configs/workloads/bert-large.json")],
                 "system": ["gpu-a100"]},
                {"stage": "report", "runs": ["@convert", "@estimate"]}]}
            (made / "recipe.json").write_text(json.dumps(recipe))
            result = self.run(["run", "recipe.json", "--out", "runs", "--quiet"], made)
            if result is None or result.returncode != 0:
                raise SystemExit(f"attack: cannot make a run: {result and result.stderr}")
        shutil.copytree(made, folder, dirs_exist_ok=True)

    def attack_files(self):
        quick, slow = list(self.subjects()), list(self.slow_subjects())
        tried = set()
        number = 0
        while time.monotonic() < self.end or number < len(quick):
            turn, is_slow = divmod(number, 30)[0], number % 30 == 29
            name, make, pattern, command = slow[turn % len(slow)] if is_slow else quick[number % len(quick)]
            number += 1
            folder = self.work / "files"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            if name not in tried:  # a command that fails by itself would prove nothing
                tried.add(name)
                result = self.run(command, folder)
                if result is None or result.returncode != 0:
                    self.finding("fails without an attack", command, result)
                shutil.rmtree(folder)
                folder.mkdir()
                make(folder)
            files = [p for p in sorted(folder.glob(pattern)) if p.is_file() and p.stat().st_size > 0]
            if not files:
                raise SystemExit(f"attack: {name}: there is no {pattern}")
            self.mutate(self.random.choice(files))
            result = self.run(command, folder)
            self.judge(command, result, folder)
            self.count("mutated files")

    # ---- Kills -----------------------------------------------------------------------------------

    TRAIN = ["--set", "data.context=32", "--set", "train.steps=12", "--set", "train.micro_batch_size=2",
             "--set", "train.save_every=3", "--set", "train.eval_every=4", "--set",
             "train.eval_max_chunks=2", "--seed", "1", "--threads", "1", "--quiet"]
    LONGER = [*TRAIN, "--set", "train.steps=200"]  # so that a saved point can be caught

    def data(self):
        text = SAMPLES / "tinyshakespeare/valid.txt"
        return ["--set", f"data.train={text}", "--set", f"data.valid={text}"]

    def result_of(self, folder):
        """What must be equal: the outputs' bytes, and the metrics without times."""
        out = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.suffix == ".safetensors" and "state" not in path.parts:
                out[name] = path.read_bytes()
            elif path.name == "metrics.jsonl":
                out[name] = [without_times(json.loads(line)) for line in path.read_text().splitlines()]
            elif path.name == "metrics.json":
                out[name] = without_times(json.loads(path.read_text()))
        return out

    def prepare_training(self):
        """The folder of the kills, and (name, command, its programs) of what is killed."""
        place = self.made_once("training", [self.CONVERT, self.COMPRESS])
        text = SAMPLES / "tinyshakespeare/valid.txt"
        recipe = {"name": "r", "stages": [
            {"stage": "finetune", "checkpoint": "model", "data": {"train": str(text), "context": 32},
             "train": {"steps": 12, "micro_batch_size": 2, "save_every": 3}},
            {"stage": "compress", "checkpoint": "@finetune", "rank": "break_even"}]}
        (place / "recipe.json").write_text(json.dumps(recipe))
        common = ["--threads", "1", "--quiet", "--out", "OUT"]
        return place, [
            ("finetune", ["finetune", "model", *self.data(), *self.TRAIN, "--out", "OUT", "--resume"],
             ["lowbank-finetune"]),
            ("redistribute", ["redistribute", "factored", *self.data(), *self.TRAIN,
                              "--importance-max-examples", "4", "--out", "OUT", "--resume"],
             ["lowbank-redistribute"]),
            ("noisy-infer", ["noisy-infer", "factored", "--data", str(text), "--context", "32",
                             "--max-chunks", "2", "--trials", "2", "--slc-frac", "0,0.5", "--importance",
                             "rank_order,random", *common, "--resume"], ["lowbank-noisy-infer"]),
            ("run", ["run", "recipe.json", *common], ["lowbank", "lowbank-finetune", "lowbank-compress"])]

    def go_on(self, name, command, place, out, expected, how):
        """Starts a killed command again until it ends, and compares."""
        for _ in range(4):
            result = self.run(command, place)
            if result is None:
                return
            if result.returncode == 0:
                break
            if "in use by" in result.stderr:  # the killed front's stage is still ending
                time.sleep(1)
                continue
            self.finding(f"{name} killed {how}: cannot go on", command, result, place / out)
            return
        if self.result_of(place / out) != expected:
            self.finding(f"{name} killed {how}: another result", command, None, place / out)
        leftovers = list((place / out).rglob("*.tmp")) + list((place / out).rglob(".lock"))
        if leftovers:
            self.finding(f"{name} killed {how}: left {leftovers[0].name}", command, None, place / out)
        shutil.rmtree(place / out)

    def preload_library(self):
        library = self.work / "kill_at.so"
        source = Path(__file__).resolve().parent / "attack_kill_at.c"
        built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
                               capture_output=True, check=False)
        return library if built.returncode == 0 else None

    def kill_at_random(self, name, command, place, seconds):
        """Starts a command and kills it; says how."""
        process = self.start(command, place)
        delay = self.random.uniform(0, 1.1 * seconds)
        time.sleep(delay)
        who = self.random.choice(("front", "both", "stage")) if name == "run" else "it"
        try:
            if who == "both":
                os.killpg(process.pid, signal.SIGKILL)
            elif who == "stage":
                for child in children_of(process.pid):
                    os.kill(child, signal.SIGKILL)
            else:
                process.kill()
        except ProcessLookupError:
            pass
        process.communicate()
        return f"({who}) after {delay:.2f} s"

    def attack_kills(self):
        place, commands = self.prepare_training()
        expected, seconds = {}, {}
        for name, command, _ in commands:
            start = time.monotonic()
            undisturbed = [("whole_" + name if word == "OUT" else word) for word in command]
            result = self.run(undisturbed, place)
            if result is None or result.returncode != 0:
                raise SystemExit(f"attack: {command}: {result and result.stderr}")
            seconds[name] = time.monotonic() - start
            expected[name] = self.result_of(place / ("whole_" + name))
        library = self.preload_library()
        commands = [(name, ["out" if word == "OUT" else word for word in command], programs)
                    for name, command, programs in commands]
        # Each program's calls are walked through once, from the first to the last.
        walks = [[name, command, program, 1] for name, command, programs in commands
                 for program in programs if library is not None]
        number = 0
        while time.monotonic() < self.end or number < len(commands):
            name, command, _ = commands[number % len(commands)]
            number += 1
            hows = [self.kill_at_random(name, command, place, seconds[name])
                    for _ in range(self.random.choice((1, 1, 2, 3)))]
            self.go_on(name, command, place, "out", expected[name], ", ".join(hows))
            self.count(f"random kills of {name}")
            if walks:
                walk = walks[number % len(walks)]
                name, command, program, call = walk
                process = self.start(command, place, environment={
                    "LD_PRELOAD": str(library), "ATTACK_PROGRAM": program, "ATTACK_KILL_AT": str(call)})
                process.communicate()
                self.go_on(name, command, place, "out", expected[name], f"at call {call} of {program}")
                walk[3] += 1
                if process.returncode == 0:
                    walks.remove(walk)
                    self.counts[f"kills of {program} under {name}, at every call"] = call - 1
                else:
                    self.count("kills at calls")

    # ---- Places ----------------------------------------------------------------------------------

    def attack_places(self):
        story = SAMPLES / "stories260K"
        convert = ["convert", str(story / "stories260K.bin"), "--tokenizer", str(story / "tok512.model"),
                   "--out", "out", "--quiet"]
        number = 0
        while time.monotonic() < self.end or number < 6:
            folder = self.work / "places"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            kind = number % 3
            number += 1
            if kind == 0:  # a disk that is full after some bytes
                limit = self.random.choice((0, 100, 4096, 100_000, 900_000))
                result = self.run(convert, folder, file_bytes=limit)
                self.judge(convert, result, folder)
                if result is not None and result.returncode == 0:
                    self.finding(f"success with files of at most {limit} bytes", convert, result)
            elif kind == 1:  # a result that cannot be printed
                command = ["inspect", str(SAMPLES / "tiny_bert")]
                with open("/dev/full", "wb") as full:
                    result = self.run(command, folder, stdout=full)
                if result is not None and result.returncode != 3:
                    self.finding("result lost on a full device", command, result)
                shell = f"'{self.bin}/lowbank-inspect' '{SAMPLES}/tiny_bert' >&-"
                result = subprocess.run(["sh", "-c", shell], cwd=folder, capture_output=True,
                                        text=True, timeout=TIME_LIMIT_S, check=False)
                if result.returncode != 3:
                    self.finding("result lost on a closed descriptor", [shell], result)
            else:  # two at once: one of them, or one after the other, but never both
                processes = [self.start(convert, folder) for _ in range(2)]
                errors = [process.communicate()[1].decode("utf-8", "replace") for process in processes]
                codes = [process.returncode for process in processes]
                if 0 not in codes or any(code not in (0, 3) for code in codes):
                    self.finding(f"two at once: exit codes {codes}", [*convert, *errors], None)
                if not (folder / "out/run.json").exists():
                    self.finding("two at once: no complete output", convert, None)
            self.count("places")


def attack_in_process(options, kind, results):
    attack = Attack(options, kind)
    failure = None
    try:
        getattr(attack, "attack_" + kind)()
    except (Exception, SystemExit) as error:  # the other kinds go on
        failure = repr(error)
    finally:
        shutil.rmtree(attack.work, ignore_errors=True)
    results.put((kind, attack.counts, len(attack.findings), failure))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="+", choices=("files", "kills", "places"),
                        default=["files", "kills", "places"])
    options = parser.parse_args()
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=attack_in_process, args=(options, kind, results))
                 for kind in options.only]
    for process in processes:
        process.start()
    num_findings = 0
    failures = []
    print(f"attack: seed {options.seed}", flush=True)
    for kind, counts, found, failure in (results.get() for _ in processes):
        print(f"{kind}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
        num_findings += found
        if failure is not None:
            failures.append(f"{kind}: {failure}")
    for process in processes:
        process.join()
    for failure in failures:
        print("attack: could not attack", failure)
    print(f"attack: {num_findings} not withstood")
    return 1 if num_findings or failures else 0


if __name__ == "__main__":
    sys.exit(main())
