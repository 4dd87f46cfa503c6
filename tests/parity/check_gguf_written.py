"""Opens GGUF files that `lowbank convert` wrote with the gguf package's own reader.

usage: .venv-dev/bin/python tests/parity/check_gguf_written.py FILE.gguf [FOLDER]

Prints what the reader finds. With FOLDER, the Hugging Face folder that the file was made from, every
tensor is dequantised and compared; q and k are compared up to the order of their rows. Where
llama_cpp is installed, the file is also loaded by llama.cpp.
"""
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    print(len(reader.fields), "keys,", len(reader.tensors), "tensors of type",
          sorted({t.tensor_type.name for t in reader.tensors}))
    if len(sys.argv) > 2:
        from safetensors.numpy import load_file
        weights = load_file(Path(sys.argv[2]) / "model.safetensors")
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 200)
        worst = 0.0
        tensors = {t.name: t for t in reader.tensors}
        for name, values in weights.items():
            tensor = tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))]
            got = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            want = values.astype(np.float32)
            if ".q_proj." in name or ".k_proj." in name:
                got, want = np.sort(got.sum(-1)), np.sort(want.sum(-1))
            worst = max(worst, float(np.abs(got - want).max() / np.abs(want).max()))
        print("largest difference, relative to a tensor's largest value:", worst)
    try:
        import llama_cpp
    except ImportError:
        return
    model = llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False)
    print(model("Once upon a time", max_tokens=16, temperature=0)["choices"][0]["text"])


if __name__ == "__main__":
    main()
