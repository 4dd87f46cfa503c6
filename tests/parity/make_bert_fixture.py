#!/usr/bin/env python3
"""Writes tests/parity/fixtures/bert_*: tiny random BERTs and transformers' outputs for them.

Run in the environment of scripts/setup_dev.sh:
  .venv-dev/bin/python tests/parity/make_bert_fixture.py [CASE...]
Each folder is a Hugging Face checkpoint plus expected.safetensors.

expected.safetensors:
  input_ids, token_type_ids [4, 12]
  attention_mask [4, 12]  row 0 all ones, row 1 padded right, row 2 padded left, row 3 with holes
  OUT                     of input_ids alone (no mask; token types absent, so all 0)
  OUT_typed               of input_ids and token_type_ids
  OUT_masked              of all three
with OUT, by the class:
  BertModel                      last_hidden_state [4, 12, 24], pooler_output [4, 24]
  BertModel without a pooler     last_hidden_state
  BertForMaskedLM                logits [4, 12, 64]
  BertForPreTraining             logits [4, 12, 64], those of the masked language model
  BertForSequenceClassification  logits [4, num_labels]
Of last_hidden_state_masked and logits_masked [4, 12, V] compare only where the mask is 1.
pooler_output_masked and the classifiers' logits_masked come from position 0: row 2, where that
position is padding, is what transformers gives for it (the query of a padded token still looks at
the others), and a caller may leave it out.

What the cases have:
  bert_model        gelu; default layer_norm_eps; pooler
  bert_no_pooler    relu; layer_norm_eps 1e-3; a transformers-5 config
  bert_masked_lm    gelu_new; tied decoder
  bert_pretraining  silu; decoder of its own (tie_word_embeddings false); layer_norm_eps 1e-5
  bert_regression   gelu_pytorch_tanh; one label
  bert_two_labels   gelu; layer_norm_eps 1e-2
  bert_three_labels relu; id2label with names; type_vocab_size 3
  bert_old_names    gelu; BertForMaskedLM as old files have it: LayerNorm.gamma and LayerNorm.beta,
                    embeddings.position_ids, the tied decoder stored
Change FIXTURE_VERSION whenever the content changes.
"""

import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForMaskedLM, BertForPreTraining,
                          BertForSequenceClassification, BertModel)

from fixture_support import (FIXTURES, check_parameters_matter, check_version, edit_config,
                             save_expected, save_model, to_version_5)

FIXTURE_VERSION = "1"
SHAPE = dict(vocab_size=64, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=16)
NAMES = ["contradiction", "neutral", "entailment"]
# Seeds count from 0 in this order: append only.
CASES = {
    "bert_model": (BertModel, dict()),
    "bert_no_pooler": (BertModel, dict(hidden_act="relu", layer_norm_eps=1e-3)),
    "bert_masked_lm": (BertForMaskedLM, dict(hidden_act="gelu_new")),
    "bert_pretraining": (BertForPreTraining, dict(hidden_act="silu", tie_word_embeddings=False,
                                                  layer_norm_eps=1e-5)),
    "bert_regression": (BertForSequenceClassification,
                        dict(hidden_act="gelu_pytorch_tanh", num_labels=1,
                             problem_type="regression")),
    "bert_two_labels": (BertForSequenceClassification, dict(num_labels=2, layer_norm_eps=1e-2)),
    "bert_three_labels": (BertForSequenceClassification,
                          dict(hidden_act="relu", type_vocab_size=3,
                               id2label=dict(enumerate(NAMES)),
                               label2id={name: i for i, name in enumerate(NAMES)})),
    "bert_old_names": (BertForMaskedLM, dict()),
}


def randomize(model):
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter) * 0.3
        parameter.data = noise + 1.0 if name.endswith("LayerNorm.weight") else noise


def outputs(model, suffix="", **inputs):
    out = model(**inputs)
    if isinstance(model, BertForPreTraining):
        return {"logits" + suffix: out.prediction_logits}
    names = ("last_hidden_state", "pooler_output", "logits")
    return {name + suffix: out[name] for name in names if out.get(name) is not None}


def to_old_names(folder):
    path = folder / "model.safetensors"
    tensors = {name.replace("LayerNorm.weight", "LayerNorm.gamma")
                   .replace("LayerNorm.bias", "LayerNorm.beta"): tensor
               for name, tensor in load_file(path).items()}
    words = tensors["bert.embeddings.word_embeddings.weight"]
    tensors["bert.embeddings.position_ids"] = torch.arange(16)[None]
    tensors["cls.predictions.decoder.weight"] = words.clone()
    save_file(tensors, path, metadata={"format": "pt"})


def check_read_back(model, folder, ids, token_types, mask):
    """The folder as transformers reads it gives the same."""
    options = dict(add_pooling_layer=False) if folder.name == "bert_no_pooler" else {}
    read = type(model).from_pretrained(folder, **options).eval()
    inputs = dict(input_ids=ids, token_type_ids=token_types, attention_mask=mask)
    for name, output in outputs(read, **inputs).items():
        assert torch.equal(output, outputs(model, **inputs)[name]), name


@torch.no_grad()
def make_case(seed, name, model_class, options):
    torch.manual_seed(seed)
    arguments = dict(add_pooling_layer=False) if name == "bert_no_pooler" else {}
    model = model_class(BertConfig(**SHAPE | options), **arguments).eval()
    randomize(model)
    folder = FIXTURES / name
    save_model(model, folder)
    if name == "bert_old_names":
        to_old_names(folder)
    if name == "bert_no_pooler":
        edit_config(folder, to_version_5)

    ids = torch.randint(0, SHAPE["vocab_size"], (4, 12))
    token_types = torch.zeros_like(ids)
    token_types[:, 5:] = 1
    token_types[:, 9:] = model.config.type_vocab_size - 1
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    mask[2, :3] = 0
    mask[3, [2, 5, 6, 10]] = 0
    tensors = dict(input_ids=ids, token_type_ids=token_types, attention_mask=mask)
    tensors |= outputs(model, input_ids=ids)
    tensors |= outputs(model, "_typed", input_ids=ids, token_type_ids=token_types)
    tensors |= outputs(model, "_masked", input_ids=ids, token_type_ids=token_types,
                       attention_mask=mask)
    check_read_back(model, folder, ids, token_types, mask)
    # A bias of the keys adds the same to all scores of a query; the other head is not looked at.
    unused = ["key.bias", "seq_relationship.weight", "seq_relationship.bias"]
    if name == "bert_pretraining":
        unused += ["pooler.dense.weight", "pooler.dense.bias"]

    def run(m):
        found = outputs(m, input_ids=ids, token_type_ids=token_types)
        return torch.cat([output.flatten() for output in found.values()])

    check_parameters_matter(model, run, unused)
    save_expected(tensors, folder, FIXTURE_VERSION)


def main():
    check_version()
    for seed, (name, (model_class, options)) in enumerate(CASES.items()):
        if name in (sys.argv[1:] or CASES):
            make_case(seed, name, model_class, options)


if __name__ == "__main__":
    main()
