#!/usr/bin/env python3
"""Writes tests/parity/fixtures/llama_*: tiny random Llamas and transformers' logits for them.

Run in the environment of scripts/setup_dev.sh:
  .venv-dev/bin/python tests/parity/make_llama_fixture.py [CASE...]
Each folder is a Hugging Face checkpoint plus expected.safetensors. Change FIXTURE_VERSION together
with kFixtureVersion of model_parity_test.cpp whenever the content changes.

expected.safetensors (float32 unless said otherwise):
  all                 input_ids [2, 24], logits
  all but the last    padded_ids [2, 24], attention_mask (row 0 begins with 5 zeros), padded_logits
                      (rows of zeros in the mask are to be left out of a comparison)
  llama_default       generated_ids [2, 12]: greedy, after input_ids;
                      generated_batch [2, 12]: greedy, after each row of padded_ids without its padding
  llama_eos_list      generated_ids [1, N]: greedy, after input_ids[:1]; its last id is the second of
                      config.json's eos_token_id, and generation stops there
  llama_bf16          weights in bfloat16; logits: computed in float32 from these weights,
                      logits_bf16 (bfloat16): computed in bfloat16
  llama_dynamic_rope* input_ids [2, 24] is shorter than max_position_embeddings = 32 and not scaled;
                      long_ids [2, 48] is longer, long_logits: of one forward over the whole row.
                      (transformers' generation keeps keys turned by the frequencies of the length
                      they were made at, so that decoding token by token gives other logits.)
"""

import sys

import torch
import transformers

from fixture_support import (FIXTURES, check_generated, check_parameters_matter, check_version,
                             edit_config, greedy, greedy_batch, save_expected, save_model,
                             to_version_5)

FIXTURE_VERSION = "1"
SHAPE = dict(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=64)
# Seeds count from 0 in this order: append only.
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
    "llama_default": dict(num_key_value_heads=2, rms_norm_eps=1e-3, eos_token_id=3),
    "llama_linear_rope": dict(num_key_value_heads=2, rope_theta=1000.0,
                              rope_scaling=dict(rope_type="linear", factor=2.5)),
    "llama_linear_rope_type": dict(num_key_value_heads=4, tie_word_embeddings=True,
                                   rope_scaling=dict(type="linear", factor=4.0)),
    "llama_linear_rope_5": dict(num_key_value_heads=2,
                                rope_scaling=dict(rope_type="linear", factor=3.0)),
    "llama_dynamic_rope": dict(num_key_value_heads=2, max_position_embeddings=32, rope_theta=500.0,
                               rope_scaling=dict(type="dynamic", factor=2.0)),
    "llama_dynamic_rope_5": dict(num_key_value_heads=4, max_position_embeddings=32, head_dim=6,
                                 rope_scaling=dict(rope_type="dynamic", factor=4.0)),
    "llama_attention_bias": dict(num_key_value_heads=2, attention_bias=True),
    "llama_mlp_bias": dict(num_key_value_heads=2, mlp_bias=True, tie_word_embeddings=True),
    # 4 heads of 12: more than the hidden size of 32 in q_proj and o_proj.
    "llama_head_dim_gqa": dict(num_key_value_heads=2, head_dim=12, rope_theta=100.0),
    "llama_multi_query": dict(num_key_value_heads=1, num_hidden_layers=3),
    "llama_eos_list": dict(num_key_value_heads=2),
    "llama_bf16": dict(num_key_value_heads=2, attention_bias=True),
}
VERSION_5 = ("llama_llama3_rope", "llama_linear_rope_5", "llama_dynamic_rope_5",
             "llama_head_dim_gqa", "llama_multi_query")


def randomize(model):
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter) * 0.2
        parameter.data = noise + 1.0 if name.endswith("norm.weight") else noise


def old_rope_type(config):
    """Only `type`, as files before transformers 4.43 have it."""
    del config["rope_scaling"]["rope_type"]


def check_read_back(folder, tensors):
    """The folder as transformers reads it gives the same logits."""
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert torch.equal(model(tensors["input_ids"]).logits, tensors["logits"])


@torch.no_grad()
def make_case(seed, name, options):
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE | options)).eval()
    randomize(model)
    if name == "llama_bf16":
        model.bfloat16()
    folder = FIXTURES / name
    save_model(model, folder)
    if "type" in options.get("rope_scaling", {}):
        edit_config(folder, old_rope_type)

    ids = torch.randint(0, SHAPE["vocab_size"], (2, 24))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    tensors = {}
    if name == "llama_bf16":
        # Not by casting the model: that rounds the rotary frequencies as well.
        read = transformers.LlamaForCausalLM.from_pretrained
        tensors["logits_bf16"] = read(folder, dtype=torch.bfloat16).eval()(ids).logits
        model = read(folder, dtype=torch.float32).eval()
    tensors |= dict(input_ids=ids, logits=model(ids).logits)
    if name == "llama_default":
        tensors["generated_ids"] = greedy(model, ids)
        tensors["generated_batch"] = greedy_batch(model, ids, mask)
        check_generated(model.config, tensors["generated_ids"])
        check_generated(model.config, tensors["generated_batch"])
    if name == "llama_eos_list":
        free = greedy(model, ids[:1])[0].tolist()
        at = next(i for i in range(5, len(free)) if free[i] not in free[:i])
        unused = next(i for i in range(64) if i not in free)
        edit_config(folder, lambda config: config.update(eos_token_id=[unused, free[at]]))
        tensors["generated_ids"] = greedy(model, ids[:1], eos=[unused, free[at]])
        assert tensors["generated_ids"].size(1) == at + 1
    if "dynamic" in name:
        long_ids = torch.randint(0, SHAPE["vocab_size"], (2, 48))
        tensors |= dict(long_ids=long_ids, long_logits=model(long_ids).logits)
    else:
        tensors |= dict(padded_ids=ids.clone(), attention_mask=mask,
                        padded_logits=model(ids, attention_mask=mask).logits)
    check_parameters_matter(model, lambda m: m(ids).logits)
    if name in VERSION_5:
        edit_config(folder, to_version_5)
    else:
        check_read_back(folder, tensors)
    save_expected(tensors, folder, FIXTURE_VERSION)


def main():
    check_version()
    for seed, (name, options) in enumerate(CASES.items()):
        if name in (sys.argv[1:] or CASES):
            make_case(seed, name, options)


if __name__ == "__main__":
    main()
