"""`lowbank bench` against Hugging Face transformers on the same work, in alternation.

usage: .venv-dev/bin/python bench/peers_ratio.py [--bin build/release/bin] [--model CKPT]
           [--gguf DIR] [--minilm DIR] [--rounds 3] [--threads 2] CASE...

A round takes the median of three runs of ours (a process: one warm-up, three timed runs) and of
three of the peer's workload (eager PyTorch in this process, warmed up before the first round), so
that a slow minute of the machine hits both. Prints one JSON object a line and case: both medians, in
the case's unit, the median over the rounds of ours / theirs, and every round's ratio. More than 1:
ours is faster.

CKPT is a folder of SmolLM2 that `lowbank convert` made: what ours loads for llama_* and model_*
cases; theirs reads it too, or, with --gguf, the GGUF file in DIR. DIR of --minilm is MiniLM's folder,
for transformers; both sides train with the dropout of its configuration. Weights that are not read
are random, of the published shape; Mamba's are on both sides, and transformers takes its sequential
path, which is what it has on a CPU.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import torch
import transformers

NUM_RUNS = 3  # timed ones of a round, on each side


class Peer:
    """What transformers does for a case: `amount` units of work a call."""

    def __init__(self, family, unit, amount, make):
        self.family, self.unit, self.amount, self.make = family, unit, amount, make


def forward(batch, length, **options):
    def make(model):
        ids = torch.randint(5, model.config.vocab_size, (batch, length))

        @torch.inference_mode()
        def work():
            model.eval()(ids, **options)
        return work
    return make


def decode(prompt, num_new):
    def make(model):
        ids = torch.randint(5, model.config.vocab_size, (1, prompt))

        def work():
            model.eval().generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                  max_new_tokens=num_new, min_new_tokens=num_new, pad_token_id=0)
        return work
    return make


def train(batch, length, classes=0, **options):
    """A step of AdamW: over the next tokens, or over classes where there are some."""
    def make(model):
        ids = torch.randint(5, model.config.vocab_size, (batch, length))
        labels = torch.randint(classes, (batch,)) if classes else ids
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

        def work():
            model.train()
            optimizer.zero_grad()
            model(ids, labels=labels, **options).loss.backward()
            optimizer.step()
        return work
    return make


PEERS = {
    "model_forward_1x128": Peer("llama", "tok/s", 128, forward(1, 128, use_cache=False)),
    "model_decode_b1": Peer("llama", "tok/s", 64, decode(32, 64)),
    "llama_smollm2_forward_1x512": Peer("llama", "tok/s", 512, forward(1, 512, use_cache=False)),
    "llama_smollm2_forward_4x512": Peer("llama", "tok/s", 2048, forward(4, 512, use_cache=False)),
    "llama_smollm2_decode_b1": Peer("llama", "tok/s", 64, decode(32, 64)),
    "llama_smollm2_train_2x256": Peer("llama", "tok/s", 512, train(2, 256)),
    "bert_minilm_forward_32x128": Peer("bert", "seq/s", 32, forward(32, 128)),
    "bert_minilm_train_16x128": Peer("bert", "seq/s", 16, train(16, 128, classes=2)),
    "mamba130m_forward_1x512": Peer("mamba", "tok/s", 512, forward(1, 512, use_cache=False)),
    "mamba130m_decode_b1": Peer("mamba", "tok/s", 64, decode(32, 64)),
    "mamba130m_train_1x256": Peer("mamba", "tok/s", 256, train(1, 256, use_cache=False)),
}


def load(family, args):
    """Afresh for each case: a training step changes the weights."""
    if family == "mamba":
        shape = dict(vocab_size=50280, hidden_size=768, state_size=16, num_hidden_layers=24)
        return transformers.MambaForCausalLM(transformers.MambaConfig(**shape))
    if family == "bert":
        return transformers.AutoModelForSequenceClassification.from_pretrained(
            args.minilm, num_labels=2, dtype=torch.float32)
    if args.gguf is not None:
        file = next(Path(args.gguf).glob("*.gguf")).name
        return transformers.AutoModelForCausalLM.from_pretrained(args.gguf, gguf_file=file,
                                                                 dtype=torch.float32)
    return transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)


def run_ours(case, family, args):
    command = [str(Path(args.bin) / "lowbank-bench"), "--case", case, "--runs", str(NUM_RUNS), "--threads",
               str(args.threads), "--json", "--quiet"]
    model = {"llama": args.model, "bert": None, "mamba": None}[family]
    if model is not None:
        command += ["--model", str(model)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    results = json.loads(done.stdout.splitlines()[-1])["results"]
    return next(row for row in results if row["case"] == case)


def compare(case, args):
    peer = PEERS[case]
    work = peer.make(load(peer.family, args))
    work()
    ours, theirs = [], []
    for _ in range(args.rounds):
        row = run_ours(case, peer.family, args)
        assert row["unit"] == peer.unit, (row["unit"], peer.unit)
        ours.append(row["median"])
        seconds = []
        for _ in range(NUM_RUNS):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        theirs.append(peer.amount / statistics.median(seconds))
    ratios = [a / b for a, b in zip(ours, theirs)]
    return {"case": case, "unit": peer.unit, "ours": round(statistics.median(ours), 4),
            "transformers": round(statistics.median(theirs), 4),
            "ratio": round(statistics.median(ratios), 4),
            "ratios": [round(ratio, 4) for ratio in ratios]}


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--model")
    parser.add_argument("--gguf")
    parser.add_argument("--minilm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("case", nargs="+", choices=PEERS)
    args = parser.parse_args()
    for case in args.case:
        if PEERS[case].family == "llama" and args.model is None:
            parser.error(f"{case} needs --model CKPT")
        if PEERS[case].family == "bert" and args.minilm is None:
            parser.error(f"{case} needs --minilm DIR")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    for case in args.case:
        print(json.dumps(compare(case, args)), flush=True)


if __name__ == "__main__":
    main()
