"""Opens checkpoint folders that `lowbank convert` made with transformers.

usage: .venv-dev/bin/python tests/parity/check_converted_folder.py FOLDER...

Prints the class, the number of parameters, and what transformers found missing or too much (parts
that a checkpoint does not have, such as BERT's pooler, are expected to be missing).
"""
import json
import sys
from pathlib import Path

import transformers


def main():
    for folder in sys.argv[1:]:
        config = json.loads((Path(folder) / "config.json").read_text())
        model_class = getattr(transformers, config["architectures"][0])
        model, info = model_class.from_pretrained(folder, output_loading_info=True)
        print(folder, type(model).__name__, sum(p.numel() for p in model.parameters()), "parameters;",
              "missing:", sorted(info["missing_keys"]), "unexpected:",
              sorted(info["unexpected_keys"]), "mismatched:", sorted(info["mismatched_keys"]))
        if any((Path(folder) / name).exists() for name in ("tokenizer.json", "tokenizer.model",
                                                           "vocab.txt")):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            print("  ", type(tokenizer).__name__, tokenizer("Hello, world!")["input_ids"])


if __name__ == "__main__":
    main()
