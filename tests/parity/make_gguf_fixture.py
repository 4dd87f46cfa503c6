"""Blocks of every ggml type with the values that gguf's own code gives them.

usage: .venv-dev/bin/python tests/parity/make_gguf_fixture.py

Writes tests/parity/fixtures/gguf: quants.gguf (random blocks under the name of their type, "source"
in F32 with what Q8_0 and Q4_0 make of it, and a key of every kind) and expected.safetensors (the
float32 values).
"""
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

VERSION = "1"  # of the fixture; tests/parity/gguf_parity_test.cpp wants the same
BLOCKS = 6
FOLDER = Path(__file__).parent / "fixtures/gguf"
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "MXFP4"]
# Where a block has its float16 scales.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
          "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": []}


def random_blocks(rng, name):
    kind = gguf.GGMLQuantizationType[name]
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    # Normal, subnormal, largest, smallest, zero and negative scales.
    scales = np.array([0.013, 5e-7, 65504.0, 6e-8, 0.0, -1.75], dtype=np.float16)
    for at in SCALES[name]:
        blocks[:, at:at + 2] = np.roll(scales, at)[:BLOCKS].view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        blocks[:, 0] = [127, 0, 1, 2, 200, 120]
    return kind, blocks


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    writer = gguf.GGUFWriter(FOLDER / "quants.gguf", "test")
    writer.add_string("test.version", VERSION)
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -7)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4_000_000_000)
    writer.add_int32("test.i32", -2_000_000_000)
    writer.add_uint64("test.u64", 2**63)
    writer.add_int64("test.i64", -2**62)
    writer.add_float32("test.f32", 0.5)
    writer.add_float64("test.f64", 1e-300)
    writer.add_bool("test.bool", True)
    writer.add_array("test.texts", ["a", "", "caf\u00e9"])
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.numbers", [0.25, -1.5])
    expected = {}
    for name in TYPES:
        kind, blocks = random_blocks(rng, name)
        values = dequantize(blocks, kind).reshape(2, -1)
        expected[name] = np.ascontiguousarray(values)
        writer.add_tensor(name, blocks.reshape(2, -1), raw_dtype=kind)
    source = (rng.standard_normal((4, 64)) * np.array([[1], [1e-4], [300], [0]])).astype(np.float32)
    source[1, :32] = 0
    source[2, 5], source[2, 6] = -900.0, 900.0  # equal magnitudes: the first one sets the scale
    expected["source"] = source
    writer.add_tensor("source", source)
    for name in ["F16", "BF16", "Q8_0", "Q4_0"]:
        kind = gguf.GGMLQuantizationType[name]
        stored = quantize(source, kind)
        expected[f"source_as_{name}"] = dequantize(stored, kind).astype(np.float32)
        writer.add_tensor(f"source_as_{name}", stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, FOLDER / "expected.safetensors", metadata={"fixture_version": VERSION})


if __name__ == "__main__":
    main()
