#!/usr/bin/env python3
"""Writes tests/parity/fixtures/llama_*: tiny random Llamas and transformers' logits for them.

Run in the environment of scripts/setup_dev.sh:  .venv-dev/bin/python tests/parity/make_llama_fixture.py
Each folder is a Hugging Face checkpoint plus expected.safetensors (input_ids, logits; with left
padding: padded_ids, attention_mask, padded_logits). Change FIXTURE_VERSION together with
kFixtureVersion of llama_parity_test.cpp whenever the content changes.
"""

import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

FIXTURE_VERSION = "1"
SHAPE = dict(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=64)
CASES = {
    "llama_gqa_tied": dict(num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "llama_bias_untied": dict(num_key_value_heads=4, tie_word_embeddings=False, head_dim=6,
                              attention_bias=True, mlp_bias=True, rope_theta=500.0),
    # An original context this short puts wavelengths into all three bands.
    "llama_llama3_rope": dict(num_key_value_heads=1, tie_word_embeddings=True,
                              rope_theta=10000.0,
                              rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                                high_freq_factor=4.0,
                                                original_max_position_embeddings=32)),
}


def randomize(model):
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter) * 0.2
        parameter.data = noise + 1.0 if name.endswith("norm.weight") else noise


def to_version_5(config):
    """The keys that transformers 5 writes in place of version 4's."""
    config["rope_parameters"] = config.pop("rope_scaling") | {"rope_theta": config.pop("rope_theta")}
    config["dtype"] = config.pop("torch_dtype", config.get("dtype"))


def main():
    assert transformers.__version__ == "4.57.1", transformers.__version__
    root = pathlib.Path(__file__).parent / "fixtures"
    for seed, (name, options) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE, **options)).eval()
        randomize(model)
        folder = root / name
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink()
        if name == "llama_llama3_rope":
            config = json.loads((folder / "config.json").read_text())
            to_version_5(config)
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")

        ids = torch.randint(0, SHAPE["vocab_size"], (2, 24))
        mask = torch.ones_like(ids)
        mask[0, :5] = 0
        with torch.no_grad():
            tensors = dict(input_ids=ids, logits=model(ids).logits, padded_ids=ids.clone(),
                           attention_mask=mask,
                           padded_logits=model(ids, attention_mask=mask).logits)
        save_file(tensors, folder / "expected.safetensors",
                  metadata={"format": "pt", "fixture_version": FIXTURE_VERSION,
                            "transformers": transformers.__version__})


if __name__ == "__main__":
    main()
