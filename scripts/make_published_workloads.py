#!/usr/bin/env python3
"""Writes configs/workloads: models of published shapes, dense and factored at the break-even rank.

usage: scripts/make_published_workloads.py

Stands in for `lowbank workload` where no checkpoint of that shape is at hand; the form is that of
docs/workload.md. Shapes: BERT-large (Devlin et al. 2019) and Llama-3.2-1B (its config.json).
"""
import json
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "configs" / "workloads"
BYTES = 2  # of a parameter and of an activation: fp16


class Phase:
    """Operators of one phase, in order."""

    def __init__(self, is_factored):
        self.is_factored = is_factored
        self.operators = []

    def add(self, kind, name, layer, m, n, k=0, count=1, group="", weights=0, activations=0,
            **rest):
        self.operators.append({
            "name": name, "kind": kind, "layer": layer, "group": group, "m": m, "n": n, "k": k,
            "count": count, "weight_bytes": weights * BYTES,
            "activation_bytes": activations * BYTES, **rest})

    def linear(self, name, layer, m, out, inp, group=""):
        rank = out * inp // (out + inp)
        if not self.is_factored or layer < 0:
            self.add("linear", name, layer, m, out, inp, 1, group, out * inp, m * (out + inp))
            return
        self.add("linear", name, layer, m, rank, inp, 1, group, rank * inp, m * (rank + inp),
                 factored_as="svd", stage=0, rank=rank)
        self.add("linear", name, layer, m, out, rank, 1, group, out * rank, m * (out + rank),
                 factored_as="svd", stage=1, rank=rank)

    def attention(self, name, layer, queries, keys, heads, kv_heads, head_dim):
        shared = keys * head_dim * kv_heads / heads  # of the cache, this head's part
        group = {"queries_per_cache": heads // kv_heads} if heads > kv_heads else {}
        self.add("score", f"{name}.score", layer, queries, keys, head_dim, heads,
                 activations=shared + queries * (head_dim + keys), **group)
        self.add("softmax", f"{name}.softmax", layer, queries, keys, count=heads,
                 activations=2 * queries * keys)
        self.add("attend", f"{name}.attend", layer, queries, head_dim, keys, heads,
                 activations=shared + queries * (head_dim + keys), **group)


def bert_large(is_factored, tokens=128):
    phase, width, inner, heads = Phase(is_factored), 1024, 4096, 16
    phase.add("embedding", "embeddings", -1, tokens, width, weights=tokens * width,
              activations=tokens * width)
    for layer in range(24):
        at = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            phase.linear(f"{at}.attention.self.{part}", layer, tokens, width, width, "qkv")
        phase.attention(f"{at}.attention.self", layer, tokens, tokens, heads, heads, width // heads)
        phase.linear(f"{at}.attention.output.dense", layer, tokens, width, width)
        phase.add("norm", f"{at}.attention.output.LayerNorm", layer, tokens, width,
                  weights=2 * width, activations=2 * tokens * width)
        phase.linear(f"{at}.intermediate.dense", layer, tokens, inner, width)
        phase.add("activation", f"{at}.intermediate.gelu", layer, tokens, inner,
                  activations=2 * tokens * inner)
        phase.linear(f"{at}.output.dense", layer, tokens, width, inner)
        phase.add("norm", f"{at}.output.LayerNorm", layer, tokens, width, weights=2 * width,
                  activations=2 * tokens * width)
    return {"context": tokens, "num_params": 335141888, "num_layers": 24,
            "prefill": phase.operators}


def llama_1b(is_factored, context=1024):
    phase, width, inner, heads, kv_heads, vocabulary = Phase(is_factored), 2048, 8192, 32, 8, 128256
    head_dim = width // heads
    phase.add("embedding", "model.embed_tokens", -1, 1, width, weights=width, activations=width)
    for layer in range(16):
        at = f"model.layers.{layer}"
        phase.add("norm", f"{at}.input_layernorm", layer, 1, width, weights=width,
                  activations=2 * width)
        phase.linear(f"{at}.self_attn.q_proj", layer, 1, width, width, "qkv")
        for part in ("k_proj", "v_proj"):
            phase.linear(f"{at}.self_attn.{part}", layer, 1, kv_heads * head_dim, width, "qkv")
        phase.attention(f"{at}.self_attn", layer, 1, context, heads, kv_heads, head_dim)
        phase.linear(f"{at}.self_attn.o_proj", layer, 1, width, width)
        phase.add("norm", f"{at}.post_attention_layernorm", layer, 1, width, weights=width,
                  activations=2 * width)
        for part in ("gate_proj", "up_proj"):
            phase.linear(f"{at}.mlp.{part}", layer, 1, inner, width, "gate_up")
        phase.add("activation", f"{at}.mlp.silu", layer, 1, inner, activations=3 * inner)
        phase.linear(f"{at}.mlp.down_proj", layer, 1, width, inner)
    phase.add("norm", "model.norm", -1, 1, width, weights=width, activations=2 * width)
    phase.linear("lm_head", -1, 1, vocabulary, width)
    return {"context": context, "num_params": 1235814400, "num_layers": 16,
            "decode": phase.operators}


def main():
    OUT.mkdir(exist_ok=True)
    for name, make in (("bert-large", bert_large), ("llama-3.2-1b", llama_1b)):
        for suffix, is_factored in (("", False), ("-svd", True)):
            body = make(is_factored)
            phases = [key for key in ("prefill", "decode") if key in body]
            head = {"format": "lowbank-workload", "revision": 2, "model": name + suffix, "batch": 1,
                    **{key: value for key, value in body.items() if key not in phases},
                    "weight_bits": 8.0 * BYTES}
            text = json.dumps(head)[:-1]
            for key in phases:
                lines = ",\n  ".join(json.dumps(op) for op in body[key])
                text += f',\n "{key}": [\n  {lines}]'
            (OUT / f"{name}{suffix}.json").write_text(text + "}\n")


if __name__ == "__main__":
    main()
