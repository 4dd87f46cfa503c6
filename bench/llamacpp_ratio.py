"""Greedy decoding of SmolLM2 by `lowbank generate` and by llama.cpp, in alternation.

usage: .venv-dev/bin/python bench/llamacpp_ratio.py CKPT MODEL.gguf [--bin build/release/bin]
           [--rounds 3] [--tokens 200] [--threads 2]

Needs the package llama-cpp-python. CKPT is a folder that `lowbank convert MODEL.gguf CKPT` made. Ours
computes in f32 and bf16, llama.cpp in f32 and f16, which it makes from MODEL.gguf in a temporary
folder. Both continue the same 32 tokens; the prompt counts on our side and not on theirs. Prints one
JSON object a round, tok/s.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import llama_cpp

PROMPT = list(range(1000, 1032))
LLAMA_FILE_TYPES = {"f32": 0, "f16": 1}


def requantize(source, target, file_type):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = file_type, True
    llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params)
    return target


def theirs(path, args):
    model = llama_cpp.Llama(str(path), n_ctx=1024, n_threads=args.threads, verbose=False,
                            n_threads_batch=args.threads)
    model.eval(PROMPT)
    start = time.perf_counter()
    for i in range(args.tokens):
        model.eval([2000 + i])
    return args.tokens / (time.perf_counter() - start)


def ours(dtype, ids, args):
    done = subprocess.run([str(Path(args.bin) / "lowbank-generate"), args.checkpoint, "--ids", str(ids),
                           "--max-new-tokens", str(args.tokens), "--greedy", "--dtype", dtype,
                           "--threads", str(args.threads), "--json"],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["num_new_tokens"] == args.tokens, "the text ended early: take fewer tokens"
    return result["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("checkpoint")
    parser.add_argument("gguf")
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.json"
        ids.write_text(json.dumps(PROMPT))
        files = {name: requantize(args.gguf, Path(folder) / f"{name}.gguf", file_type)
                 for name, file_type in LLAMA_FILE_TYPES.items()}
        for _ in range(args.rounds):
            row = {}
            for own_type, their_type in (("f32", "f32"), ("bf16", "f16")):
                row[f"lowbank_{own_type}"] = round(ours(own_type, ids, args), 1)
                row[f"llama.cpp_{their_type}"] = round(theirs(files[their_type], args), 1)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
