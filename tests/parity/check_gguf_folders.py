"""Compares the ids of GGUF files with those of the folders that `lowbank convert` makes of them.

usage: .venv-dev/bin/python tests/parity/check_gguf_folders.py BIN FILE.gguf...

BIN is the folder of the commands. Each file is converted to a folder, and the folder to a GGUF file.
For the texts of fixtures/tokenizers/texts.jsonl, and for those with the file's control and user-defined
tokens in them, the ids of all three by `lowbank tokenize` and those of the folder by transformers'
AutoTokenizer must be the same. Prints what differs; exit code 1 if anything does.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
from transformers import AutoTokenizer

TEXTS = Path(__file__).parent / "fixtures/tokenizers/texts.jsonl"


def found_tokens(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    return [token for token, kind in zip(tokens, kinds) if kind in (3, 4)][:40]


def texts_of(path):
    lines = TEXTS.read_text(encoding="utf-8").splitlines()[1:]
    texts = [json.loads(line) for line in lines]
    for token in found_tokens(path):
        texts += [token, f"a{token}b", f" x {token} y ", token + token, token[1:] + token]
    return texts


def tokenize(bin_folder, tokenizer, texts, folder):
    file = folder / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    command = [bin_folder / "lowbank-tokenize", tokenizer, "--file", file, "--out", folder / "ids.jsonl"]
    subprocess.run(command, check=True)
    return [json.loads(line)["ids"] for line in (folder / "ids.jsonl").open(encoding="utf-8")]


def check(bin_folder, path, folder):
    for source, target in ((path, folder / "model"), (folder / "model", folder / "again.gguf")):
        subprocess.run([bin_folder / "lowbank-convert", source, target], check=True,
                       stdout=subprocess.DEVNULL)
    texts = texts_of(path)
    forms = {name: tokenize(bin_folder, form, texts, folder)
             for name, form in (("GGUF", path), ("folder", folder / "model"),
                                ("GGUF of the folder", folder / "again.gguf"))}
    peer = AutoTokenizer.from_pretrained(folder / "model")
    forms["transformers"] = [peer.encode(text, add_special_tokens=False) for text in texts]
    num_different = 0
    for i, text in enumerate(texts):
        different = [name for name, ids in forms.items() if ids[i] != forms["GGUF"][i]]
        if not different:
            continue
        num_different += 1
        if num_different <= 5:
            print(f"  {ascii(text)}: {', '.join(different)}")
    print(f"{path}: {num_different} of {len(texts)} texts differ")
    return num_different


def main():
    total = 0
    for path in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as folder:
            total += check(Path(sys.argv[1]), path, Path(folder))
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
