#!/usr/bin/env python3
"""Writes data/samples/tiny_bert, a BERT with random weights, and data/samples/moods, sentences that
say whether somebody is glad: small enough to train in seconds, for examples and the demo.

usage: scripts/make_sample_bert.py
"""
import json
import random
import string
import struct
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
GLAD = ["glad", "merry", "happy", "cheerful", "content", "joyful"]
SAD = ["sad", "weary", "gloomy", "mournful", "sorry", "bitter"]
WHO = ["the king", "the queen", "my lord", "the old servant", "thy brother", "the good duke",
       "a soldier", "our mother"]
WHEN = ["today", "this night", "in the garden", "at the feast", "before the battle", ""]
FORMS = ["{who} is {mood} {when}", "{when} {who} seems {mood}", "how {mood} {who} is {when}",
         "{who} looked {mood} and went away {when}"]
WORDS = ["the", "and", "to", "of", "my", "you", "that", "in", "is", "not", "with", "it", "be", "for",
         "his", "he", "this", "but", "have", "as", "thou", "what", "king", "queen", "lord", "good"]
CONFIG = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 0,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.1,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "torch_dtype": "float32",
}


def vocabulary():
    letters = list(string.ascii_lowercase)
    return (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(".,;:!?'-&$3") + letters
            + ["##" + letter for letter in letters] + sorted(set(WORDS + GLAD + SAD)))


def shapes(config):
    """[(name, shape)] of every parameter."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    found = []

    def linear(path, rows, columns):
        found.extend([(path + ".weight", (rows, columns)), (path + ".bias", (rows,))])

    def norm(path):
        found.extend([(path + ".weight", (hidden,)), (path + ".bias", (hidden,))])

    for name, rows in (("word", config["vocab_size"]), ("position", config["max_position_embeddings"]),
                       ("token_type", config["type_vocab_size"])):
        found.append((f"bert.embeddings.{name}_embeddings.weight", (rows, hidden)))
    norm("bert.embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        path = f"bert.encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(path + "attention." + part, hidden, hidden)
        norm(path + "attention.output.LayerNorm")
        linear(path + "intermediate.dense", inner, hidden)
        linear(path + "output.dense", hidden, inner)
        norm(path + "output.LayerNorm")
    linear("cls.predictions.transform.dense", hidden, hidden)
    norm("cls.predictions.transform.LayerNorm")
    found.append(("cls.predictions.bias", (config["vocab_size"],)))
    return found


def draw(generator, name, shape, deviation):
    """Matrices are normal, norms one, biases zero."""
    if len(shape) == 2:
        return [generator.gauss(0, deviation) for _ in range(shape[0] * shape[1])]
    return [1.0 if name.endswith("LayerNorm.weight") else 0.0] * shape[0]


def write_model(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokens = vocabulary()
    config = dict(CONFIG, vocab_size=len(tokens))
    generator = random.Random(1)
    header, data = {}, b""
    for name, shape in shapes(config):
        values = draw(generator, name, shape, config["initializer_range"])
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")


def write_table(path, count, generator):
    rows = ["sentence\tmood"]
    for _ in range(count):
        mood, label = generator.choice([(word, "glad") for word in GLAD]
                                       + [(word, "sad") for word in SAD])
        text = generator.choice(FORMS).format(who=generator.choice(WHO), mood=mood,
                                              when=generator.choice(WHEN))
        rows.append(" ".join(text.split()) + "\t" + label)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def main():
    write_model(SAMPLES / "tiny_bert")
    generator = random.Random(2)
    write_table(SAMPLES / "moods" / "train.tsv", 600, generator)
    write_table(SAMPLES / "moods" / "valid.tsv", 150, generator)


if __name__ == "__main__":
    main()
