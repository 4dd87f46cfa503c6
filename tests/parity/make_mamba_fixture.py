#!/usr/bin/env python3
"""Writes tests/parity/fixtures/mamba_*: tiny random Mambas and transformers' logits for them.

Run in the environment of scripts/setup_dev.sh:
  .venv-dev/bin/python tests/parity/make_mamba_fixture.py [CASE...]
Each folder is a Hugging Face checkpoint plus expected.safetensors; mamba_state_spaces has the
weights of mamba_default in the layout of the original state-spaces/mamba release.

expected.safetensors (float32 unless said otherwise):
  input_ids [2, 24], logits
  long_ids [1, 70], long_logits
  padded_ids [3, 24], attention_mask (0, 5 and 21 zeros on the left), padded_logits (positions of
      zeros in the mask are to be left out of a comparison)
  mamba_default, mamba_state_spaces:
      generated_ids [2, 12]: greedy, after input_ids;
      generated_batch [3, 12]: greedy, after each row of padded_ids without its padding
  mamba_bf16, mamba_bf16_residual: weights in bfloat16; logits and the rest: computed in float32 from
      these weights, logits_bf16 (float32, as transformers casts them): computed in bfloat16, with
      residual_in_fp32 false and true

transformers' sequential forward multiplies the convolution's input by attention_mask, and its output
(after the activation, so that the convolution's bias is gone too) once more. A token of padding on
the left thus leaves the convolution's window and the state at zero: a padded row gives what the row
without its padding gives, which is checked here to float32's last bits.

What the cases have, apart from use_conv_bias, tied embeddings, state_size 8, time_step_rank "auto" (2):
  mamba_bias_untied       use_bias; an output head of its own; layer_norm_epsilon 1e-2
  mamba_no_conv_bias      use_conv_bias false; residual_in_fp32 false
  mamba_odd               time_step_rank 3, conv_kernel 3, state_size 5, expand 3
  mamba_rank_of_hidden    hidden_size 20 (intermediate 40): "auto" rounds 20 / 16 up; 3 layers
Change FIXTURE_VERSION whenever the content changes.
"""

import json
import math
import sys

import torch
from safetensors.torch import save_file
from transformers import MambaConfig, MambaForCausalLM

from fixture_support import (FIXTURES, check_generated, check_parameters_matter, check_version,
                             greedy, greedy_batch, save_expected, save_model)

FIXTURE_VERSION = "1"
SHAPE = dict(vocab_size=64, hidden_size=24, num_hidden_layers=2, state_size=8)
# Seeds count from 0 in this order: append only. The original layout has the seed of mamba_default.
CASES = {
    "mamba_default": dict(),
    "mamba_bias_untied": dict(use_bias=True, tie_word_embeddings=False, layer_norm_epsilon=1e-2),
    "mamba_no_conv_bias": dict(use_conv_bias=False, residual_in_fp32=False),
    "mamba_odd": dict(time_step_rank=3, conv_kernel=3, state_size=5, expand=3),
    "mamba_rank_of_hidden": dict(hidden_size=20, num_hidden_layers=3),
    "mamba_bf16": dict(residual_in_fp32=False),
    "mamba_bf16_residual": dict(),
}


def randomize(model):
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter) * 0.3
        if name.endswith("A_log"):
            # A of about 1/8 to N/2, so that some channels remember tens of tokens.
            parameter.data = parameter.data + noise - math.log(4)
        elif name.endswith("dt_proj.bias"):
            parameter.data = 4 * noise - 2  # steps of about 0.01 to 1
        elif name.endswith((".D", "norm.weight", "norm_f.weight")):
            parameter.data = noise + 1.0
        else:
            parameter.data = noise


def save_state_spaces(model, folder):
    """The layout of the original release; its programs keep `vocab_size` before padding."""
    folder.mkdir(exist_ok=True)
    config = model.config
    state = {name.replace("backbone.embeddings", "backbone.embedding"): tensor.clone()
             for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(
        {"d_model": config.hidden_size, "n_layer": config.num_hidden_layers,
         "vocab_size": config.vocab_size - 3, "ssm_cfg": {"d_state": config.state_size},
         "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True,
         "pad_vocab_size_multiple": 8, "tie_embeddings": True}, indent=2) + "\n")


def check_padding(model, ids, mask, logits):
    for row, keep, row_logits in zip(ids, mask.bool(), logits):
        alone = model(row[keep][None]).logits[0]
        assert torch.allclose(row_logits[keep], alone, rtol=0, atol=1e-5)


@torch.no_grad()
def make_case(seed, name, options):
    torch.manual_seed(seed)
    model = MambaForCausalLM(MambaConfig(**SHAPE | options)).eval()
    randomize(model)
    if "bf16" in name:
        model.bfloat16()
    folder = FIXTURES / name
    save_model(model, folder)
    read = MambaForCausalLM.from_pretrained

    ids = torch.randint(0, SHAPE["vocab_size"], (2, 24))
    long_ids = torch.randint(0, SHAPE["vocab_size"], (1, 70))
    padded_ids = torch.randint(0, SHAPE["vocab_size"], (3, 24))
    mask = torch.ones_like(padded_ids)
    mask[1, :5] = 0
    mask[2, :21] = 0  # fewer tokens than the convolution is wide
    tensors = {}
    if "bf16" in name:
        tensors["logits_bf16"] = read(folder, dtype=torch.bfloat16).eval()(ids).logits
        model = read(folder, dtype=torch.float32).eval()
    tensors |= dict(input_ids=ids, logits=model(ids).logits, long_ids=long_ids,
                    long_logits=model(long_ids).logits, padded_ids=padded_ids, attention_mask=mask,
                    padded_logits=model(padded_ids, attention_mask=mask).logits)
    check_padding(model, padded_ids, mask, tensors["padded_logits"])
    assert torch.equal(read(folder, dtype=torch.float32).eval()(ids).logits, tensors["logits"])
    check_parameters_matter(model, lambda m: m(ids).logits)
    if name == "mamba_default":
        tensors["generated_ids"] = greedy(model, ids)
        tensors["generated_batch"] = greedy_batch(model, padded_ids, mask)
        check_generated(model.config, tensors["generated_ids"])
        check_generated(model.config, tensors["generated_batch"])
        save_state_spaces(model, FIXTURES / "mamba_state_spaces")
        save_expected(tensors, FIXTURES / "mamba_state_spaces", FIXTURE_VERSION)
    save_expected(tensors, folder, FIXTURE_VERSION)


def main():
    check_version()
    for seed, (name, options) in enumerate(CASES.items()):
        if name in (sys.argv[1:] or CASES):
            make_case(seed, name, options)


if __name__ == "__main__":
    main()
