"""What scripts/attack.py damages: every kind of input that a command reads, and the ways to damage it."""

import json
import math
import re
import shutil
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/parity/fixtures"
SAMPLES = ROOT / "data/samples"
STORY = SAMPLES / "stories260K"
PIM = ROOT / "configs/pim"


# ---- Damage --------------------------------------------------------------------------------------

NUMBERS = (b"-1", b"0", b"1e9", b"9223372036854775807", b"18446744073709551616", b"4611686018427387904",
           b"1e308", b"1e400", b"-1e-320", b"0.5", b"NaN", b"null", b'"x"', b"[]", b"true")
BYTES = (b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"\x1b]0;x\x07 ", b"\xc2\x9b31m\n", b"\xe2\x80\xae",
         b"=1+1", b'"', b"\r\n", b"\t\t", b",,", b"\xef\xbb\xbf")
VALUES = (None, True, -1, 0, 0.5, 2 ** 62, 2 ** 63, 2 ** 64, -2 ** 63, 1e308, math.nan, math.inf, "",
          "\x1b[31m\nx", "../x", "/dev/zero", "=1+1", "x" * 100_000, [], {}, [[]], {"a": 1}, [0] * 10_000)


def damage_bytes(random, data):
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange((len(data) if random.random() < 0.5 else min(len(data), 512)) + 1)
        kind = random.randrange(8)
        if kind == 0:
            del data[at:]
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 2:
            del data[at:at + random.choice((1, 4, 64))]
        elif kind == 3:
            data[at:at] = data[at:at + random.choice((1, 16, 256))]
        elif kind == 4:
            data[at:at + 8] = random.choice(BYTES)
        elif kind == 5:  # a line twice, or not at all
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
            data[start:end] = data[start:end] * random.choice((0, 2))
        else:
            numbers = list(re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", bytes(data[:1 << 16])))
            if numbers:
                found = random.choice(numbers)
                data[found.start():found.end()] = random.choice(NUMBERS)
    return bytes(data)


def damage_json(random, text):
    """Another type or an absurd value somewhere in a JSON text; None if it is no JSON with anything in it."""
    try:
        root = json.loads(text)
    except ValueError:
        return None
    if not isinstance(root, (dict, list)) or not root:
        return None
    places, nodes = [], [root]
    while nodes:
        node = nodes.pop()
        for key in (node if isinstance(node, dict) else range(len(node))):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                nodes.append(node[key])
    node, key = random.choice(places)
    if random.random() < 0.2:
        del node[key]
    else:
        node[key] = random.choice(VALUES)
    return json.dumps(root).encode()


def damage(random, path):
    """Damages one file: JSON, lines of JSON and the headers of safetensors by their structure, or any bytes."""
    data = path.read_bytes()
    changed = None
    if random.random() < 0.6:
        if path.suffix == ".json":
            changed = damage_json(random, data)
        elif path.suffix == ".jsonl":
            lines = data.split(b"\n")
            at = random.randrange(len(lines))
            line = damage_json(random, lines[at])
            changed = None if line is None else b"\n".join(lines[:at] + [line] + lines[at + 1:])
        elif path.suffix == ".safetensors":
            size = struct.unpack("<Q", data[:8])[0]
            header = damage_json(random, data[8:8 + size])
            changed = header and struct.pack("<Q", len(header)) + header + data[8 + size:]
    path.write_bytes(damage_bytes(random, data) if changed is None else changed)


# ---- What is complete ----------------------------------------------------------------------------

def read_safetensors(path):
    """{name: (type, shape, bytes)}; ValueError if the file is not whole."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors, total = {}, 8 + size
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        tensors[name] = (tensor["dtype"], tensor["shape"], data[8 + size + begin:8 + size + end])
        total += end - begin
    if total != len(data):
        raise ValueError(f"{path.name} has {len(data)} bytes in place of {total}")
    return tensors


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def is_finite(dtype, data):
    if dtype in ("F32", "F64"):
        return math.isfinite(sum(array("f" if dtype == "F32" else "d", data)))
    exponent = {"F16": 0x7c00, "BF16": 0x7f80}.get(dtype)
    return exponent is None or all(x & exponent != exponent for x in array("H", data))


def what_is_broken(folder, copied=None):
    """A reason why a file in an output folder is not whole or not finite, or None. Files with the content
    `copied` are as the damaged input is: tokenizers pass through unread."""
    def refuse(word):
        raise ValueError(f"holds {word}")
    for path in sorted(p for p in (folder, *folder.rglob("*")) if p.is_file()):
        try:
            if path.read_bytes() == copied:
                continue
            if path.suffix == ".json":
                json.loads(path.read_text(), parse_constant=refuse)
            elif path.suffix == ".jsonl":
                for line in path.read_text().splitlines():
                    json.loads(line, parse_constant=refuse)
            elif path.suffix == ".safetensors":
                for name, (dtype, _, data) in read_safetensors(path).items():
                    if not is_finite(dtype, data):
                        raise ValueError(f"{name} is not finite")
            elif path.suffix == ".csv":
                for cell in re.split(r"[,\n]", path.read_text()):
                    if re.match(r'"?([=@]|[-+](?![\d.]|inf))', cell):
                        raise ValueError(f"has the formula {cell!r}")
            elif path.suffix == ".gguf" and path.read_bytes()[:4] != b"GGUF":
                raise ValueError("is no GGUF")
        except (ValueError, KeyError, struct.error) as error:
            return f"{path.relative_to(folder)}: {error}"
    if (folder / "run.json").exists():
        for name, output in json.loads((folder / "run.json").read_text())["outputs"].items():
            if not (folder / name).exists() or (folder / name).stat().st_size != output["size_bytes"]:
                return f"{name} is not as run.json says"
    return None


# ---- Inputs --------------------------------------------------------------------------------------

@dataclass
class Subject:
    """A command, and what it reads."""
    name: str
    command: list
    sources: dict        # name in the folder: file, folder, or text
    damaged: tuple       # patterns of the files to damage
    slow: bool = False   # starts LibTorch
    may_be_long: bool = False  # damage may ask for more work, honestly
    must_end_well: bool = False  # whatever is damaged, the command has to mend it
    out: str = "out"

    def make(self, folder):
        folder.mkdir(parents=True)
        for name, source in self.sources.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, str):
                target.write_text(source)
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("expected.safetensors"))
            else:
                shutil.copy(source, target)

    def files(self, folder):
        return [path for pattern in self.damaged for path in sorted(folder.glob(pattern))
                if path.is_file() and path.stat().st_size > 0]


TRAIN = {"steps": 12, "warmup_steps": 2, "micro_batch_size": 2, "save_every": 3, "eval_every": 4, "eval_max_chunks": 2}
TEXT = SAMPLES / "tinyshakespeare/valid.txt"
DATA = {"train": str(TEXT), "valid": str(TEXT), "context": 32}
COMMON = {"seed": 1, "threads": 1, "quiet": True}
NOISY = {"data": str(TEXT), "context": 64, "max_chunks": 2, "trials": 3, "slc_frac": [0, 0.5]}


def prepare(given, run):
    """Makes the inputs that only commands can make. run(command, cwd) raises if one fails."""
    def recipe(name, keys):
        (given / f"{name}.json").write_text(json.dumps({**COMMON, **keys}))
        return f"{name}.json"
    given.mkdir()
    quiet = ["--quiet"]
    text = given / "text.txt"
    text.write_bytes(TEXT.read_bytes()[:6000])
    short = {"data": {"train": "text.txt", "valid": "text.txt", "context": 32}}
    run(["convert", str(STORY / "stories260K.bin"), "model", "--tokenizer", str(STORY / "tok512.model"),
         *quiet], given)
    run(["convert", "model", "sharded", "--max-shard-bytes", "300000", *quiet], given)
    run(["convert", "model", "sentencepiece.gguf", "--dtype", "q8_0", *quiet], given)
    run(["convert", str(SAMPLES / "tiny_bert"), "wordpiece.gguf", *quiet], given)
    run(["compress", "model", "factored", "--rank", "break_even", *quiet], given)
    run(["finetune", recipe("tuning", {**short, "train": {**TRAIN, "steps": 3}, "checkpoint": "model"}),
         "--out", "tuned"], given)
    run(["redistribute", recipe("hardening", {**short, "train": {**TRAIN, "steps": 3}, "checkpoint": "factored",
                                              "importance_max_examples": 4}), "--out", "hardened"], given)
    run(["noisy-infer", "hardened", "--data", "text.txt", "--context", "64", "--max-chunks", "2", "--trials", "2",
         "--slc-frac", "0,1", *quiet, "--out", "noisy"], given)
    run(["evaluate", "model", "--data", "text.txt", "--context", "64", "--max-chunks", "2", *quiet, "--out",
         "evaluated"], given)
    run(["workload", "factored", "--context", "64", *quiet, "--out", "w.json"], given)
    # A model with a tokenizer of byte pairs: a fixture with more rows.
    vocabulary = FIXTURES / "tokenizers/smollm2_form.json"
    rows = 2773
    (given / "bpe").mkdir()
    config = json.loads((FIXTURES / "llama_default/config.json").read_text())
    (given / "bpe/config.json").write_text(json.dumps({**config, "vocab_size": rows}))
    tensors = read_safetensors(FIXTURES / "llama_default/model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        dtype, (_, columns), data = tensors[name]
        tensors[name] = (dtype, [rows, columns], (data * (rows // 64 + 1))[:rows * columns * 4])
    write_safetensors(given / "bpe/model.safetensors", tensors)
    shutil.copy(vocabulary, given / "bpe/tokenizer.json")
    run(["convert", "bpe", "bpe.gguf", *quiet], given)
    (given / "chain").mkdir()
    (given / "chain/recipe.json").write_text(chain())
    run(["run", "recipe.json", "--out", "runs", *quiet], given / "chain")
    write_safetensors(given / "ids.safetensors", {
        "input_ids": ("I64", [1, 8], struct.pack("<8q", *range(1, 9))),
        "attention_mask": ("I64", [1, 8], struct.pack("<8q", *[1] * 8))})


def interrupt(given, kill):
    """Training, a curve and a run that were killed on their way. kill(command, cwd) kills a command late."""
    model = str(given / "model")
    for name, command, keys in (
            ("stopped", ["finetune", "recipe.json", "--out", "out"],
             {**COMMON, "checkpoint": model, "data": DATA, "train": TRAIN}),
            ("stopped_curve", ["noisy-infer", "recipe.json", "--out", "out"],
             {**COMMON, "checkpoint": str(given / "factored"), **NOISY, "importance": ["random"]}),
            ("stopped_run", ["run", "recipe.json", "--out", "runs", "--quiet"],
             {"threads": 1, "stages": [
                 {"stage": "finetune", "checkpoint": model, "data": DATA, "train": TRAIN}]})):
        (given / name).mkdir()
        (given / name / "recipe.json").write_text(json.dumps(keys))
        kill(command, given / name)


def chain():
    """A recipe of stages that take no time."""
    return json.dumps({"name": "r", "stages": [
        {"stage": "convert", "src": str(SAMPLES / "tiny_bert")},
        {"stage": "estimate", "workload": [str(ROOT / "configs/workloads/bert-large.json")],
         "system": ["gpu-a100"]},
        {"stage": "report", "runs": ["@convert", "@estimate"]}]})


def subjects(given):
    """Every kind of input. Commands run in a folder with the sources; all paths of damaged files are below it."""
    out, to_csv = ["--out", "out", "--quiet"], ["--out", "out.csv", "--quiet"]
    found = []

    def add(name, command, sources, damaged=("**/*",), **more):
        found.append(Subject(name, command, sources, damaged, **more))

    def recipe(**keys):
        return json.dumps({**COMMON, **keys}, indent=1)
    for family in ("llama_default", "llama_llama3_rope", "llama_linear_rope", "bert_pretraining", "mamba_default",
                   "old_bert", "old_mamba", "mamba_state_spaces"):
        add(f"convert {family}", ["convert", "m", *out], {"m": FIXTURES / family})
        if family not in ("old_mamba", "mamba_state_spaces"):
            add(f"inspect {family}", ["inspect", "m", "--linears"], {"m": FIXTURES / family})
    for name in ("sharded", "factored", "bpe"):
        add(f"convert {name}", ["convert", "m", *out], {"m": given / name})
    add("inspect history", ["inspect", "m", "--history"], {"m": given / "hardened"},
        ("m/*.json",))
    add("llama2.c", ["convert", "m.bin", "--tokenizer", "t.model", *out],
        {"m.bin": STORY / "stories260K.bin", "t.model": STORY / "tok512.model"})
    for name in ("sentencepiece", "wordpiece", "bpe"):
        add(f"convert {name}.gguf", ["convert", "m.gguf", *out], {"m.gguf": given / f"{name}.gguf"})
        add(f"tokenize {name}.gguf", ["tokenize", "m.gguf", "--file", "t.jsonl", "--quiet"],
            {"m.gguf": given / f"{name}.gguf", "t.jsonl": TEXTS})
    add("to GGUF", ["convert", "m", "--out", "out.gguf", "--quiet"], {"m": given / "model"}, out="out.gguf")
    for name in ("gguf/quants.gguf", "torch_file/zip.bin", "torch_file/legacy.bin"):
        add(f"inspect {name}", ["inspect", Path(name).name], {Path(name).name: FIXTURES / name})
    for name, source in (("m.model", STORY / "tok512.model"), ("vocab.txt", SAMPLES / "tiny_bert/vocab.txt"),
                         ("tokenizer.json", FIXTURES / "tokenizers/smollm2_form.json")):
        add(f"tokenize {name}", ["tokenize", name, "--file", "t.jsonl", "--special", "--quiet"],
            {name: source, "t.jsonl": TEXTS})
    for system in ("gpu-a100", "hbm-pim-a100", "pimba-a100", "rram-hyflexpim"):
        parts = {f"{name}.json": PIM / f"{name}.json" for name in
                 {system, *(("gpu-a100", "memory-a100", "unit-pimba", "unit-hbm-pim") if "pim-" in system or
                            "pimba" in system else ())}}
        add(f"estimate {system}", ["estimate", "--workload", "w.json", "--system", f"./{system}.json",
                                   "--output-tokens", "8", "--sensitivity", "0.2", *out],
            {"w.json": given / "w.json", **parts})
    add("estimate recipe", ["estimate", "recipe.json", *out], {
        "w.json": given / "w.json",
        "recipe.json": recipe(workload=["w.json"], system=["gpu-a100", "rram-hyflexpim"], batch=[1, 4],
                              context=[64, 128], output_tokens=4, crossovers=True, slc_frac=0.3)},
        may_be_long=True)
    add("experiments", ["estimate", "--mode", "reference", "--experiments", "e.jsonl", "--out", "out.jsonl", "--quiet"], {
        "e.jsonl": "".join((PIM / "figures.jsonl").read_text().splitlines(True)[:3])}, out="out.jsonl")
    add("pim calls", ["estimate", "--mode", "reference", "--pim-calls", "c.csv", *to_csv], {
        "c.csv": "hw,op_type,num_op,head_dim,state_dim,dbyte,channels\nPimba,SU,640,128,128,1,40\n"
                 "HBM-PIM,SCORE,1024,128,2049,2,40\n"}, out="out.csv")
    table = "gpu,kind,m,n,k,dtype{}\n" + "".join(f"A100,matmul,{m},{n},4096,f16{{}}\n" for m in
                                                (1, 4, 16, 64, 256, 1024, 4096) for n in range(1024, 7168, 1024))
    add("operators", ["estimate", "--operators", "o.csv", *to_csv], {"o.csv": table.replace("{}", "")}, out="out.csv")
    add("fit", ["estimate", "--fit", "o.csv", "--out", "out.json", "--quiet"],
        {"o.csv": table.replace("{}", ",time_ms", 1).replace("{}", ",0.25")}, out="out.json")
    add("report", ["report", "runs", *out],
        {f"runs/{name}": given / name for name in
         ("model", "factored", "tuned", "hardened", "noisy", "evaluated")}, ("runs/*/*.json*",))
    again = ["run", "recipe.json", "--out", "runs", "--quiet"]
    add("run recipe", again, {"recipe.json": chain()}, may_be_long=True, out="runs")
    add("run outputs", again, {"recipe.json": chain(), "runs": given / "chain/runs"}, ("runs/**/*",), out="runs")
    add("run records", again, {"recipe.json": chain(), "runs": given / "chain/runs"},
        ("runs/**/run.json", "runs/**/resolved.json", "runs/**/log.txt"), must_end_well=True,
        out="runs")
    group = json.dumps(TRAIN)
    texts = {"data": {"train": "text.txt", "valid": "text.txt", "context": 32}}
    slow = {"slow": True}
    add("finetune", ["finetune", "recipe.json", *out],
        {"recipe.json": recipe(checkpoint="m", train="train.json", **texts), "train.json": group,
         "text.txt": given / "text.txt", "m": given / "model"}, may_be_long=True, **slow)
    add("finetune text", ["finetune", "recipe.json", *out],
        {"recipe.json": recipe(checkpoint=str(given / "model"), train=TRAIN, **texts),
         "text.txt": given / "text.txt"}, ("text.txt",), **slow)
    add("finetune table", ["finetune", "recipe.json", *out],
        {"recipe.json": recipe(checkpoint=str(SAMPLES / "tiny_bert"), objective="classification", train=TRAIN,
                               data={"train": "t.tsv", "valid": "t.tsv", "context": 16},
                               table={"sentence": "sentence", "label": "mood", "classes": ["sad", "glad"]}),
         "t.tsv": SAMPLES / "moods/valid.tsv"}, ("t.tsv",), **slow)
    add("finetune resume", ["finetune", "recipe.json", "--resume", *out],
        {"recipe.json": given / "stopped/recipe.json",
         "out": given / "stopped/out"}, ("out/state/*", "out/*.json*"), **slow)
    add("noisy-infer resume", ["noisy-infer", "recipe.json", "--resume", *out],
        {"recipe.json": given / "stopped_curve/recipe.json",
         "out": given / "stopped_curve/out"}, ("out/*.json*",), **slow)
    add("run stopped", again,
        {"recipe.json": given / "stopped_run/recipe.json",
         "runs": given / "stopped_run/runs"}, ("runs/*/*.json*", "runs/*/state/*"), must_end_well=True,
        out="runs", **slow)
    add("redistribute", ["redistribute", "recipe.json", *out],
        {"recipe.json": recipe(checkpoint="m", train={**TRAIN, "steps": 3}, importance_max_examples=4, **texts),
         "text.txt": given / "text.txt", "m": given / "factored"}, ("m/*", "text.txt"), **slow)
    add("noisy-infer", ["noisy-infer", "recipe.json", *out],
        {"recipe.json": recipe(checkpoint="m", **{**NOISY, "data": "text.txt"}, noise="noise.json",
                               importance=["abs_grad", "random"]),
         "text.txt": given / "text.txt", "m": given / "hardened",
         "noise.json": ROOT / "configs/noise/additive_differential.json"}, may_be_long=True, **slow)
    add("importance", ["noisy-infer", "recipe.json", *out],
        {"recipe.json": recipe(checkpoint="m", **NOISY, importance=["abs_grad", "fisher"]), "m": given / "hardened"},
        ("m/importance.safetensors", "m/lowbank.json"), **slow)
    add("evaluate", ["evaluate", "m", "--data", "text.txt", "--context", "64", "--max-chunks", "2", *out],
        {"m": given / "model", "text.txt": given / "text.txt"}, **slow)
    add("sentences", ["evaluate", "m", "--task", "sts-b", "--data", "t.tsv", *out],
        {"m": SAMPLES / "tiny_bert", "t.tsv": "sentence1\tsentence2\tscore\n" + "".join(
            f"the queen is glad\tthe duke is {word}\t{at}.5\n" for at, word in
            enumerate(("glad", "sad", "happy", "sorry")))}, **slow)
    add("logits", ["logits", "m", "--ids", "ids.safetensors", "--out", "out.safetensors", "--quiet"],
        {"m": given / "model", "ids.safetensors": given / "ids.safetensors"}, ("ids.safetensors", "m/*"),
        out="out.safetensors", **slow)
    add("generate", ["generate", "m", "--ids", "ids.json", "--max-new-tokens", "8", *out],
        {"m": given / "model", "ids.json": "[1, 403, 407]"}, **slow)
    add("compress", ["compress", "m", *out], {"m": given / "model"}, **slow)
    add("multiply out", ["compress", "m", "--to", "dense", *out], {"m": given / "factored"}, **slow)
    add("workload", ["workload", "m", "--context", "64", *out], {"m": given / "factored"}, **slow)
    return found


TEXTS = "".join(json.dumps({"text": text}) + "\n" for text in
                ("Hello, world!", "", "d\u00e9j\u00e0 vu \U0001f600", "a\tb  c\u2003d", "\u0645\u0631\u062d\u0628\u0627 12345"))
