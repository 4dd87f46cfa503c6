#!/usr/bin/env python3
"""Builds random model folders, and compares Lowbank's ids and logits with transformers'.

usage: .venv-dev/bin/python tests/parity/random_folders.py [--bin DIR] [--seed N] [--count N] [--keep DIR]
       [--family NAME...] [--parts tokenizer model]
Each folder of a family has random options of configuration and tokenizer, a random type and number of
weight files, and random files that older versions wrote. Each part of it, tokenizer and model, ends in
one of four ways: equal; refused (exit code 2 or 3, and the line says why); warned (a difference that a
warning names); or DIFFERS, which is a fault: the exit code is 1. A folder that transformers itself cannot
read is made again. Not a test: it needs the environment of scripts/setup_dev.sh.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)
from transformers import (AutoTokenizer, BertConfig, BertForMaskedLM, BertForPreTraining,
                          BertForSequenceClassification, BertModel, LlamaConfig, LlamaForCausalLM,
                          MambaConfig, MambaForCausalLM)

from fixture_support import to_version_5
from make_tokenizer_fixture import PLAIN, SCRIPTS

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "data/samples"
TOLERANCE = 2e-5  # of the largest logit; float32 sums in another order give up to 1e-5
# Lowbank reads UTF-8 only, and so do these.
TEXTS = [text for text in [*PLAIN, *SCRIPTS] if len(text) < 400]
ADDED = ["<pad>", "<|im_start|>", "<|im_end|>", "[NEW]", "<extra_0>", "token", "ing", "  ", "</tool>", "\n\n"]


def training_text():
    return (SAMPLES / "tinyshakespeare/valid.txt").read_text()[:60000].split("\n") + TEXTS


# ---- Tokenizers ----------------------------------------------------------------------------------

def added_token(choose, content):
    return AddedToken(content, lstrip=choose.random() < 0.15, rstrip=choose.random() < 0.15,
                      single_word=choose.random() < 0.1, normalized=choose.random() < 0.4,
                      special=choose.random() < 0.5)


def add_tokens(choose, tokenizer):
    """New tokens and roles, as a fine-tune adds them."""
    chosen = choose.sample(ADDED, choose.choice((0, 0, 1, 2, 4)))
    tokenizer.add_tokens([added_token(choose, content) for content in chosen])
    if choose.random() < 0.3:
        tokenizer.add_special_tokens({"pad_token": choose.choice(["<pad>", "[PAD]", "<|pad|>"])})
    if choose.random() < 0.2:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>", "<|end|>"]})


def byte_bpe(choose):
    tokenizer = Tokenizer(models.BPE(unk_token=choose.choice([None, None, "<unk>"]),
                                     ignore_merges=choose.random() < 0.2))
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=choose.random() < 0.3,
                                      use_regex=choose.random() < 0.7)]
    if choose.random() < 0.3:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=choose.random() < 0.5))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    if choose.random() < 0.3:
        tokenizer.normalizer = choose.choice([normalizers.NFC(), normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.decoder = decoders.ByteLevel()
    special = choose.choice([["<|endoftext|>"], ["<unk>", "<s>", "</s>"], ["<s>", "</s>", "<unk>", "<pad>"]])
    tokenizer.train_from_iterator(training_text(), trainers.BpeTrainer(
        vocab_size=choose.choice((300, 400, 600)), special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    bos, eos = special[0] if len(special) == 1 else "<s>", special[-1] if len(special) == 1 else "</s>"
    if choose.random() < 0.5:
        tokenizer.post_processor = choose.choice([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1", special_tokens=[
                (bos, tokenizer.token_to_id(bos))])])
    return tokenizer, bos, eos


def save_byte_bpe(choose, folder, classes):
    tokenizer, bos, eos = byte_bpe(choose)
    options = {"tokenizer_object": tokenizer, "bos_token": bos, "eos_token": eos}
    if tokenizer.token_to_id("<unk>") is not None:
        options["unk_token"] = "<unk>"
    name = choose.choice(classes)
    if name == "PreTrainedTokenizerFast":
        made = transformers.PreTrainedTokenizerFast(**options)
    else:
        if choose.random() < 0.3:
            options["add_prefix_space"] = choose.random() < 0.5
        if choose.random() < 0.3:
            options["add_bos_token"] = choose.random() < 0.5
        if choose.random() < 0.2:
            options["add_eos_token"] = choose.random() < 0.5
        made = getattr(transformers, name)(**options)
    add_tokens(choose, made)
    made.save_pretrained(folder)
    keep_some_files(choose, folder, ["vocab.json", "merges.txt"])


def save_sentencepiece(choose, folder):
    """The tokenizer of Llama 1 and 2: with tokenizer.model alone, tokenizer.json alone, or both."""
    options = {"legacy": choose.choice([True, False])}
    for key in ("add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces",
                "spaces_between_special_tokens"):
        if choose.random() < 0.3:
            options[key] = choose.random() < 0.5
    slow = transformers.LlamaTokenizer(str(SAMPLES / "stories260K/tok512.model"), **options)
    add_tokens(choose, slow)
    slow.save_pretrained(folder)
    if choose.random() < 0.5:
        fast = AutoTokenizer.from_pretrained(folder)
        fast.save_pretrained(folder)
        keep_some_files(choose, folder, ["tokenizer.model"])


def save_wordpiece(choose, folder):
    options = {}
    for key in ("do_lower_case", "tokenize_chinese_chars", "strip_accents"):
        if choose.random() < 0.4:
            options[key] = choose.random() < 0.5
    made = transformers.BertTokenizerFast(str(SAMPLES / "tiny_bert/vocab.txt"), **options)
    add_tokens(choose, made)
    made.save_pretrained(folder)
    keep_some_files(choose, folder, ["vocab.txt"])


def keep_some_files(choose, folder, vocabulary):
    """Folders have tokenizer.json, the older vocabulary, or both."""
    names = [name for name in vocabulary if (folder / name).exists()]
    if len(names) == len(vocabulary) and choose.random() < 0.4:
        (folder / "tokenizer.json").unlink()
    elif choose.random() < 0.4:
        for name in names:
            (folder / name).unlink()


def edit_tokenizer(choose, folder):
    """What users and older versions leave in tokenizer_config.json and beside it."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if choose.random() < 0.25:
        key = choose.choice(["add_prefix_space", "do_lower_case", "strip_accents", "tokenize_chinese_chars",
                             "add_bos_token", "add_eos_token"])
        config[key] = choose.random() < 0.5
    if choose.random() < 0.15:  # as before 4.34
        decoder = config.pop("added_tokens_decoder", {})
        if (folder / "tokenizer.model").exists() or (folder / "vocab.txt").exists():
            extra = {token["content"]: int(number) for number, token in decoder.items() if int(number) >= 100}
            if extra:
                (folder / "added_tokens.json").write_text(json.dumps(extra))
    if choose.random() < 0.15:
        config.pop("tokenizer_class", None)
    if choose.random() < 0.15:
        (folder / "special_tokens_map.json").unlink(missing_ok=True)
    path.write_text(json.dumps(config, indent=1))


# ---- Models --------------------------------------------------------------------------------------

def llama_config(choose, vocab_size):
    heads = choose.choice((2, 4))
    options = dict(vocab_size=vocab_size, hidden_size=choose.choice((32, 48)), num_attention_heads=heads,
                   num_hidden_layers=choose.choice((1, 2, 3)), intermediate_size=choose.choice((40, 64)),
                   num_key_value_heads=choose.choice([n for n in (1, 2, 4) if n <= heads]),
                   max_position_embeddings=choose.choice((32, 64, 128)),
                   rms_norm_eps=choose.choice((1e-6, 1e-5, 1e-2)), tie_word_embeddings=choose.random() < 0.5,
                   attention_bias=choose.random() < 0.3, mlp_bias=choose.random() < 0.3,
                   hidden_act=choose.choice(("silu",) * 9 + ("gelu", "relu")),
                   rope_theta=choose.choice((10000.0, 500.0, 500000.0, 10000)),
                   pretraining_tp=choose.choice((1, 1, 2)), use_cache=choose.random() < 0.8)
    if choose.random() < 0.3:
        options["head_dim"] = choose.choice((8, 16, 6))
    if choose.random() < 0.6:
        factor = choose.choice((2.0, 4.0, 8.0))
        original = options["max_position_embeddings"] // 2
        options["rope_scaling"] = choose.choice([
            {"rope_type": "linear", "factor": factor}, {"type": "linear", "factor": factor},
            {"rope_type": "dynamic", "factor": factor}, {"rope_type": "default"},
            {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": original},
            {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}])
    return LlamaConfig(**options), LlamaForCausalLM


def bert_config(choose, vocab_size):
    heads = choose.choice((2, 4))
    options = dict(vocab_size=vocab_size, hidden_size=choose.choice((16, 32)), num_attention_heads=heads,
                   num_hidden_layers=choose.choice((1, 2)), intermediate_size=choose.choice((24, 64)),
                   max_position_embeddings=choose.choice((32, 64)), type_vocab_size=choose.choice((1, 2, 3)),
                   layer_norm_eps=choose.choice((1e-12, 1e-5)),
                   hidden_act=choose.choice(("gelu", "gelu", "relu", "silu", "gelu_new", "gelu_python", "tanh")),
                   position_embedding_type=choose.choice(("absolute",) * 4 + ("relative_key", "relative_key_query")),
                   tie_word_embeddings=choose.random() < 0.8, is_decoder=choose.random() < 0.1,
                   chunk_size_feed_forward=choose.choice((0, 0, 4)))
    kind = choose.choice((BertModel, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification))
    if kind is BertForSequenceClassification:
        options["num_labels"] = choose.choice((1, 2, 3))
    return BertConfig(**options), kind


def mamba_config(choose, vocab_size):
    options = dict(vocab_size=vocab_size, hidden_size=choose.choice((16, 24)), state_size=choose.choice((4, 8, 16)),
                   num_hidden_layers=choose.choice((1, 2)), conv_kernel=choose.choice((2, 3, 4)),
                   expand=choose.choice((1, 2, 3)), use_bias=choose.random() < 0.3,
                   use_conv_bias=choose.random() < 0.7, hidden_act=choose.choice(("silu",) * 9 + ("gelu",)),
                   time_step_rank=choose.choice(("auto", 1, 3)), residual_in_fp32=choose.random() < 0.7,
                   tie_word_embeddings=choose.random() < 0.7, layer_norm_epsilon=choose.choice((1e-5, 1e-2)),
                   time_step_floor=choose.choice((1e-4, 1e-2)), rescale_prenorm_residual=choose.random() < 0.2)
    return MambaConfig(**options), MambaForCausalLM


def save_model(choose, folder, config, kind):
    """Gives the model. What is edited afterwards does not change its function, for transformers 5 at least."""
    torch.manual_seed(choose.randrange(1 << 30))
    model = kind(config).eval()
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter) * 0.2
        is_scale = ("norm" in name.lower() and name.endswith("weight")) or name.endswith(".D")
        parameter.data = noise + 1 if is_scale else parameter.data if name.endswith("A_log") else noise
    model.tie_weights()
    dtype = choose.choice((torch.float32, torch.float32, torch.bfloat16, torch.float16))
    model.to(dtype)
    model.config.torch_dtype = dtype
    safe = choose.random() < 0.75
    model.save_pretrained(folder, safe_serialization=safe,
                          max_shard_size=choose.choice(("1GB", "1GB", "20KB", "60KB")))
    # Read again, because a cast to half of the width also rounds the frequencies of rotary embeddings.
    model = kind.from_pretrained(folder, torch_dtype=torch.float32).eval()
    path = folder / "config.json"
    edited = json.loads(path.read_text())
    if choose.random() < 0.3:
        to_version_5(edited)
    if choose.random() < 0.15:
        edited.pop("torch_dtype", None)
        edited.pop("dtype", None)
    if choose.random() < 0.1:
        edited.pop("architectures", None)
    if choose.random() < 0.2:  # what is as the default is often absent
        for key, value in type(config)().to_dict().items():
            if edited.get(key) == value and key not in ("model_type", "vocab_size"):
                edited.pop(key, None)
    path.write_text(json.dumps(edited, indent=1))
    if choose.random() < 0.5:
        (folder / "generation_config.json").unlink(missing_ok=True)
    weights = folder / "model.safetensors"
    if weights.exists() and choose.random() < 0.15:  # one tensor wider than the others
        tensors = load_file(weights)
        name = choose.choice(sorted(tensors))
        tensors[name] = tensors[name].float()
        save_file(tensors, weights, metadata={"format": "pt"})
    return model


# ---- Comparison ----------------------------------------------------------------------------------

def as_version_5(reference, folder):
    """Where transformers 4.57.1 makes its fast Llama tokenizer from tokenizer.model, it differs from its
    own slow one and from 5.x: these find added tokens anywhere, and do not put a mark in front of a space
    (docs/tokenize.md). The model of these folders removes extra spaces."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    prefix = config.get("add_prefix_space")
    is_made = not (folder / "tokenizer.json").exists() or (prefix is not None and (folder / "tokenizer.model").exists())
    if type(reference).__name__ != "LlamaTokenizerFast" or not is_made or config.get("legacy") is False:
        return
    spec = json.loads(reference.backend_tokenizer.to_str())
    spec["added_tokens"] = [token | {"normalized": False} for token in spec["added_tokens"]]
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "split": False,
                             "prepend_scheme": "never" if prefix is False else "always"}
    reference._tokenizer = Tokenizer.from_str(json.dumps(spec))


class Folders:
    def __init__(self, options):
        self.options = options
        self.bin = Path(options.bin).resolve()
        self.counts = Counter()
        self.faults = []

    def run(self, *words):
        return subprocess.run([self.bin / f"lowbank-{words[0]}", *map(str, words[1:])], capture_output=True,
                              text=True, check=False, env={**os.environ, "LOWBANK_HOME": str(ROOT)})

    def note(self, name, part, result, difference, folder):
        said = result.stderr.strip()
        if result.returncode not in (0, 2, 3):
            outcome = "DIFFERS"
            difference = f"exit code {result.returncode}"
        elif result.returncode != 0:
            outcome = "refused"
        elif not difference:
            outcome = "equal"
        else:
            outcome = "warned" if "warning:" in said else "DIFFERS"
        self.counts[f"{name.split()[0]} {part} {outcome}"] += 1
        if outcome != "equal":
            print(f"{name} {part}: {outcome}: {difference or ''} {said[-400:]}", flush=True)
        if outcome == "DIFFERS":
            self.faults.append(name)
            if self.options.keep:
                shutil.copytree(folder, Path(self.options.keep) / name.replace(" ", "_"), dirs_exist_ok=True)

    def compare_tokenizer(self, name, folder):
        reference = AutoTokenizer.from_pretrained(folder)
        as_version_5(reference, folder)
        texts = folder.parent / "texts.jsonl"
        added = [token.content for token in reference.added_tokens_decoder.values()]
        more = [f"a{token}b {token} c\n{token}{token}" for token in added] + [" ".join(added)]
        lines = [*TEXTS, *more]
        texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
        difference, result = "", None
        for special in (False, True):
            result = self.run("tokenize", folder, "--file", texts, *(["--special"] if special else []))
            if result.returncode != 0:
                break
            got = [json.loads(line)["ids"] for line in result.stdout.splitlines()]
            for text, ids in zip(lines, got, strict=True):
                wanted = reference(text, add_special_tokens=special)["input_ids"]
                if ids != wanted and not difference:
                    difference = f"{'--special ' if special else ''}{text[:60]!r}: {ids[:12]}, wanted {wanted[:12]}"
        self.note(name, "tokenizer", result, difference, folder)

    @torch.no_grad()
    def compare_model(self, name, folder, model):
        generator = torch.Generator().manual_seed(0)
        length = min(24, getattr(model.config, "max_position_embeddings", 24))
        ids = torch.randint(0, model.config.vocab_size, (2, length), generator=generator)
        ids_file, out_file = folder.parent / "ids.safetensors", folder.parent / "out.safetensors"
        save_file({"input_ids": ids}, ids_file)
        out_file.unlink(missing_ok=True)
        result = self.run("logits", folder, "--ids", ids_file, "--out", out_file)
        difference = ""
        if result.returncode == 0:
            out = model(input_ids=ids)
            key = next(k for k in ("prediction_logits", "logits", "last_hidden_state") if out.get(k) is not None)
            wanted = out[key].float()
            got = next(iter(load_file(out_file).values()))
            if got.shape != wanted.shape:
                difference = f"shape {list(got.shape)}, wanted {list(wanted.shape)}"
            else:
                relative = ((got - wanted).abs().max() / wanted.abs().max()).item()
                difference = "" if relative <= TOLERANCE else f"logits differ by {relative:.2g} of the largest"
        self.note(name, "model", result, difference, folder)

    def make(self, family, number, folder):
        for attempt in range(10):
            choose = random.Random(f"{self.options.seed} {family} {number} {attempt}")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                if family == "bert":
                    save_wordpiece(choose, folder)
                elif family == "llama" and choose.random() < 0.6:
                    save_sentencepiece(choose, folder)
                else:
                    save_byte_bpe(choose, folder, ["PreTrainedTokenizerFast", "GPT2TokenizerFast",
                                                   "LlamaTokenizerFast" if family == "llama" else "GPTNeoXTokenizerFast"])
                edit_tokenizer(choose, folder)
                vocab_size = -(-len(AutoTokenizer.from_pretrained(folder)) // 8) * 8
                config, kind = {"llama": llama_config, "bert": bert_config, "mamba": mamba_config}[family](
                    choose, vocab_size)
                return save_model(choose, folder, config, kind)
            except Exception as error:  # whatever transformers does not read is none of its folders
                print(f"{family} {number}: made again: {type(error).__name__}: {str(error)[:100]!r}", file=sys.stderr)
        raise SystemExit(f"random_folders: cannot make {family} {number}")

    def compare_all(self):
        for family in self.options.family:
            for number in range(self.options.count):
                with tempfile.TemporaryDirectory(prefix="lowbank_random_") as place:
                    folder = Path(place) / "folder"
                    model = self.make(family, number, folder)
                    name = f"{family} {number}"
                    if "tokenizer" in self.options.parts:
                        self.compare_tokenizer(name, folder)
                    if "model" in self.options.parts:
                        self.compare_model(name, folder, model)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="folders of each family")
    parser.add_argument("--keep", help="folder for copies of the folders with a difference")
    parser.add_argument("--family", nargs="+", default=["llama", "bert", "mamba"])
    parser.add_argument("--parts", nargs="+", default=["tokenizer", "model"])
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    folders = Folders(options)
    folders.compare_all()
    print("random_folders: " + ", ".join(f"{what} {count}" for what, count in sorted(folders.counts.items())))
    return 1 if folders.faults else 0


if __name__ == "__main__":
    sys.exit(main())
