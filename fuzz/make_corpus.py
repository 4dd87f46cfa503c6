"""Seeds of the fuzz targets: small files of every form that a reader takes.

usage: .venv-dev/bin/python fuzz/make_corpus.py     (writes fuzz/corpus/TARGET/)
"""
import json
import shutil
import struct
import zipfile
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save as save_safetensors
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz/corpus"


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors_seeds():
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16),
               "c": np.array(3, np.int64), "d": np.zeros((0, 2), np.uint8), "e": np.array([True])}
    put("safetensors", "types", save_safetensors(tensors, {"format": "pt"}))
    put("safetensors", "one", save_safetensors({"w": np.zeros(1, np.float32)}))
    put("index", "two", json.dumps({"metadata": {"total_size": 16},
                                    "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    put("index", "outside", json.dumps({"weight_map": {"a": "../1.safetensors"}}))
    importance = {"model.layers.0.mlp.up_proj.abs_grad": np.array([3, 2, 1], np.float32),
                  "model.layers.0.mlp.up_proj.magnitude": np.array([9, 8, 7], np.float32)}
    # The hash is that of a folder without weights.
    put("importance", "two", save_safetensors(importance, {
        "format": "pt", "lowbank_importance": "1", "num_examples": "4",
        "weights_hash": "99aa06d3014798d86001c324468d497f"}))


def write_gguf(architecture, keys, tensors, tokenizer):
    path = CORPUS / "temporary.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        key = f"{architecture}.{key}"
        if isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
    tokenizer(writer)
    for name, (shape, kind) in tensors.items():
        if kind == "F32":
            writer.add_tensor(name, np.full(shape, -0.5, np.float32))
        else:
            quant = gguf.GGMLQuantizationType[kind]
            block, size = gguf.GGML_QUANT_SIZES[quant]
            data = np.full((*shape[:-1], shape[-1] // block * size), 7, np.uint8)
            writer.add_tensor(name, data, raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    path.unlink()
    put("gguf", architecture, data)
    put("gguf_tokenizer", architecture, data)


def bpe_tokens(writer):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[:40] + ["H", "e", "l", "o"]
    tokens = list(dict.fromkeys(alphabet + ["He", "ll", "Hell", "Hello", "<s>", "</s>"]))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t.startswith("<") else 1 for t in tokens])
    writer.add_token_merges(["H e", "l l", "He ll", "Hell o"])
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("</s>"))


def spm_tokens(writer):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + \
             ["\u2581", "H", "e", "l", "o", "\u2581H", "el", "lo"]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(8)])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * 8)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)


def bert_tokens(writer):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581hello", "\u2581caf", "e", "\u2581!"]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 5 + [1] * 4)
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_bos_token_id(2)
    writer.add_mask_token_id(4)


def gguf_seeds():
    write_gguf("llama", {"block_count": 1, "context_length": 8, "embedding_length": 32,
                         "feed_forward_length": 32, "attention.head_count": 2,
                         "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-5,
                         "rope.freq_base": 10000.0, "rope.dimension_count": 16},
               {"token_embd.weight": ((4, 32), "Q4_1"), "blk.0.attn_q.weight": ((32, 32), "Q8_0"),
                "blk.0.ffn_up.weight": ((1, 256), "Q6_K"), "output_norm.weight": ((32,), "F32"),
                "rope_freqs.weight": ((8,), "F32")}, bpe_tokens)
    write_gguf("bert", {"block_count": 1, "context_length": 8, "embedding_length": 32,
                        "feed_forward_length": 32, "attention.head_count": 2,
                        "attention.layer_norm_epsilon": 1e-12},
               {"token_embd.weight": ((4, 32), "Q5_0"), "position_embd.weight": ((8, 32), "F32"),
                "blk.0.layer_output_norm.bias": ((32,), "F32")}, bert_tokens)
    write_gguf("mamba", {"block_count": 1, "embedding_length": 32, "ssm.conv_kernel": 4,
                         "ssm.inner_size": 64, "ssm.state_size": 4, "ssm.time_step_rank": 2,
                         "attention.layer_norm_rms_epsilon": 1e-5},
               {"token_embd.weight": ((4, 32), "MXFP4"), "blk.0.ssm_a": ((64, 4), "F32"),
                "blk.0.ssm_conv1d.weight": ((64, 4), "F32")}, spm_tokens)


def torch_seeds():
    fixtures = ROOT / "tests/parity/fixtures/torch_file"
    for name in ("nested_p2", "nested_p5", "nested_legacy", "legacy", "zip", "laughs",
                 "hostile_system", "nested_python2", "training"):
        shutil.copy(fixtures / f"{name}.bin", CORPUS / "torch_file" / name)
    for name in ("nested_p2", "nested_p4", "zip", "laughs", "hostile_system", "training"):
        with zipfile.ZipFile(fixtures / f"{name}.bin") as archive:
            put("pickle", name, archive.read(f"{name}/data.pkl"))
    put("pickle", "protocol0", b"(dS'a'\nI-3\nsVb\nF1.5\nsS\"c\"\nL12L\ns.")
    header = struct.pack("<7i", 8, 12, 1, 4, 2, 6, 4)
    count = 6 * 8 + 2 * 8 + 2 * 64 + 2 * 32 + 3 * 96 + 8 + 4 * 2
    put("llama2c", "legacy", header + b"\0" * 4 * count)
    put("llama2c", "version1", (b"24ka" + struct.pack("<i", 1) + header + b"\1").ljust(256, b"\0") +
        b"\0" * 4 * (count - 4 * 2))


def tokenizer_seeds():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {t: i for i, t in enumerate(alphabet + ["He", "ll"])}
    bpe = Tokenizer(models.BPE(vocab, [("H", "e"), ("l", "l")]))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.normalizer = normalizers.NFC()
    bpe.add_special_tokens(["<s>", "</s>"])
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 258), ("</s>", 259)])
    put("tokenizer_json", "byte_bpe", bpe.to_str())
    tokens = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##o", "caf", "##e", "1", "##2", "!"]
    piece = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    piece.normalizer = normalizers.BertNormalizer()
    piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    piece.decoder = decoders.WordPiece()
    piece.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    piece.add_special_tokens(["[MASK]"])
    put("tokenizer_json", "word_piece", piece.to_str())
    spm = Tokenizer(models.BPE({"<unk>": 0, "\u2581": 1, "H": 2, "e": 3, "<0x0A>": 4, "He": 5},
                               [("H", "e")], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    spm.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"),
                                           normalizers.Replace(" ", "\u2581")])
    spm.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                     decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    put("tokenizer_json", "byte_fallback", spm.to_str())
    split = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    split.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(),
                                             normalizers.StripAccents(), normalizers.Strip()])
    split.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(r"\d+", "merged_with_previous"), pre_tokenizers.Punctuation(),
        pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace()])
    split.post_processor = processors.RobertaProcessing(("b", 1), ("a", 0))
    put("tokenizer_json", "split", split.to_str())
    shutil.copy(ROOT / "data/samples/stories260K/tok512.model", CORPUS / "sentencepiece/tok512")
    unknown = b"\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02"
    put("sentencepiece", "nul_in_piece", unknown + b"\x0a\x0a\x0a\x03a\0b\x15\0\0\0\0")


def json_seeds():
    for path in sorted((ROOT / "configs/recipes").glob("*.json")):
        put("recipe", path.stem, path.read_bytes())
    put("recipe", "small", '{"learning_rate": 1e-3, /* a */ "steps": 5, "set": [1, {"x": null}]} // b')
    operator = {"name": "model.layers.0.mlp.up_proj", "kind": "linear", "layer": 0, "group": "up",
                "m": 8, "n": 16, "k": 8, "count": 1, "weight_bytes": 512.0,
                "activation_bytes": 768.0}
    put("glue", "sts_b",
        "index\tsentence1\tsentence2\tscore\r\n0\tA cat.\tA \"dog.\t3.25\r\n")
    put("glue", "mrpc",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tOne.\tTwo.\n\n")
    workload = {
        "format": "lowbank-workload", "revision": 1, "model": "m", "batch": 1, "context": 8,
        "num_params": 128, "num_layers": 1, "weight_bits": 32.0, "prefill": [operator],
        "decode": [{**operator, "m": 1}]}
    put("workload", "small", json.dumps(workload, indent=1))
    tile = {"factored_as": "tile_svd", "rank": 2, "tile": 4, "group": ""}
    tiles = [{**operator, **tile, "stage": 0, "n": 8, "k": 4, "count": 2},
             {**operator, **tile, "stage": 1, "n": 4, "k": 4, "count": 4}]
    score = {**operator, "name": "score", "kind": "score", "group": "", "m": 1, "k": 4, "count": 4,
             "weight_bytes": 0.0, "queries_per_cache": 2}
    put("workload", "second_revision", json.dumps({
        **workload, "revision": 2, "decode": [
            *tiles, {**operator, "m": 1, "weight_format": "int8", "weight_bytes": 128.0}, score]}))


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    for target in ("torch_file", "sentencepiece"):
        (CORPUS / target).mkdir(parents=True)
    safetensors_seeds()
    gguf_seeds()
    torch_seeds()
    tokenizer_seeds()
    json_seeds()
    print(sum(f.stat().st_size for f in CORPUS.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    main()
