#!/usr/bin/env python3
"""Fingerprints what Lowbank's commands do: one line `sha256  item` for each output, sorted by item.

Runs the commands of --bin on the samples, fixtures and recipes of this checkout, in a temporary
folder. An item is what one command printed (with its exit code), or one file that it wrote. Times,
dates, the processor's name and absolute paths are replaced by constants; everything else counts,
floating-point results to the last bit, so compare two runs on one machine. Ends with 1 if --compare
finds a difference or if a command that should work does not.
"""
import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
FIXTURES = SOURCE / "tests/parity/fixtures"
# What a command finds in the folder it starts in.
LINKS = {"configs": "configs", "data": "data", "fixtures": "tests/parity/fixtures",
         "pim": "tests/unit/pim"}
BINARY = {".safetensors", ".gguf", ".model", ".bin"}

STORIES = "data/samples/stories260K/stories260K.bin"
STORIES_TOKENIZER = "data/samples/stories260K/tok512.model"
TRAIN, VALID = (f"data/samples/tinyshakespeare/{part}.txt" for part in ("train", "valid"))
SCORE = f"--data {VALID} --context 64 --max-chunks 4"
SYSTEMS = " ".join(sorted(path.stem for path in (SOURCE / "configs/pim").glob("*.json")
                          if path.stem.startswith(("gpu-", "hbm-", "pimba-", "rram-"))))
WORKLOADS = " ".join(f"configs/workloads/{path.name}"
                     for path in sorted((SOURCE / "configs/workloads").glob("*.json")))

# Text that says when, how fast or on which machine something ran, and what stands in its place.
# The replacements are values that the commands read back.
VOLATILE = [(re.compile(pattern), constant) for pattern, constant in [
    (r'("(?:seconds|tokens_per_second)": ?)[-+.\de]+', r"\g<1>1.0"),
    (r'("ctime_ns": ?)\d+', r"\g<1>0"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2000-01-01T00:00:00Z"),
    # The length of times changes the size and the hash of a file that holds them.
    (r'("metrics\.jsonl?": ?)\d+', r"\g<1>0"),
    (r'(/metrics\.jsonl?": ?\{\s*"size_bytes": ?)\d+(,\s*"ctime_ns": ?0,\s*"hash": ?)"\w+"',
     r'\g<1>0\g<2>""'),
    (r"\d+ tokens/s", "1 tokens/s"),
    (r"((?:experiments|calls) in )[\d.]+ s", r"\g<1>1 s"),  # `estimate`
    # Stages of `run`, and its last line.
    (r"(?m)^(\[ *\d+/\d+\] \S+ \.+ |\d+ of \d+ stages run, \d+ skipped, in )(?:\d+ min )?[\d.]+ s",
     r"\g<1>1 s"),
    (r'("date": "[^"]*",\s*"device": )"[^"]*"', r'\g<1>"PROCESSOR"')]]


class Group:
    """Commands that run one after the other in a folder of their own, and the items they give."""

    def __init__(self, name, bin_dir, root, failures):
        self.name, self.bin, self.failures = name, bin_dir, failures
        self.folder = root / "work" / name
        self.items = root / "items" / name
        self.folder.mkdir(parents=True)
        for link, target in LINKS.items():
            (self.folder / link).symlink_to(SOURCE / target)

    def path(self, name):
        return self.folder / name

    def write(self, name, content):
        """A file of the folder; objects are written as JSON."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def stable(self, text):
        """The text without what differs from run to run."""
        for pattern, constant in VOLATILE:
            text = pattern.sub(constant, text)
        for place, word in ((self.folder, "FOLDER"), (self.bin, "BIN"), (SOURCE, "SOURCE")):
            text = text.replace(str(place), word)
        return text

    def stable_bytes(self, path):
        """The same for what a file holds."""
        content = path.read_bytes()
        if path.suffix in BINARY:
            return content
        return self.stable(content.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape")

    def item(self, name, content):
        path = self.items / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise ValueError(f"{self.name}/{name}: two items of this name")
        path.write_bytes(content)

    def keep(self, *names):
        """Makes an item of each file, and of each file below a folder."""
        for name in names:
            path = self.path(name)
            for file in [path, *path.rglob("*")]:
                if file.is_file():
                    self.item(file.relative_to(self.folder), self.stable_bytes(file))

    def freeze(self, folder):
        """Replaces times in the files of run folders, so that a report over them is stable."""
        for file in self.path(folder).rglob("*"):
            if file.name in ("run.json", "metrics.json", "metrics.jsonl"):
                file.write_bytes(self.stable_bytes(file))

    def run(self, line, item, may_fail=False, stdin=b""):
        """Runs `lowbank LINE`; what it prints becomes an item."""
        result = subprocess.run(
            [self.bin / "lowbank", *shlex.split(line)], cwd=self.folder, input=stdin,
            # Relative, so that no file holds, or is as long as, the path of a checkout.
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "LOWBANK_HOME": "."},
            capture_output=True, timeout=300)
        out, err = (self.stable(stream.decode("utf-8", "surrogateescape"))
                    for stream in (result.stdout, result.stderr))
        self.item(f"{item}.txt", (
            f"lowbank {line}\nexit code {result.returncode}\n--- standard output\n{out}"
            f"--- standard error\n{err}").encode("utf-8", "surrogateescape"))
        if result.returncode != 0 and not may_fail:
            self.failures.append(f"{self.name}/{item}: lowbank {line}\n  {err.strip()}")

    def convert_stories(self):
        self.run(f"convert {STORIES} stories --tokenizer {STORIES_TOKENIZER} --threads 1",
                 "convert_stories")


def file_name(line):
    """A command line as the name of an item."""
    return re.sub(r"[^\w.,=:+-]+", "_", line).strip("_")[:120] or "nothing"


# Safetensors files, as far as token ids need them.

def read_safetensors(path):
    """{name: (type, shape, bytes)}"""
    content = path.read_bytes()
    (header_size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + header_size])
    header.pop("__metadata__", None)
    data = content[8 + header_size:]
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def safetensors_bytes(tensors):
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def ids_tensor(rows):
    flat = [value for row in rows for value in row]
    return ("I64", [len(rows), len(rows[0])], struct.pack(f"<{len(flat)}q", *flat))


# Groups, each a function of its Group.

def help_texts(group):
    group.run("--help", "lowbank")
    group.run("--version", "version")
    commands = sorted(path.name.removeprefix("lowbank-") for path in group.bin.glob("lowbank-*"))
    for command in ["run", *commands]:
        group.run(f"{command} --help", command)


ERRORS = r"""

-h
help
help run
help generate
help nonsense
--nonsense
-x
finetun ckpt
RUN
run --version
generate --version
run
run absent.json
run one_stage.json
run two.json one_stage.json
run -- two.json
run two.json --nonsense
run two.json --sett a=b
run two.json --set
run two.json --set evaluate
run two.json --set evaluat.context=4
run two.json --set evaluate.contxt=4
run two.json --set evaluate.context=x
run two.json --set *.nonsense=1
run two.json --seed -1
run two.json --threads 5000
run two.json --device gpu
run two.json --out
run unknown_stage.json
run unknown_key.json
run unknown_reference.json
run later_reference.json
run same_id.json
run no_stages.json
run broken.json
run list.json
run bad_name.json
run tokenize_stage.json
generate
generate --prompt hi
generate absent --prompt hi
generate ckpt extra --prompt hi
generate ckpt --promt hi
generate ckpt --prompt
generate ckpt --prompt --greedy
generate ckpt --prompt= --max-new-tokens 2 --greedy
generate ckpt --prompt -5 --max-new-tokens 2 --greedy
generate ckpt --prompt=-5 --max-new-tokens 2 --greedy
generate ckpt --prompt "two words" --max_new_tokens 2 --greedy
generate ckpt --prompt hi --max-new-tokens 2 --greedy --greedy=false --seed 4
generate ckpt --prompt hi --max-new-tokens 2 --greedy=true --json
generate ckpt --prompt hi --max-new-tokens 2 --greedy true
generate ckpt --prompt hi --greedy=maybe
generate ckpt --prompt hi --max-new-tokens 3 --max-new-tokens 1 --greedy
generate ckpt --max-new-tokens ten
generate ckpt --max-new-tokens -1
generate ckpt --max-new-tokens=-1
generate ckpt --max-new-tokens 1.5
generate ckpt --max-new-tokens 1e3
generate ckpt --max-new-tokens +3
generate ckpt --max-new-tokens 0x10
generate ckpt --max-new-tokens 99999999999999999999
generate ckpt --max-new-tokens 5000 --prompt hi
generate ckpt --temperature 0
generate ckpt --temperature -0.5
generate ckpt --temperature nan
generate ckpt --temperature 1,5
generate ckpt --top-p 1.5
generate ckpt --top-k -3
generate ckpt --seed -1
generate ckpt --seed 18446744073709551616
generate ckpt --threads -1
generate ckpt --threads 2000
generate ckpt --dtype f64
generate ckpt --device gpu
generate ckpt --device cuda:x
generate ckpt -p hi
generate ckpt ---prompt hi
generate ckpt --Prompt hi
generate ckpt --prompt.x hi
generate ckpt -- --prompt
generate -- ckpt --prompt hi
generate ckpt - --prompt hi
generate ckpt --prompt hi --ids ids.json
generate ckpt --ids absent.json
generate ckpt --set prompt=hi --set max_new_tokens=2 --set greedy=true
generate ckpt --set
generate ckpt --set prompt
generate ckpt --set =hi
generate ckpt --set promt=hi
generate ckpt --set prompt.x=1
generate ckpt --set top_k=x
generate ckpt --set=top_k=x
generate ckpt --json=maybe
generate ckpt --out ckpt/config.json --prompt hi
generate ckpt --out full --prompt hi
generate generate.json
generate generate.json --max-new-tokens 1 --set prompt=Lily
generate generate.json ckpt
generate absent.json
generate two.json
generate one_stage.json
generate unknown_key.json
generate generate_wrong_type.json
generate broken.json
generate list.json
finetune ckpt
finetune ckpt --data absent.json
finetune ckpt --data data.json --train train.json --set train.steps=-1
finetune ckpt --data data.json --train train_unknown_key.json
finetune ckpt --data data.json --set train.lerning_rate=1
finetune ckpt --data data.json --set train.learning_rate=0
finetune ckpt --data data.json --set train.learning_rate=-1e-3
finetune ckpt --data data.json --set train.beta1=1
finetune ckpt --data data.json --set train.schedule=cosin
finetune ckpt --data data.json --set train.steps=5 --set train.warmup_steps=6
finetune ckpt --data data.json --set data.context=1
finetune ckpt --data data.json --set data.context=100000
finetune ckpt --data data.json --set train=5
finetune ckpt --data data.json --train.steps 5
finetune ckpt --set data.train=absent.txt
evaluate ckpt
evaluate ckpt --task lambada --data ids.json
evaluate ckpt --task sts-b --data . --context 64
evaluate ckpt --task sts-b --data ids.json
evaluate ckpt --data absent.txt
evaluate ckpt --data ids.json
evaluate ckpt --data latin1.txt
evaluate ckpt --data ids.json --context 1
evaluate ckpt --data ids.json --context 8 --stride 9
evaluate ckpt --data ids.json --limit 5
compress
compress ckpt --threads 1
compress ckpt small --rank ratio
compress ckpt small --rank ratio:-1
compress ckpt small --rank fixed:0
compress ckpt small --rank fixed:1000
compress ckpt small --rank energy:2
compress ckpt small --rank nonsense:1
compress ckpt small --method svdd
compress ckpt small --modules absent
compress ckpt small --modules (
compress ckpt small --to dense
compress ckpt full
redistribute ckpt out --data data.json
noisy-infer ckpt --data ids.json
noisy-infer ckpt --data ids.json --slc-frac 0,2
noisy-infer ckpt --data ids.json --slc-frac 0,,1
noisy-infer ckpt --data ids.json --slc-frac=
noisy-infer ckpt --data ids.json --slc-frac -0.1
noisy-infer ckpt --data ids.json --slc-frac [0,0.5]
noisy-infer ckpt --data ids.json --importance abs_grad,nonsense
noisy-infer ckpt --data ids.json --noise absent.json
noisy-infer ckpt --data ids.json --noise noise_unknown_key.json
noisy-infer ckpt --data ids.json --set noise.cell_bits=3
noisy-infer ckpt --data ids.json --set noise.sgma=1
noisy-infer ckpt --data ids.json --set noise.sigma=-1
workload ckpt --context 0
workload ckpt --phase both,decode
estimate
estimate --workload configs/workloads/bert-large.json
estimate --workload --system gpu-a100
estimate --system gpu-a100
estimate --workload absent.json --system gpu-a100
estimate --workload configs/workloads/bert-large.json --system gpu-a1000
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --out x.json nonsense
estimate --workload=configs/workloads/bert-large.json --system=gpu-a100,rram-hyflexpim --out a.json
estimate --workload configs/workloads/bert-large.json --system [\"gpu-a100\"] --out b.json
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --correct refresh
estimate --workload absent.json --system gpu-a100 --mode reference --correct refrsh
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --mode phys
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --batch 0
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --batch 1.5
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --batch -1
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --batch 1 2 -h
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --sensitivity 1
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --slc-frac 1.5
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --crossovers
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --kv-format int4
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --num-gpus 0
estimate --workload configs/workloads/bert-large.json --system gpu-a100 --trace trace.txt
estimate --experiments absent.jsonl
estimate --experiments configs/pim/figures.jsonl --pim-calls pim/reference_calls.csv
estimate --experiments configs/pim/figures.jsonl --batch 1
report
report absent
report ckpt/config.json --out page.html
report configs --out page.html
report ckpt --nonsense --out page.html
inspect
inspect absent
inspect configs/README.md
inspect ckpt --tensors absent/out.safetensors
tokenize
tokenize ckpt
tokenize ckpt --file absent.jsonl
tokenize list.json --file texts.jsonl
tokenize ckpt list.json --file texts.jsonl
tokenize ckpt --file texts.jsonl --set special=true
tokenize ckpt --file=-
logits ckpt
logits ckpt --ids absent.safetensors --out out.safetensors
logits ckpt --ids ckpt/model.safetensors --out out.safetensors
convert
convert absent out
convert ckpt ckpt
convert ckpt full
convert ckpt out --to ggu
convert ckpt out --dtype q8_0
convert ckpt out.gguf --to lowbank
convert ckpt out --max-shard-bytes 0
convert ckpt out --tokenizer absent.model
convert ckpt out --dtype bf17
bench --case nonsense
bench --runs 0
""".split("\n")[1:-1]


def errors(group):
    """How arguments and recipes are read; most of these lines are wrong in one way each."""
    group.run(f"convert {STORIES} ckpt --tokenizer {STORIES_TOKENIZER} --quiet", "convert_ckpt")
    generate = {"stage": "generate", "checkpoint": "ckpt", "prompt": "Once", "greedy": True,
                "max_new_tokens": 3, "threads": 1}
    evaluate = {"stage": "evaluate", "checkpoint": "ckpt", "data": VALID, "context": 32,
                "max_chunks": 2}
    for name, content in {
            "ids": [1, 2, 3],
            "generate": "// a comment\n" + json.dumps(dict(generate, name="written")),
            "generate_wrong_type": dict(generate, max_new_tokens="3"),
            "one_stage": evaluate,
            "two": {"name": "two", "stages": [evaluate, generate]},
            "unknown_stage": {"stages": [dict(evaluate, stage="evaluat")]},
            "unknown_key": {"stages": [evaluate], "sed": 1},
            "unknown_reference": {"stages": [dict(evaluate, checkpoint="@convert")]},
            "later_reference": {"stages": [dict(evaluate, checkpoint="@generate"), generate]},
            "same_id": {"stages": [evaluate, evaluate]},
            "no_stages": {"name": "nothing", "stages": []},
            "broken": '{"stages": [}',
            "list": [],
            "bad_name": {"name": "../up", "stages": [evaluate]},
            "tokenize_stage": {"stages": [{"stage": "tokenize", "tokenizer": "ckpt"}]},
            "data": {"train": VALID, "context": 32},
            "train": {"source": "here", "steps": 1, "warmup_steps": 0},
            "train_unknown_key": {"stepz": 1},
            "noise_unknown_key": {"model": "additive", "sigmaa": 1}}.items():
        group.write(f"{name}.json", content)
    group.write("texts.jsonl", '{"text": "Once upon"}\n')
    group.write("latin1.txt", b"caf\xe9 " * 100)
    group.write("full/somebody's.txt", "not of a run")
    for line in ERRORS:
        group.run(line, file_name(line), may_fail=True, stdin=b'{"text": "Once"}\n')
    written = sorted(str(path.relative_to(group.folder)) for path in group.folder.rglob("*"))
    group.item("files_left_behind.txt", "\n".join(written).encode())


def faults(group):
    """Broken files, each with one fault, and what their reader says."""
    def fault(item, line, source, file, *edits):
        """Runs `line` with @ = a copy of `source` in whose `file` each edit (old, new) was made."""
        original = group.path(source)
        copy = group.path(item) / original.name
        if original.is_dir():
            shutil.copytree(original, copy)
        else:
            copy.parent.mkdir()
            shutil.copy(original, copy)
        edited = copy / file if file else copy
        content = edited.read_bytes()
        for old, new in edits:
            if old not in content:
                raise ValueError(f"faults/{item}: {edited} does not hold {old}")
            content = content.replace(old, new, 1)
        edited.write_bytes(content)
        group.run(line.replace("@", str(copy.relative_to(group.folder))), item, may_fail=True)

    def fault_text(item, line, content):
        """Runs `line` with @ = a file of this content."""
        fault_file = group.write(f"{item}/{item}", content)
        group.run(line.replace("@", fault_file), item, may_fail=True)

    work = "workload @ --context 8 --threads 1 --out workload.json"
    broken = [(b"{", b"")]
    for item, edits in {
            "no_json": broken,
            "trailing_comma": [(b"\n}", b",\n}")],
            "after_the_end": [(b"\n}", b"\n} x")],
            "byte_order_mark": [(b"{", b"\xef\xbb\xbf{")],
            "comment": [(b"{", b"{ // why\n")],
            "no_utf8": [(b'"silu"', b'"s\xff"')],
            "not_a_number": [(b"0.001", b"NaN")],
            "too_large": [(b"0.001", b"1e999")],
            "twice": [(b"{", b'{"hidden_size": 16,')],
            "missing_size": [(b'"hidden_size"', b'"hidden"')],
            "text_for_size": [(b'"hidden_size": 32', b'"hidden_size": "32"')],
            "real_for_size": [(b'"hidden_size": 32', b'"hidden_size": 32.5')],
            "negative_size": [(b'"hidden_size": 32', b'"hidden_size": -32')],
            "odd_size": [(b'"hidden_size": 32', b'"hidden_size": 33')],
            "huge_size": [(b'"hidden_size": 32', b'"hidden_size": 4294967296')],
            "no_heads": [(b'"num_attention_heads": 4', b'"num_attention_heads": 0')],
            "other_vocabulary": [(b'"vocab_size": 64', b'"vocab_size": 65')],
            "other_layers": [(b'"num_hidden_layers": 2', b'"num_hidden_layers": 3')],
            "left_over": [(b'"num_hidden_layers": 2', b'"num_hidden_layers": 1')],
            "other_activation": [(b'"silu"', b'"relu"')],
            "other_family": [(b'"model_type": "llama"', b'"model_type": "gpt2"')],
            "rope": [(b'"rope_scaling": null', b'"rope_scaling": {"rope_type": "yarn"}')],
            "bias_missing": [(b'"attention_bias": false', b'"attention_bias": true')]}.items():
        fault(f"config_{item}", work, "fixtures/llama_default", "config.json", *edits)
    for item, edits in {
            "activation": [(b'"gelu"', b'"tanhh"')],
            "positions": [(b'"absolute"', b'"relative_key"')],
            "class": [(b"BertModel", b"BertForTokenClassification")]}.items():
        fault(f"bert_{item}", work, "fixtures/bert_model", "config.json", *edits)
    for item, edits in {
            "rank": [(b'"time_step_rank": 2', b'"time_step_rank": "some"')],
            "kernel": [(b'"conv_kernel": 4', b'"conv_kernel": 0')],
            "act": [(b'"hidden_act": "silu"', b'"hidden_act": "gelu"')]}.items():
        fault(f"mamba_{item}", work, "fixtures/mamba_default", "config.json", *edits)
    fault("state_spaces", work, "fixtures/mamba_state_spaces", "config.json",
          (b'"d_state": 8', b'"d_state": "8"'))

    group.run("compress fixtures/llama_default factored --rank fixed:3 --threads 1", "compress")
    for item, edits in {
            "revision": [(b'"revision": 2', b'"revision": 999')],
            "kind": [(b'"svd"', b'"svdd"')],
            "rank": [(b'"rank": 3', b'"rank": 4')],
            "path": [(b"q_proj", b"x_proj")],
            "no_json": broken}.items():
        for command, line in {"load": work, "inspect": "inspect @ --linears --history"}.items():
            fault(f"meta_{item}_{command}", line, "factored", "lowbank.json", *edits)

    for item, edits in {
            "header": [(b'"dtype"', b'"dtyp"')],
            "type": [(b'"F32"', b'"F33"')],
            "shape": [(b'"shape":[64,32]', b'"shape":[64,33]')],
            "name": [(b"model.norm.weight", b"model.norm.weighs")],
            "cut": [((FIXTURES / "llama_default/model.safetensors").read_bytes()[-100:], b"")],
            "length": [((FIXTURES / "llama_default/model.safetensors").read_bytes()[:8],
                        b"\xff" * 8)]}.items():
        for command, line in {"load": work, "inspect": "inspect @"}.items():
            fault(f"weights_{item}_{command}", line, "fixtures/llama_default", "model.safetensors",
                  *edits)
    for item, edits in {
            "index_file": [(b"-00001-of", b"-00003-of")],
            "index_type": [(b'"weight_map"', b'"weight_mop"')],
            "index_no_json": broken}.items():
        fault(item, f"convert @ {item}_out", "fixtures/old_mamba", "pytorch_model.bin.index.json",
              *edits)
    for path in sorted((FIXTURES / "torch_file").glob("*.bin")):
        group.run(f"inspect fixtures/torch_file/{path.name} --json", f"torch_file_{path.stem}",
                  may_fail=True)
    for item, edits in {"magic": [(b"GGUF", b"GGUX")], "version": [(b"GGUF\x03", b"GGUF\x09")],
                        "name": [(b"general.architecture", b"general.architectura")]}.items():
        fault(f"gguf_{item}", "inspect @", "fixtures/gguf/quants.gguf", "", *edits)

    group.write("two.jsonl", '{"text": "Hello, world!"}\n{"text": "caf\u00e9 12"}\n')
    tokenize = "tokenize @ --file two.jsonl"
    for item, edits in {
            "kind": [(b'"type":"BPE"', b'"type":"Unigram"')],
            "key": [(b'"type":"BPE"', b'"type":"BPE","nonsense":1')],
            "step": [(b'"type":"ByteLevel"', b'"type":"BiteLevel"')],
            "vocabulary": [(b'"vocab":{', b'"vocab":{"x":-1,')],
            "member": [(b'"added_tokens":', b'"added_token":')],
            "no_json": broken}.items():
        fault(f"tokenizer_{item}", tokenize, "fixtures/tokenizers/smollm2_form.json", "", *edits)
    for item, content in {"list": "[]", "no_text": '{"txt": "a"}', "number": '{"text": 5}',
                          "no_json": '{"text": "a"}\nnonsense', "no_utf8": b'{"text": "\xff"}',
                          "empty": ""}.items():
        fault_text(f"texts_{item}", f"tokenize {STORIES_TOKENIZER} --file @", content)
    for item, content in {"empty": [], "object": {}, "text": [1, "a"], "real": [1, 2.5],
                          "range": [1, 64], "negative": [-1], "no_json": "[1,"}.items():
        fault_text(f"ids_{item}", "generate fixtures/llama_default --ids @ --greedy --threads 1",
                   content)
    for item, tensors in {
            "range": {"input_ids": ids_tensor([[1, 64]])},
            "shape": {"input_ids": ("I64", [2], struct.pack("<2q", 1, 2))},
            "type": {"input_ids": ("I32", [1, 2], struct.pack("<2i", 1, 2))},
            "name": {"ids": ids_tensor([[1]])},
            "extra": {"input_ids": ids_tensor([[1]]), "token_type_ids": ids_tensor([[0]])},
            "hole": {"input_ids": ids_tensor([[1, 2, 3]]),
                     "attention_mask": ids_tensor([[1, 0, 1]])}}.items():
        fault_text(f"input_{item}", "logits fixtures/llama_default --ids @ --out out.safetensors",
                   safetensors_bytes(tensors))

    estimate = "estimate --workload @ --system gpu-a100 --out estimate.json"
    for item, edits in {
            "format": [(b'"lowbank-workload"', b'"workload"')],
            "revision": [(b'"revision": 2', b'"revision": 99')],
            "missing": [(b'"m": 128', b'"mm": 128')],
            "negative": [(b'"m": 128', b'"m": -128')],
            "text": [(b'"m": 128', b'"m": "128"')],
            "kind": [(b'"kind": "linear"', b'"kind": "linea"')],
            "phase": [(b'"prefill"', b'"profill"')],
            "no_json": broken}.items():
        fault(f"workload_{item}", estimate, "configs/workloads/bert-large.json", "", *edits)
    estimate = ("estimate --workload configs/workloads/bert-large.json --system @ "
                "--out estimate.json")
    for item, edits in {
            "kind": [(b'"kind": "gpu"', b'"kind": "gpux"')],
            "missing": [(b'"num_cores"', b'"num_coresx"')],
            "unit": [(b'"unit": "cores"', b'"unit": "core"')],
            "no_source": [(b'"source"', b'"sauce"')],
            "text": [(b'"value": 108', b'"value": "108"')],
            "negative": [(b'"value": 108', b'"value": -108')],
            "no_json": broken}.items():
        fault(f"preset_{item}", estimate, "configs/pim/gpu-a100.json", "", *edits)
    for item, edits in {
            "model": [(b"retnet-2.7b", b"retnet-2.8b")],
            "system": [(b'"GPU+Q"', b'"GPU+R"')],
            "missing": [(b'"batch_size"', b'"batchsize"')],
            "zero": [(b'"batch_size": 32', b'"batch_size": 0')],
            "text": [(b'"batch_size": 32', b'"batch_size": "32"')],
            "no_json": broken}.items():
        fault(f"experiments_{item}", "estimate --experiments @ --out estimate.jsonl",
              "pim/reference_experiments.jsonl", "", *edits)
    for item, edits in {
            "column": [(b"num_op", b"numop")],
            "number": [(b"ATTEND,256", b"ATTEND,many")],
            "operation": [(b"ATTEND", b"ATTENDS")],
            "cells": [(b",256,224", b",224")]}.items():
        fault(f"calls_{item}", "estimate --pim-calls @ --out calls.csv", "pim/reference_calls.csv",
              "", *edits)

    group.run(f"evaluate fixtures/llama_default --data {VALID} --out run", "no_tokenizer",
              may_fail=True)
    group.run(f"estimate --workload {WORKLOADS} --system gpu-a100 --out run", "estimate")
    for item, file, edits in [
            ("rows", "estimate.json", [(b'"rows"', b'"row"')]),
            ("number", "estimate.json", [(b'"latency_ns": ', b'"latency_ns": "x", "y": ')]),
            ("no_json", "estimate.json", broken),
            ("stage", "run.json", [(b'"estimate"', b'"estimat"')]),
            ("run_no_json", "run.json", broken),
            ("settings", "resolved.json", broken)]:
        fault(f"report_{item}", "report @ --out page.html", "run", file, *edits)


def tokenizers(group):
    texts = group.path("fixtures/tokenizers/texts.jsonl").read_text().splitlines()[1:]
    group.write("texts.jsonl", "".join(f'{{"text": {text}}}\n' for text in texts))
    group.convert_stories()
    group.run("convert stories stories.gguf --threads 1", "to_gguf")
    for name, tokenizer in {"sentencepiece": STORIES_TOKENIZER,
                            "bpe": "fixtures/tokenizers/smollm2_form.json",
                            "wordpiece": "fixtures/old_bert/vocab.txt",
                            "gguf": "stories.gguf", "folder": "stories"}.items():
        for special in ("", " --special"):
            item = name + special.replace(" --", "_")
            group.run(f"tokenize {tokenizer} --file texts.jsonl --out {item}.jsonl --threads 2 "
                      f"--json{special}", item)
            group.keep(f"{item}.jsonl")


def conversions(group):
    """The sample and the fixtures from form to form."""
    group.convert_stories()
    group.keep("stories")
    for dtype in ("f32", "bf16", "f16", "q8_0", "q4_0"):
        group.run(f"convert stories stories_{dtype}.gguf --dtype {dtype}", f"gguf_{dtype}")
        group.run(f"convert stories_{dtype}.gguf back_{dtype}", f"back_{dtype}")
        group.run(f"inspect stories_{dtype}.gguf --json", f"inspect_{dtype}")
        group.keep(f"stories_{dtype}.gguf", f"back_{dtype}")
    group.run("convert stories gguf_folder --to gguf", "gguf_folder")
    group.run("convert stories shards --max-shard-bytes 300000 --dtype bf16", "shards")
    group.run("inspect shards --linears --history --json", "inspect_shards")
    group.run(f"inspect {STORIES} --tensors stories_tensors.safetensors", "inspect_tensors")
    group.run("inspect fixtures/gguf/quants.gguf --tensors quants.safetensors", "inspect_quants")
    group.keep("gguf_folder", "shards", "stories_tensors.safetensors", "quants.safetensors")
    for name in ("old_bert", "old_mamba"):
        group.run(f"convert fixtures/{name} {name} --json", name)
        group.run(f"convert {name} {name}.gguf --json", f"{name}_gguf")
        group.run(f"convert {name}.gguf {name}_back --json", f"{name}_back")
        group.keep(name, f"{name}.gguf", f"{name}_back")


def fixture(name):
    """Group of one model that transformers made: its outputs, operators, and other forms."""
    def body(group):
        model = f"fixtures/{name}"
        tensors = read_safetensors(FIXTURES / name / "expected.safetensors")
        inputs = {"ids": {"input_ids": "input_ids"}}
        if "token_type_ids" in tensors:
            inputs["typed"] = dict(inputs["ids"], token_type_ids="token_type_ids")
            inputs["masked"] = dict(inputs["typed"], attention_mask="attention_mask")
        if "padded_ids" in tensors:
            inputs["padded"] = {"input_ids": "padded_ids", "attention_mask": "attention_mask"}
        if "long_ids" in tensors:
            inputs["long"] = {"input_ids": "long_ids"}
        for case, names in inputs.items():
            group.write(f"{case}.in.safetensors",
                        safetensors_bytes({key: tensors[source] for key, source in names.items()}))

        def logits(checkpoint, case, item, options=""):
            group.run(f"logits {checkpoint} --ids {case}.in.safetensors --out {item}.safetensors "
                      f"--threads 1{options}", item)
            group.keep(f"{item}.safetensors")

        for case in inputs:
            logits(model, case, f"logits_{case}")
        if "bf16" in name:
            logits(model, "ids", "logits_in_bf16", " --dtype bf16")
        if not name.startswith("bert"):
            flat = struct.unpack_from("<10q", tensors["input_ids"][2])
            group.write("prompt.json", list(flat))
            generate = f"generate {model} --ids prompt.json --max-new-tokens 12 --threads 1 --json"
            group.run(f"{generate} --greedy", "generate_greedy")
            if name.endswith("_default"):
                group.run(f"{generate} --seed 3 --temperature 0.8 --top-k 20 --top-p 0.9",
                          "generate_sampled")
        group.run(f"workload {model} --context 12 --batch 2 --out workload.json --threads 1",
                  "workload")
        # Not every fixture has a model_type, weights that its config.json allows, a place in GGUF.
        group.run(f"inspect {model} --linears --json", "inspect", may_fail=True)
        group.run(f"convert {model} converted", "convert", may_fail=True)
        group.run(f"convert {model} model.gguf", "convert_gguf", may_fail=True)
        group.keep("workload.json", "converted", "model.gguf")
        group.run(f"compress {model} factored --rank ratio:0.5 --threads 1", "compress")
        group.run("workload factored --context 12 --batch 2 --out workload_factored.json "
                  "--threads 1", "workload_factored")
        group.keep("factored", "workload_factored.json")
        logits("factored", "ids", "logits_factored")
    return body


def stories(group):
    """What the sample model says, how well it predicts, and its factors by every policy."""
    group.convert_stories()
    for name, options in {
            "greedy": '--prompt "" --greedy --max-new-tokens 256',
            "sampled": '--prompt "Once upon a time" --seed 7 --max-new-tokens 40 --json',
            "top_p": '--prompt "Tim" --seed 8 --top-p 0.8 --temperature 1.2 --max-new-tokens 40',
            "top_k": '--prompt "Tim" --seed 8 --top-k 5 --max-new-tokens 40',
            "bf16": '--prompt "Lily" --greedy --dtype bf16 --max-new-tokens 40'}.items():
        group.run(f"generate stories --threads 2 {options}", f"generate_{name}")
    for name, options in {
            "plain": SCORE, "stride": f"{SCORE} --stride 48", "special": f"{SCORE} --special",
            "batch": f"{SCORE} --batch-size 3", "bf16": f"{SCORE} --dtype bf16",
            "keep_last": f"--data {VALID} --context 100 --max-chars 2000 --keep-last"}.items():
        group.run(f"evaluate stories --threads 2 {options} --out evaluate_{name} --json",
                  f"evaluate_{name}")
        group.keep(f"evaluate_{name}")
    for name, options in {
            "break_even": "", "ratio": "--rank ratio:0.7", "fraction": "--rank fraction:0.25",
            "energy": "--rank energy:0.9", "fixed": "--rank fixed:8",
            "modules": r"--modules self_attn,layers\.0\.mlp", "bf16": "--dtype bf16"}.items():
        group.run(f"compress stories compress_{name} --threads 2 {options}", f"compress_{name}")
        group.keep(f"compress_{name}")
    group.run("compress compress_fixed compress_again --rank fixed:4 --threads 2", "compress_again")
    group.run("compress compress_fixed dense_again --to dense --threads 2", "dense_again")
    group.run("inspect compress_modules --linears --history", "inspect_history")
    for phase in ("prefill", "decode", "both"):
        group.run(f"workload compress_modules --phase {phase} --context 33 --batch 3 "
                  f"--out workload_{phase}", f"workload_{phase}")
        group.keep(f"workload_{phase}")
    group.keep("compress_again", "dense_again")


def train(name):
    """Group of one fixture that is trained, factored, hardened and put into noisy cells."""
    def body(group):
        shutil.copytree(FIXTURES / name, group.path("model"))
        # One token a character: the fixtures have 64.
        letters = "<>\n abcdefghijklmnopqrstuvwxyz.,;:!?'-&ABCDEFGHIJKLMNOPRSTUVW"
        group.write("model/tokenizer.json", {
            "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
            "added_tokens": [], "post_processor": None,
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"},
                              "behavior": "Isolated", "invert": False},
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": {x: i for i, x in enumerate(letters)},
                      "unk_token": "<"}})
        text = (SOURCE / TRAIN).read_text()
        group.write("train.txt", text[:12000])
        group.write("valid.txt", text[500000:502000])
        data = "--set data.train=train.txt --set data.valid=valid.txt --set data.context=32"
        steps = ("--set train.steps=6 --set train.warmup_steps=2 --set train.micro_batch_size=4 "
                 "--set train.eval_every=3 --threads 2 --seed 5")
        for item, options in {
                "cosine": "",
                "linear": "--set train.schedule=linear --set train.grad_accum_steps=2",
                "constant": "--set train.schedule=constant --set train.max_grad_norm=0 "
                            "--set train.weight_decay=0",
                "bf16": "--dtype bf16"}.items():
            group.run(f"finetune model --out finetune_{item} {data} {steps} {options}",
                      f"finetune_{item}")
            group.keep(f"finetune_{item}")
        group.run("compress finetune_cosine factored --threads 2", "compress")
        group.run(f"redistribute factored hardened {data} {steps} --importance fisher "
                  "--set importance_max_examples=24", "redistribute")
        score = "--data valid.txt --context 32 --max-chunks 4 --trials 2 --threads 2"
        selections = "abs_grad,fisher,signed,magnitude,rank_order,random"
        for noise in ("additive_differential", "additive_offset_binary",
                      "multiplicative_sign_magnitude", "multiplicative_twos_complement"):
            group.run(f"noisy-infer hardened --noise configs/noise/{noise}.json {score} "
                      f"--slc-frac 0,0.3,1 --importance {selections} --out {noise}", noise)
            group.keep(noise)
        group.keep("factored", "hardened")
    return body


def similarity(group):
    """STS-B with an encoder of twenty words."""
    group.run("convert fixtures/old_bert bert", "convert")
    words = (FIXTURES / "old_bert/vocab.txt").read_text().split()[5:]
    rows = [f"{words[i % len(words)]} {words[(3 * i + 1) % len(words)]}\t"
            f"{words[(2 * i) % len(words)]}\t{i % 6}.0" for i in range(12)]
    group.write("STS-B/dev.tsv", "sentence1\tsentence2\tscore\n" + "\n".join(rows) + "\n")
    group.run("evaluate bert --task sts-b --data STS-B --out scores --threads 1 --json", "evaluate")
    group.run("evaluate bert --task sts-b --data STS-B --limit 8 --threads 1 --json", "limit")
    group.keep("scores")


def estimates(group):
    group.write("operators.csv", "gpu,kind,m,n,k,dtype\nA100,matmul,1,12288,4096,f16\n"
                                 "A100,act,64,11008,1,bf16\nH100,norm,32,4096,1,f16\n")
    shapes = [f"A100,matmul,{m},{n},4096,f16" for m in (1, 4, 16, 64, 256, 1024, 4096)
              for n in (1024, 2048, 4096, 6144, 8192, 12288)]
    group.write("shapes.csv", "\n".join(["gpu,kind,m,n,k,dtype", *shapes]) + "\n")
    for name in ("llama_default", "mamba_default", "bert_model"):
        group.run(f"workload fixtures/{name} --context 12 --out {name}.json --threads 1", name)
    group.write("cpu.json", {"kind": "cpu", "about": "the sample of the unit tests", "constants": {
        key: {"value": float(value), "unit": unit, "source": "unit tests"}
        for key, unit, value in re.findall(r'\{"(\w+)", "([^"]+)", ([\d.e]+)\}',
                                           group.path("pim/cpu_sample.h").read_text())}})
    small = "--workload llama_default.json mamba_default.json"
    llama = "--workload configs/workloads/llama-3.2-1b.json"
    both = f"{llama} configs/workloads/llama-3.2-1b-svd.json"
    for item, options in {
            "all": f"--workload {WORKLOADS} --system {SYSTEMS}",
            "all_reference": f"--workload {WORKLOADS} --system {SYSTEMS} --mode reference",
            "slc": f"{both} --system rram-hyflexpim --slc-frac 0.05 --num-chips 40",
            "small": f"--workload llama_default.json bert_model.json --system {SYSTEMS} cpu.json",
            "sweep": f"{small} --system {SYSTEMS} --batch 1 16 --context 512 100000 "
                     "--output-tokens 9",
            "four_gpus": f"{both} --system gpu-h100 pimba-h100 --num-gpus 4 --batch 64",
            "formats": f"{llama} --system gpu-b200 hbm-pim-b200 --kv-format int8 "
                       "--state-format mx8",
            "studies": f"{both} --system gpu-a100 pimba-a100 rram-hyflexpim --crossovers "
                       "--break-even --sensitivity 0.2",
            "one_file.json": f"{llama} --system gpu-a100 --quiet --json",
            "experiments/": "--experiments pim/reference_experiments.jsonl --mode reference",
            "experiments.jsonl": "--experiments pim/reference_experiments.jsonl",
            "corrected.jsonl": "--experiments pim/reference_experiments.jsonl --mode reference "
                               "--correct refresh fitted_gpu",
            "calls.csv": "--pim-calls pim/reference_calls.csv --mode reference",
            "calls_physical.csv": "--pim-calls pim/reference_calls.csv",
            "operators.out.csv": "--operators operators.csv",
            "measured.csv": "--operators shapes.csv",
            "fitted.json": "--fit measured.csv",
            "fitted": f"{llama} --system fitted.json"}.items():
        group.run(f"estimate {options} --out {item}", f"print_{item.strip('/')}")
        group.keep(item)
    group.write("call.csv", "hw,op_type,num_op,head_dim,state_dim,dbyte,channels\n"
                            "HBM-PIM,SCORE,2,64,33,2,40\n")
    group.run("estimate --pim-calls call.csv --trace trace.txt --out traced.csv", "print_trace")
    group.keep("trace.txt", "traced.csv")
    for name in ("all", "all_reference", "slc", "sweep", "four_gpus", "formats", "studies",
                 "experiments"):
        group.freeze(name)
    group.run("report all all_reference slc --out page.html --title Costs", "report")
    group.run("report sweep studies four_gpus experiments --out sweep_report.html --json", "report_sweep")
    group.freeze("page")
    group.freeze("sweep_report")
    group.keep("page", "page.html", "sweep_report.html")


def report_again(group, name):
    """The report of a run of a recipe, over run folders without times; all of them as items."""
    runs = f"runs/{name}"
    group.freeze(runs)
    group.run(f"report {runs}/stages/report.json", "report")
    group.keep(runs)


def demo(group):
    """The demo's stages with few steps; what a second call skips, and a changed one repeats."""
    small = ["*.train.steps=6", "*.train.warmup_steps=2", "*.train.micro_batch_size=4",
             "*.train.eval_max_chunks=2", "*.train.save_every=2", "*.importance_max_examples=8",
             "*.trials=2", "*.max_chunks=2"]
    small += [f"noisy_{rank}_{code}.slc_frac=0,0.2,1" for rank in ("full", "half")
              for code in ("twos_complement", "sign_magnitude")]
    line = "run configs/recipes/demo.json --threads 2" + "".join(f" --set {x}" for x in small)
    group.run(line, "first_run")
    group.run(f"{line} --json", "second_run")
    group.run(f"{line} --set noisy_half_sign_magnitude.noise.sigma=0.05 --json", "changed_run")
    report_again(group, "demo")


def results(recipe):
    """Group of a recipe whose tables and figures are in docs/results."""
    def body(group):
        group.run(f"run configs/recipes/{recipe}.json --threads 1", "run")
        report_again(group, recipe)
    return body


def all_groups():
    """{name: function}, the longest first."""
    models = sorted(path.parent.name for family in ("llama", "bert", "mamba")
                    for path in FIXTURES.glob(f"{family}_*/expected.safetensors"))
    pages = [SOURCE / "docs/corrections.md", *sorted((SOURCE / "docs/results").glob("*.md"))]
    recipes = {re.search(r"lowbank run configs/recipes/(\w+)\.json", page.read_text())[1]
               for page in pages}
    return {"demo": demo, "errors": errors, "faults": faults, "stories": stories,
            "train_mamba": train("mamba_default"), "train_llama": train("llama_mlp_bias"),
            **{f"fixtures/{name}": fixture(name) for name in models},
            **{f"results_{recipe}": results(recipe) for recipe in sorted(recipes)},
            "estimates": estimates, "conversions": conversions, "tokenizers": tokenizers,
            "similarity": similarity, "help": help_texts}


def fingerprint(folder):
    """{item: sha256} of the files of a folder."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def compare(before, now):
    """Names the items that differ; True if there are none."""
    lines = []
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            lines.append(f"missing  {name}")
        elif name not in before:
            lines.append(f"new      {name}")
        elif before[name] != now[name]:
            lines.append(f"changed  {name}")
    for line in lines:
        print(line)
    print(f"{len(lines)} of {len(before.keys() | now.keys())} items differ", file=sys.stderr)
    return not lines


def main():
    parser = argparse.ArgumentParser(prog="scripts/behaviour.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=SOURCE / "build/release/bin",
                        help="folder of the commands [build/release/bin]")
    parser.add_argument("--out", type=Path, help="file for the lines [standard output]")
    parser.add_argument("--keep", type=Path, help="new folder for the items themselves, for diff")
    parser.add_argument("--compare", type=Path, metavar="BEFORE",
                        help="an earlier --out; names the items that differ")
    parser.add_argument("--only", nargs="+", metavar="GROUP",
                        help="only the groups whose names begin so: help errors fixtures/llama")
    args = parser.parse_args()

    def is_chosen(name):
        return args.only is None or name.startswith(tuple(args.only))

    groups = {name: body for name, body in all_groups().items() if is_chosen(name)}
    if not groups:
        parser.error(f"--only {' '.join(args.only)}: there are {', '.join(all_groups())}")
    args.bin = args.bin.resolve()
    if not (args.bin / "lowbank").exists():
        parser.error(f"--bin {args.bin}: holds no lowbank (scripts/build.sh builds it)")
    if args.keep and args.keep.exists() and any(args.keep.iterdir()):
        parser.error(f"--keep {args.keep}: is not empty")
    before = None
    if args.compare:
        before = dict(reversed(line.split("  ", 1))
                      for line in args.compare.read_text().splitlines())
        before = {item: digest for item, digest in before.items() if is_chosen(item)}

    failures = []
    with tempfile.TemporaryDirectory(prefix="lowbank_behaviour_") as folder:
        root = Path(folder).resolve()

        def run_group(name, body):
            try:
                body(Group(name, args.bin, root, failures))
            except Exception as error:
                failures.append(f"{name}: stopped: {error!r}")

        with ThreadPoolExecutor(max_workers=min(os.cpu_count(), 8)) as pool:
            for name, body in groups.items():
                pool.submit(run_group, name, body)
        now = fingerprint(root / "items")
        if args.keep:
            shutil.copytree(root / "items", args.keep, dirs_exist_ok=True)

    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(now.items()))
    if args.out:
        args.out.write_text(text)
    elif before is None:
        sys.stdout.write(text)
    for line in sorted(failures):
        print(f"should work, but does not: {line}", file=sys.stderr)
    is_same = before is None or compare(before, now)
    return 0 if is_same and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
