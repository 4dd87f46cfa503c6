#!/usr/bin/env python3
"""Writes tests/parity/fixtures/train_*: ten optimizer steps of tiny random models by transformers.

Run in the environment of scripts/setup_dev.sh:
  .venv-dev/bin/python tests/parity/make_training_fixture.py [CASE...]
Each folder is a Hugging Face checkpoint, from which training starts, plus expected.safetensors.
Change FIXTURE_VERSION together with kFixtureVersion of training_parity_test.cpp whenever the
content changes.

Every step sees all rows of input_ids, so that its loss does not depend on the order in which a
trainer draws the rows. The loss is the mean over all targets of a step, however the rows are cut
into micro-batches. The optimizer's settings are the constants below: AdamW that decays only tensors
of two and more dimensions, and the gradients of all parameters clipped together by their norm.

expected.safetensors:
  input_ids [6, T]
  BERT only   token_type_ids [6, T], attention_mask [6, T] (zeros on the right, on the left and
              inside), labels [6, T]: the tokens to predict, -100 elsewhere (transformers' own
              value). The others predict tokens 1..T-1 from those before them.
  losses, grad_norms, learning_rates [10] float64: one value a step; the norms are before clipping
  max_grad_norm float64: larger norms are clipped to it, which happens in some steps and not in all
  first_gradient.NAME, last_gradient.NAME: the gradient of the loss, before clipping, for every
              parameter at the first and at the tenth step. NAME is transformers' name; tied
              parameters have one gradient together, under the name of the first.

transformers computes in float64 here. The parts that it would compute in float32 whatever its
inputs are (norms, rotary angles, Mamba's decay) are kept in float64 as well. So a test measures the
error of the float32 under test and no other. The gradients are checked here against a difference
quotient, to as many digits as float32 has.

What the cases have (no hidden, intermediate or channel size and no half of a head is a multiple of
4, 8 or 16 floats, the widths of the vector kernels; those above 16 give full vectors and a rest):
  train_llama_tied    one key head for two query heads of 34, biases of q, k, v and o; tied head
  train_llama_untied  two key heads for six query heads of 6, biases in the MLP; own head
  train_mamba_tied    133 channels, more than one group of the scan, and 71 tokens, more than one
                      chunk; tied head
  train_mamba_untied  two layers, conv_kernel 3 without a bias, projections with biases; own head
  train_bert_tied     masked language model, gelu, three token types; tied decoder
  train_bert_untied   gelu_pytorch_tanh, decoder of its own
"""

import sys

import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode
from transformers import (BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM, MambaConfig,
                          MambaForCausalLM)

import make_bert_fixture
import make_llama_fixture
import make_mamba_fixture
from fixture_support import FIXTURES, check_version, save_model, save_tensors

FIXTURE_VERSION = "1"
NUM_ROWS, NUM_STEPS, WARMUP_STEPS = 6, 10, 3
PEAK_LEARNING_RATE, LAST_LEARNING_RATE = 0.01, 0.001
ADAMW = dict(betas=(0.9, 0.95), eps=1e-8)
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = {LlamaForCausalLM: 1.0, MambaForCausalLM: 1.0, BertForMaskedLM: 2.0}
IGNORED, MASK_TOKEN = -100, 3

LLAMA = dict(vocab_size=61, num_hidden_layers=2, max_position_embeddings=32)
MAMBA = dict(vocab_size=61)
# BertForMaskedLM alone has no pooler, which would get no gradient.
BERT = dict(vocab_size=61, hidden_size=30, intermediate_size=37, num_hidden_layers=2,
            num_attention_heads=3, max_position_embeddings=16, type_vocab_size=3,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
# Seeds count from 0 in this order: append only. Class, configuration, tokens in a row.
CASES = {
    "train_llama_tied": (LlamaForCausalLM, LlamaConfig(
        **LLAMA, hidden_size=37, intermediate_size=21, num_attention_heads=2,
        num_key_value_heads=1, head_dim=34, attention_bias=True, tie_word_embeddings=True,
        rope_theta=100.0), 14),
    "train_llama_untied": (LlamaForCausalLM, LlamaConfig(
        **LLAMA, hidden_size=22, intermediate_size=35, num_attention_heads=6,
        num_key_value_heads=2, head_dim=6, mlp_bias=True, tie_word_embeddings=False,
        rms_norm_eps=1e-3), 19),
    "train_mamba_tied": (MambaForCausalLM, MambaConfig(
        **MAMBA, hidden_size=19, expand=7, state_size=5, num_hidden_layers=1), 71),
    "train_mamba_untied": (MambaForCausalLM, MambaConfig(
        **MAMBA, hidden_size=19, state_size=7, num_hidden_layers=2, conv_kernel=3,
        use_conv_bias=False, use_bias=True, time_step_rank=3, tie_word_embeddings=False), 13),
    "train_bert_tied": (BertForMaskedLM, BertConfig(**BERT), 11),
    "train_bert_untied": (BertForMaskedLM, BertConfig(
        **BERT, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=False), 13),
}


def randomize_bert(model):
    """As make_bert_fixture.py does it, with matrices of half the size: with its own, ten steps of
    training multiply the rounding errors of the first one a hundredfold."""
    make_bert_fixture.randomize(model)
    for parameter in model.parameters():
        parameter.data *= 0.5 if parameter.dim() >= 2 else 1.0


RANDOMIZE = {LlamaForCausalLM: make_llama_fixture.randomize,
             MambaForCausalLM: make_mamba_fixture.randomize,
             BertForMaskedLM: randomize_bert}


class KeepDouble(TorchFunctionMode):
    """Casts to float32 give float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        if function is torch.Tensor.to:
            args = [torch.float64 if arg is torch.float32 else arg for arg in args]
        return function(*args, **(kwargs or {}))


def draw_inputs(model, num_tokens):
    """Small ids are frequent, and ids above 55 do not occur: their rows of the embedding get a
    gradient from the head alone, or none."""
    shape = (NUM_ROWS, num_tokens)
    inputs = dict(input_ids=(torch.rand(shape).square() * 52).long() + 4)
    if not isinstance(model, BertForMaskedLM):
        return inputs
    token_types = torch.zeros(shape, dtype=torch.int64)
    token_types[:, 4:] = 1
    token_types[:, 8:] = 2
    mask = torch.ones(shape, dtype=torch.int64)
    mask[1, 7:] = 0
    mask[2, :3] = 0
    mask[3, [2, 5, 6]] = 0
    mask[4, 1:] = 0
    is_target = (torch.rand(shape) < 0.3) & mask.bool()
    is_target[4] = False  # a row without a target
    labels = inputs["input_ids"].masked_fill(~is_target, IGNORED)
    inputs["input_ids"][is_target] = MASK_TOKEN
    return inputs | dict(token_type_ids=token_types, attention_mask=mask, labels=labels)


def mean_loss(model, inputs):
    """The loss of transformers; without labels, a token is to be predicted from those before it."""
    return model(**({"labels": inputs["input_ids"]} | inputs)).loss


def check_gradients(model, inputs):
    """Compares the slope along a random direction with a difference quotient."""
    step, parameters = 1e-6, list(model.parameters())
    kept = [parameter.data for parameter in parameters]
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def move(distance):
        for parameter, values, part in zip(parameters, kept, direction):
            parameter.data = values + distance * part if distance else values

    def loss_at(distance):
        move(distance)
        return mean_loss(model, inputs).item()

    quotient = (loss_at(step) - loss_at(-step)) / (2 * step)
    move(0)
    slope = sum((parameter.grad * part).sum().item()
                for parameter, part in zip(parameters, direction))
    assert abs(quotient - slope) < 1e-7 * abs(slope), (quotient, slope)


def learning_rate_at(step):
    """Rises to the peak over the warm-up, then falls along a line to the last step."""
    if step < WARMUP_STEPS:
        return PEAK_LEARNING_RATE * (step + 1) / WARMUP_STEPS
    left = (NUM_STEPS - 1 - step) / (NUM_STEPS - WARMUP_STEPS)
    return LAST_LEARNING_RATE + (PEAK_LEARNING_RATE - LAST_LEARNING_RATE) * left


def named_gradients(model, stem):
    """Every parameter has one. Those of BERT's key biases are 0, since such a bias adds the same to
    all scores of a query; what rounding leaves of them is not written."""
    found = {}
    for name, parameter in model.named_parameters():
        largest = parameter.grad.abs().max().item()
        is_zero = name.endswith("attention.self.key.bias")
        assert (largest < 1e-15) if is_zero else (largest > 1e-4), (name, largest)
        found[f"{stem}.{name}"] = parameter.grad * (not is_zero)
    return found


def train(model, inputs):
    parameters = list(model.parameters())
    max_norm = MAX_GRAD_NORM[type(model)]
    optimizer = torch.optim.AdamW(
        [dict(params=[p for p in parameters if p.dim() >= 2], weight_decay=WEIGHT_DECAY),
         dict(params=[p for p in parameters if p.dim() < 2], weight_decay=0.0)], **ADAMW)
    curves = dict(losses=[], grad_norms=[], learning_rates=[])
    expected = {}
    for step in range(NUM_STEPS):
        optimizer.zero_grad()
        loss = mean_loss(model, inputs)
        loss.backward()
        if step in (0, NUM_STEPS - 1):
            check_gradients(model, inputs)
            expected |= named_gradients(model, "first_gradient" if step == 0 else "last_gradient")
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step)
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        curves["losses"].append(loss.item())
        curves["grad_norms"].append(norm.item())
        curves["learning_rates"].append(learning_rate_at(step))
    assert curves["losses"][-1] < 0.8 * curves["losses"][0], curves["losses"]
    assert min(curves["grad_norms"]) < max_norm < max(curves["grad_norms"]), curves["grad_norms"]
    return (curves | dict(max_grad_norm=max_norm), expected)


def make_case(seed, name, model_class, config, num_tokens):
    torch.manual_seed(seed)
    model = model_class(config).train()
    RANDOMIZE[model_class](model)
    folder = FIXTURES / name
    save_model(model, folder)
    stored = set(load_file(folder / "model.safetensors"))
    assert stored == {name for name, _ in model.named_parameters()}, stored
    inputs = draw_inputs(model, num_tokens)
    with KeepDouble():
        curves, gradients = train(model.double(), inputs)
    curves = {key: torch.tensor(curve, dtype=torch.float64) for key, curve in curves.items()}
    gradients = {key: gradient.float() for key, gradient in gradients.items()}
    save_tensors(inputs | curves | gradients, folder, FIXTURE_VERSION)


def main():
    check_version()
    torch.set_num_threads(1)  # threads would change the order of sums, and so the last digits
    for seed, (name, case) in enumerate(CASES.items()):
        if name in (sys.argv[1:] or CASES):
            make_case(seed, name, *case)


if __name__ == "__main__":
    main()
