"""Encoding speed of `lowbank tokenize` against the `tokenizers` package, one thread each.

Both sides encode the lines of WikiText-2 several times, in turns, so that a slow minute of the
machine hits both. Our time is that of the whole command less that of a run over one line: it has
the reading of JSON, the decoding of all ids and the writing of JSON in it, which the peer's has
not.

Usage: python bench/tokenizers_peer.py LOWBANK_TOKENIZE SHARED_DATA [ROUNDS]
       (tokenizers 0.22.2, transformers 4.57.1)
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from transformers import BertTokenizerFast, GPT2TokenizerFast


def main():
    command, shared = sys.argv[1], sys.argv[2]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with gzip.open(f"{shared}/lm/wikitext2/train.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read()
    lines = text.split("\n")
    vocab = f"{shared}/tokenizers"
    peers = {
        f"{vocab}/gpt2/vocab.json": GPT2TokenizerFast(f"{vocab}/gpt2/vocab.json", f"{vocab}/gpt2/merges.txt"),
        f"{vocab}/bert-base-uncased/vocab.txt": BertTokenizerFast(f"{vocab}/bert-base-uncased/vocab.txt"),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, part in (("all", lines), ("none", lines[:1])):
            files.append(f"{folder}/{name}.jsonl")
            with open(files[-1], "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": line}) + "\n" for line in part)

        def ours(path, file):
            start = time.perf_counter()
            subprocess.run([command, path, "--file", file, "--out", f"{folder}/out.jsonl", "--threads", "1"],
                           check=True, capture_output=True)  # fmt: skip
            return time.perf_counter() - start

        for path, tokenizer in peers.items():
            backend = tokenizer.backend_tokenizer
            own, peer, ratio = [], [], []
            for _ in range(rounds):
                start_up = ours(path, files[1])
                own.append(ours(path, files[0]) - start_up)
                start = time.perf_counter()
                encodings = backend.encode_batch_fast(lines, add_special_tokens=False)
                peer.append(time.perf_counter() - start)
                ratio.append(peer[-1] / own[-1])
            num_ids = sum(len(encoding.ids) for encoding in encodings)
            with open(f"{folder}/out.jsonl", encoding="utf-8") as file:
                own_ids = sum(len(json.loads(line)["ids"]) for line in file)
            assert num_ids == own_ids, (num_ids, own_ids)
            size = len(text.encode()) / 1e6
            print(f"{path}: {num_ids} ids, command {statistics.median(own):.2f} s (JSON in and out "
                  f"included), tokenizers {statistics.median(peer):.2f} s = {size / statistics.median(peer):.2f} MB/s, "
                  f"ratio {min(ratio):.2f} to {max(ratio):.2f}")  # fmt: skip


main()
