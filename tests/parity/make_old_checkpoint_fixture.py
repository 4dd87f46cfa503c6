"""Checkpoint folders in forms that transformers no longer writes.

usage: .venv-dev/bin/python tests/parity/make_old_checkpoint_fixture.py

Writes tests/parity/fixtures/old_bert (pytorch_model.bin, norms called gamma and beta, a position_ids
buffer, the tied MLM decoder stored) and old_mamba (the layout of state-spaces/mamba, in shards of a
PyTorch index). expected.safetensors has the parameters under today's names, as transformers 4.57
holds them.
"""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM, MambaConfig, MambaForCausalLM

FIXTURES = Path(__file__).parent / "fixtures"


def expected(model, folder, left_out):
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()
               if name not in left_out}
    save_file(tensors, folder / "expected.safetensors", metadata={"format": "pt"})


def old_bert():
    folder = FIXTURES / "old_bert"
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
                        num_attention_heads=2, max_position_embeddings=6)
    model = BertForMaskedLM(config).eval()
    state = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        state[name.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    state["bert.embeddings.position_ids"] = torch.arange(6).expand(1, -1)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(
        {"architectures": ["BertForMaskedLM"], **{k: v for k, v in config.to_dict().items() if k in (
            "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "max_position_embeddings", "type_vocab_size")}}, indent=2) + "\n")
    (folder / "vocab.txt").write_text("\n".join(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [chr(97 + i) for i in range(15)]) + "\n")
    expected(model, folder, ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"))


def old_mamba():
    folder = FIXTURES / "old_mamba"
    folder.mkdir(parents=True, exist_ok=True)
    config = MambaConfig(vocab_size=24, hidden_size=8, num_hidden_layers=2, state_size=4)
    model = MambaForCausalLM(config).eval()
    state = {name.replace("backbone.embeddings", "backbone.embedding"): tensor
             for name, tensor in model.state_dict().items()}
    names = sorted(state)
    weight_map = {}
    for i, part in enumerate((names[:10], names[10:])):
        file = f"pytorch_model-0000{i + 1}-of-00002.bin"
        torch.save({name: state[name] for name in part}, folder / file)
        weight_map.update({name: file for name in part})
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(
        {"d_model": 8, "n_layer": 2, "vocab_size": 23, "ssm_cfg": {"d_state": 4}, "rms_norm": True,
         "residual_in_fp32": True, "fused_add_norm": True, "pad_vocab_size_multiple": 8}) + "\n")
    expected(model, folder, ("lm_head.weight",))


if __name__ == "__main__":
    torch.manual_seed(4)
    old_bert()
    old_mamba()
