"""Writes tests/parity/fixtures/tokenizers/folders.jsonl: folders, and what AutoTokenizer makes of them.

Each case is a folder with a small vocabulary in one of its forms and the files next to it
(tokenizer_config.json, special_tokens_map.json, added_tokens.json, config.json), with the ids of a
few texts without and with special tokens, and the ids decoded without special tokens. The vocabularies are
trained anew at every run, and may differ from run to run.

The ids are those of transformers 4.57.1, with these exceptions:
- tokenizer.model of a model that removes extra spaces, with `legacy`: here the slow and the fast
  tokenizer of 4.57.1 differ. For each text the ids are those that two of three give (slow, fast, and
  5.24.0, which is told `legacy` and `add_prefix_space` explicitly because its defaults are others),
  and those of 5.24.0 where all three differ.
- folders that only one version opens.
`differs` counts the texts to which the other version gives other ids.

Usage: python make_tokenizer_folder_fixture.py OUT REPOSITORY PYTHON_WITH_TRANSFORMERS_5
       (transformers 4.57.1, tokenizers 0.22.2, sentencepiece 0.2; transformers 5.24.0)
"""

import base64
import io
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

VERSION = 1

TEXTS = [
    "", " ", "Once upon a time", " Once", "Tim  ran ", "the king", "Hello World, the na\u00efve Caf\u00e9",
    "<s>Tim", "Tim</s>", "the <unk> said", "Tim<unk>ran", "<|im_start|>user\nOnce upon<|im_end|>\nTim",
    "a<pad> b", "a <pad>b", "<pad>Tim<|x|>ran", "<|x|> the <|x|>", "<|endoftext|>the king", "new tok newtok",
    "tokens tok stok", "[MASK] the [mask] [PAD]x", "[CLS]a[SEP] b <mask>", "\u4e2d\u6587 the \u4e2d", "\u00e9t\u00e9 ETE",
    "a\tb\nc\r\nd", "<ctl> <usr>x <usr> y", "it ' s , not . here ! do n't", "ran<|x|>  <|x|>\n ran",
]  # fmt: skip


def token(content, **flags):
    base = {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return base | {"special": True} | flags


RUNNER = r"""
import json, sys
import transformers
from transformers import AutoTokenizer
transformers.logging.set_verbosity_error()
texts, cases = json.load(open(sys.argv[1]))
out = []
for folder, use_fast in cases:
    try:
        made = AutoTokenizer.from_pretrained(folder, use_fast=use_fast)
        plain = [made(text, add_special_tokens=False).input_ids for text in texts]
        out.append({"ids": plain, "special": [made(text).input_ids for text in texts],
                    "text": [made.decode(ids, skip_special_tokens=True) for ids in plain]})
    except Exception as error:
        out.append({"error": repr(error)[:200]})
json.dump(out, open(sys.argv[2], "w"))
"""


def run_all(python, folders, work):
    """Ids of all texts by the transformers of another interpreter."""
    request, reply = work / "request.json", work / "reply.json"
    request.write_text(json.dumps([TEXTS, folders]))
    subprocess.run([python, "-c", RUNNER, str(request), str(reply)], check=True)
    return json.loads(reply.read_text())


def sample_text(repository):
    return (repository / "data/samples/tinyshakespeare/train.txt").read_text()[:60000]


def make_sentencepiece(text, **options):
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")), model_writer=model, vocab_size=420, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)  # fmt: skip
    return model.getvalue()


def make_vocabularies(repository):
    """Files of each vocabulary by its name; bytes are sentencepiece models."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import LlamaTokenizerFast

    text = sample_text(repository)
    lines = text.split("\n")
    stories = (repository / "data/samples/stories260K/tok512.model").read_bytes()
    spaces = make_sentencepiece(text, model_type="bpe", normalization_rule_name="identity",
                                remove_extra_whitespaces=False, control_symbols=["<ctl>"],
                                user_defined_symbols=["<usr>"])  # fmt: skip
    unigram = make_sentencepiece(text, model_type="unigram", normalization_rule_name="identity",
                                 remove_extra_whitespaces=False)  # fmt: skip
    vocabularies = {"stories": {"tokenizer.model": stories}, "spaces": {"tokenizer.model": spaces},
                    "unigram": {"tokenizer.model": unigram}}  # fmt: skip

    bytes_bpe = Tokenizer(models.BPE())
    bytes_bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_bpe.decoder = decoders.ByteLevel()
    bytes_bpe.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=420, show_progress=False, special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    spec = json.loads(bytes_bpe.to_str())
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in spec["model"]["merges"]]
    vocabularies["gpt2"] = {"vocab.json": spec["model"]["vocab"], "merges.txt": "#version: 0.2\n" + "\n".join(merges) + "\n"}
    bytes_bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    vocabularies["gpt2_json"] = {"tokenizer.json": json.loads(bytes_bpe.to_str())}
    flags = json.loads(bytes_bpe.to_str())
    flags["added_tokens"] += [{"id": 420} | token("<|x|>", rstrip=True), {"id": 421} | token("tok", special=False, lstrip=True)]
    vocabularies["flags_json"] = {"tokenizer.json": flags}
    bytes_bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)])
    vocabularies["sequence_json"] = {"tokenizer.json": json.loads(bytes_bpe.to_str())}

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.train_from_iterator(lines + ["\u4e2d\u6587 \u4e2d \u00e9t\u00e9 ete ETE caf\u00e9 CAFE Hello hello World world tok new"] * 20,
                               trainers.WordPieceTrainer(vocab_size=300, show_progress=False, special_tokens=words))  # fmt: skip
    pieces.decoder = decoders.WordPiece(prefix="##")
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])  # fmt: skip
    spec = json.loads(pieces.to_str())
    by_id = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    vocabularies["bert"] = {"vocab.txt": "\n".join(by_id) + "\n"}
    vocabularies["bert_json"] = {"tokenizer.json": spec}

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(stories)
        for name, legacy in (("llama_json", True), ("llama_new_json", False)):
            made = LlamaTokenizerFast(str(Path(folder) / "tokenizer.model"), legacy=legacy)
            vocabularies[name] = {"tokenizer.json": json.loads(made.backend_tokenizer.to_str())}
    vocabularies["both"] = vocabularies["llama_json"] | vocabularies["stories"]
    return vocabularies


def cases():
    """Name, vocabulary, files next to it."""
    llama = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    im = {"512": token("<pad>"), "513": token("<|im_start|>"), "514": token("<|im_end|>")}
    own = {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>")}
    chat = {"eos_token": "<|im_end|>", "pad_token": "<pad>"}
    model = {"model_type": "llama", "vocab_size": 512}

    def config(settings, **files):
        return {"tokenizer_config.json": settings} | {name.replace("_json", ".json"): value for name, value in files.items()}

    # -------- tokenizer.model
    for legacy, prefix, decoder in itertools.product([True, False, None, "absent"], [True, False, None, "absent"], [True, False]):
        settings = dict(llama | chat, legacy=legacy, add_prefix_space=prefix)
        settings = {key: value for key, value in settings.items() if value != "absent"}
        files = config(settings)
        if decoder:
            settings["added_tokens_decoder"] = own | im
        else:
            files["added_tokens.json"] = {"<|im_start|>": 513, "<|im_end|>": 514, "<pad>": 512}
        yield f"stories legacy {legacy} prefix {prefix} decoder {decoder}", "stories", files
    for name in ("spaces", "unigram"):
        for legacy, prefix in itertools.product([True, False, "absent"], [True, False, "absent"]):
            settings = dict(llama, legacy=legacy, add_prefix_space=prefix, pad_token="<pad>")
            settings = {key: value for key, value in settings.items() if value != "absent"}
            yield f"{name} legacy {legacy} prefix {prefix}", name, config(settings)
        for flags in ({"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"lstrip": True, "rstrip": True}):
            yield f"{name} {flags}", name, config(llama | {"legacy": False, "added_tokens_decoder": own | {
                "512": token("<|x|>", **flags), "513": token("tok", special=False, **flags)}})  # fmt: skip
        yield f"{name} model type only", name, {"config.json": model}
        yield f"{name} empty settings", name, config({}, config_json=model)
    stories = dict(llama, legacy=True)
    yield "no eos", "stories", config(stories | {"add_bos_token": False})
    yield "both ends", "stories", config(stories | {"add_bos_token": True, "add_eos_token": True})
    yield "both ends of a chat", "stories", config(stories | {"add_eos_token": True, "eos_token": "<|im_end|>"})
    yield "map before config", "stories", config(stories | {"pad_token": "<pad>"}, special_tokens_map_json={"pad_token": "<|x|>"})
    yield "decoder before map", "stories", config(stories | {"added_tokens_decoder": own}, special_tokens_map_json={"pad_token": "<|x|>"},
                                                  added_tokens_json={"<|im_start|>": 512})  # fmt: skip
    yield "map with flags", "stories", config(stories, special_tokens_map_json={"pad_token": token("<pad>", lstrip=True, rstrip=True)})
    yield "additional in both", "stories", config(stories | {"additional_special_tokens": ["<|x|>"]},
                                                  special_tokens_map_json={"additional_special_tokens": ["<|im_start|>", "<|x|>"]})  # fmt: skip
    yield "additional with decoder", "stories", config(stories | {"added_tokens_decoder": own | {"512": token("<|x|>", lstrip=True)},
                                                                  "additional_special_tokens": ["<|x|>", "<|im_start|>"]})  # fmt: skip
    yield "extra tokens", "stories", config(stories | {"extra_special_tokens": {"image_token": "<|x|>"}})
    yield "hole in the ids", "stories", config(stories | {"added_tokens_decoder": own | {"600": token("<|x|>")}})
    yield "hole in added_tokens.json", "stories", config(stories, added_tokens_json={"<|x|>": 700, "<pad>": 600})
    yield "a piece is added", "stories", config(stories | {"added_tokens_decoder": own | {"512": token("Once", special=False)}})
    yield "a piece is special", "stories", config(stories | {"pad_token": "ran", "additional_special_tokens": ["the"]})
    yield "plain added tokens", "stories", config(stories | {"added_tokens_decoder": own | {"512": token("tok", special=False)}})
    yield "normalized tokens", "stories", config(stories | {"added_tokens_decoder": own | {"512": token("tok", special=False, normalized=True)}})
    yield "pad is null", "stories", config(stories | {"pad_token": None, "added_tokens_decoder": own})
    yield "split special", "stories", config(stories | {"split_special_tokens": True})
    yield "clean up", "stories", config(stories | {"clean_up_tokenization_spaces": True})
    yield "unk is another", "stories", config(stories | {"unk_token": "<|x|>"})
    yield "eos is bos", "stories", config(stories | {"eos_token": "<s>", "add_eos_token": True})
    yield "fast class", "stories", config(llama | {"legacy": False, "tokenizer_class": "LlamaTokenizerFast"})

    # -------- GPT-2: both forms
    gpt2 = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    for name in ("gpt2", "gpt2_json"):
        end = {"0": token("<|endoftext|>")}
        for prefix in (True, False, None):
            yield f"{name} prefix {prefix}", name, config(gpt2 | {"add_prefix_space": prefix})
        yield f"{name} new pad", name, config(gpt2 | {"pad_token": "<pad>", "added_tokens_decoder": end})
        yield f"{name} chat", name, config(gpt2 | chat, added_tokens_json={"<|im_start|>": 421, "<|im_end|>": 420, "<pad>": 422})
        yield f"{name} flags", name, config(gpt2 | {"added_tokens_decoder": end | {
            "420": token("<|x|>", lstrip=True, rstrip=True), "421": token("tok", special=False, single_word=True)}})  # fmt: skip
        yield f"{name} flags of a known token", name, config(gpt2 | {"added_tokens_decoder": {"0": token("<|endoftext|>", lstrip=True)}})
        yield f"{name} add bos", name, config(gpt2 | {"add_bos_token": True})
        yield f"{name} clean up", name, config(gpt2 | {"clean_up_tokenization_spaces": True})
        yield f"{name} split special", name, config(gpt2 | {"split_special_tokens": True, "pad_token": "<pad>"})
        yield f"{name} split special over another", name, config(gpt2 | {"split_special_tokens": True, "added_tokens_decoder": end | {
            "420": token("newtok"), "421": token("tok", special=False)}})  # fmt: skip
        yield f"{name} map", name, config(gpt2, special_tokens_map_json={"pad_token": token("<pad>", lstrip=True), "mask_token": "<mask>"})
        yield f"{name} model type only", name, {"config.json": {"model_type": "gpt2"}}
    yield "a tokenizer.json before added_tokens.json", "flags_json", config(gpt2, added_tokens_json={"<|x|>": 420, "tok": 421, "<pad>": 422})
    yield "a special token keeps its list", "bert_json", config({"tokenizer_class": "BertTokenizer", "do_lower_case": False, "added_tokens_decoder": {
        "4": token("[MASK]", normalized=True)}})  # fmt: skip
    yield "a special token of a tokenizer.json", "flags_json", config(gpt2, special_tokens_map_json={"pad_token": token("tok", lstrip=False)})
    yield "a tokenizer.json before config", "flags_json", config(gpt2 | {"pad_token": "tok"})
    yield "added_tokens_decoder before a tokenizer.json", "flags_json", config(gpt2 | {"added_tokens_decoder": {
        "0": token("<|endoftext|>"), "420": token("<|x|>", lstrip=True)}})  # fmt: skip
    for kind in ("PreTrainedTokenizerFast", "Qwen2Tokenizer", "GPTNeoXTokenizer", "LlamaTokenizer"):
        if kind != "LlamaTokenizer":
            yield f"{kind} of bytes", "gpt2_json", config({"tokenizer_class": kind, "pad_token": "<pad>", "eos_token": "<|im_end|>"})
        yield f"{kind} of a sequence", "sequence_json", config({"tokenizer_class": kind, "bos_token": "<|endoftext|>", "add_prefix_space": None})
    for bos, eos in itertools.product([True, False], [True, False]):
        yield f"neox bos {bos} eos {eos}", "gpt2_json", config({"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": bos, "add_eos_token": eos})
    yield "mamba model type only", "gpt2_json", {"config.json": {"model_type": "mamba"}}

    # -------- BERT: both forms
    bert = {"tokenizer_class": "BertTokenizer", "unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]",
            "sep_token": "[SEP]", "mask_token": "[MASK]"}  # fmt: skip
    for name in ("bert", "bert_json"):
        for lower, strip in itertools.product([True, False, "absent"], [True, False, None]):
            settings = bert | {"do_lower_case": lower, "strip_accents": strip}
            yield f"{name} lower {lower} strip {strip}", name, config({k: v for k, v in settings.items() if v != "absent"})
        yield f"{name} chinese", name, config(bert | {"tokenize_chinese_chars": False})
        yield f"{name} no basic", name, config(bert | {"do_basic_tokenize": False, "never_split": ["[mask]"]})
        yield f"{name} new mask", name, config(bert | {"mask_token": "<mask>", "pad_token": "<pad>"})
        yield f"{name} added", name, config(bert, added_tokens_json={"tok": 300, "<|x|>": 301})
        yield f"{name} flags", name, config(bert | {"added_tokens_decoder": {"4": token("[MASK]", lstrip=True), "300": token("Tim", special=False)}})
        yield f"{name} clean up", name, config(bert | {"clean_up_tokenization_spaces": True})
        yield f"{name} distil", name, config(bert | {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False})
        yield f"{name} model type only", name, {"config.json": {"model_type": "bert"}}

    # 4.57.1 normalises the added tokens of a tokenizer.json before it sets the letter case, and then does not find them.
    yield "bert normalized", "bert", config(bert | {"added_tokens_decoder": {"300": token("Caf\u00e9", special=False, normalized=True)}})

    # -------- Llama's tokenizer.json
    for name in ("llama_json", "llama_new_json", "both"):
        saved = llama | {"add_prefix_space": None, "added_tokens_decoder": own}
        yield f"{name} plain", name, config(saved)
        yield f"{name} new pad", name, config(saved | {"pad_token": "<pad>"})
        yield f"{name} eos", name, config(saved | {"add_eos_token": True, "add_bos_token": False})
        yield f"{name} chat", name, config(saved | chat | {"added_tokens_decoder": own | im})
        yield f"{name} added", name, config(llama | chat, added_tokens_json={"<|im_start|>": 513, "<|im_end|>": 514, "<pad>": 512})
        yield f"{name} class of its own", name, config({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"})
        yield f"{name} model type only", name, {"config.json": model}
        yield f"{name} special flag", name, config(saved | {"added_tokens_decoder": own | {"512": token("<|x|>", special=False)}, "pad_token": "<|x|>"})
        if name != "llama_json":
            continue
        for prefix in (True, False):
            yield f"{name} prefix {prefix}", name, config(saved | {"add_prefix_space": prefix, "legacy": True})
    for prefix in (True, False):
        yield f"both prefix {prefix}", "both", config(llama | {"add_prefix_space": prefix, "legacy": True, "added_tokens_decoder": own | im})


def random_cases(count):
    """Random settings over all forms."""
    rng = random.Random(16)
    contents = ["<pad>", "<|x|>", "<|im_start|>", "<|im_end|>", "<mask>", "tok", "ran", "[mask]"]
    for i in range(count):
        name = rng.choice(["spaces", "gpt2", "gpt2_json", "bert", "bert_json", "llama_json"])
        kind = {"gpt2": "GPT2Tokenizer", "bert": "BertTokenizer"}.get(name.split("_")[0], "LlamaTokenizer")
        settings = {"tokenizer_class": rng.choice([kind, kind + "Fast"])}
        chosen = rng.sample(contents, 4)
        tokens = [token(content, special=rng.random() < 0.5, lstrip=rng.random() < 0.2, rstrip=rng.random() < 0.2,
                        single_word=rng.random() < 0.1) for content in chosen]  # fmt: skip
        files = {}
        if rng.random() < 0.5:
            settings["added_tokens_decoder"] = {str(420 + i): value for i, value in enumerate(tokens)}
        else:
            files["added_tokens.json"] = {value["content"]: 420 + i for i, value in enumerate(tokens[:2])}
            files["special_tokens_map.json"] = {"pad_token": rng.choice([tokens[2], tokens[2]["content"]]),
                                                "additional_special_tokens": [tokens[3]["content"], tokens[0]["content"]]}  # fmt: skip
            if name == "spaces":
                del files["added_tokens.json"]
        settings["pad_token"] = rng.choice(chosen)
        for key, values in {
            "add_prefix_space": [True, False] if name != "llama_json" else ["absent"],
            "legacy": [True, False], "do_lower_case": [True, False], "strip_accents": [True, False, None],
            "tokenize_chinese_chars": [True, False], "clean_up_tokenization_spaces": [True, False],
            "add_bos_token": [True, False], "add_eos_token": [True, False],
            "split_special_tokens": [False, False, True], "additional_special_tokens": [chosen[:1], chosen[2:]],
        }.items():  # fmt: skip
            value = rng.choice(values + ["absent"])
            if value != "absent":
                settings[key] = value
        yield f"random {i} {name}", name, {"tokenizer_config.json": settings} | files


def write_folder(folder, vocabulary, files):
    folder.mkdir(parents=True)
    for name, content in (vocabulary | files).items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            (folder / name).write_text(text, encoding="utf-8")


def for_version_5(files):
    """The same settings with the defaults of 4.57.1 spelled out."""
    settings = dict(files.get("tokenizer_config.json", {}))
    if settings.get("legacy") is None:
        settings["legacy"] = True
    if settings.get("add_prefix_space") is None:
        settings["add_prefix_space"] = True
    settings.setdefault("add_bos_token", True)
    return files | {"tokenizer_config.json": settings}


def chosen(name, files, old, slow, new):
    """Per text, whose ids count: those of 4.57.1 ("old") or of 5.24.0 ("new")."""
    if "error" in old:
        return ["new"] * len(TEXTS)
    settings = files.get("tokenizer_config.json", {})
    is_model = name == "stories" or (name == "both" and settings.get("add_prefix_space") is not None)
    if not is_model or settings.get("legacy") is False or "error" in new:
        return ["old"] * len(TEXTS)
    return ["old" if a in (b, c) else "new" for a, b, c in zip(old["ids"], slow["ids"], new["ids"])]


def main():
    out, repository, python5 = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    vocabularies = make_vocabularies(repository)
    all_cases = list(cases()) + list(random_cases(60))
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        old, new, slow = [], [], []
        for i, (_, name, files) in enumerate(all_cases):
            write_folder(work / f"a{i}", vocabularies[name], files)
            is_model = name in ("stories", "both")
            write_folder(work / f"b{i}", vocabularies[name], for_version_5(files) if is_model else files)
            old.append([str(work / f"a{i}"), True])
            slow.append([str(work / f"a{i}"), False])
            new.append([str(work / f"b{i}"), True])
        results = {"4.57.1": run_all(sys.executable, old, work), "slow": run_all(sys.executable, slow, work),
                   "5.24.0": run_all(python5, new, work)}  # fmt: skip
    lines = [{"version": VERSION, "generator": "tests/parity/make_tokenizer_folder_fixture.py",
              "peer": "transformers 4.57.1 and 5.24.0 AutoTokenizer"}, {"texts": TEXTS}]  # fmt: skip
    shown = {name: {file: {"base64": base64.b64encode(content).decode()} if isinstance(content, bytes) else content
                    for file, content in files.items()} for name, files in vocabularies.items()}  # fmt: skip
    lines.append({"vocabularies": shown})
    num_differ = num_texts = num_refused = 0
    for i, (title, name, files) in enumerate(all_cases):
        by = {"old": results["4.57.1"][i], "new": results["5.24.0"][i]}
        choice = chosen(name, files, by["old"], results["slow"][i], by["new"])
        if "error" in by[choice[0]]:
            print(f"{title}: no version opens it: {by['old']['error']}")
            num_refused += 1
            continue
        both = "error" not in by["old"] and "error" not in by["new"]
        differs = sum(a != b for a, b in zip(by["old"]["ids"], by["new"]["ids"])) if both else 0
        num_differ += differs
        num_texts += len(TEXTS)
        # With a prefix that is null, the decoder of 4.57.1 does not take the mark off again.
        settings = files.get("tokenizer_config.json", {})
        is_null = name == "stories" and settings.get("add_prefix_space", True) is None and settings.get("legacy") is not False
        texts = [by["new" if is_null else c]["text"][k] for k, c in enumerate(choice)]
        lines.append({"name": title, "vocabulary": name, "files": files, "by": "".join(c[0] for c in choice),
                      "ids": [by[c]["ids"][k] for k, c in enumerate(choice)], "special": by[choice[2]]["special"][2],
                      "text": [None if a == b else a for a, b in zip(texts, TEXTS)], "differs": differs})  # fmt: skip
    with open(out, "w", encoding="ascii") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    print(f"{len(lines) - 3} folders, {num_texts} texts, {num_differ} differ between the versions, {num_refused} left out")


if __name__ == "__main__":
    main()
