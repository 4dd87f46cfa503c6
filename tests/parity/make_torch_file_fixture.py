"""Files as torch.save writes them, and hostile ones, with the values that they hold.

usage: .venv-dev/bin/python tests/parity/make_torch_file_fixture.py

Writes tests/parity/fixtures/torch_file: *.bin in the zip and the legacy form, expected.safetensors
(their tensors, contiguous), and hostile_*.bin, which must be refused.
"""
import collections
import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

VERSION = "1"  # of the fixture; tests/unit/io/torch_file_test.cpp wants the same
FOLDER = Path(__file__).parent / "fixtures/torch_file"
LEGACY_TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64,
                torch.int32, torch.int16, torch.int8, torch.uint8]
NEW_TYPES = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2]


def views():
    base = torch.arange(48, dtype=torch.float32)
    matrix = base.view(6, 8)
    return {
        "whole": matrix,
        "transposed": matrix.t(),
        "row": matrix[3],
        "column": matrix[:, 2],
        "block": matrix[1:4, 2:7],
        "permuted": base.view(2, 3, 8).permute(2, 0, 1),
        "expanded": base[:4].view(4, 1).expand(4, 5),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(base[8:12].clone()),
    }


def typed(types):
    out = {}
    for kind in types:
        values = torch.arange(-2 if kind.is_signed else 0, 4)
        out[str(kind).removeprefix("torch.")] = values.to(kind).view(2, -1)
    return out


class Python2OrderedDict(dict):
    def __reduce__(self):  # as collections.OrderedDict did in Python 2.7
        return collections.OrderedDict, ([[key, value] for key, value in self.items()],)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/lowbank_pickle_was_run",))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    legacy = {"_use_new_zipfile_serialization": False}
    state = collections.OrderedDict({**views(), **typed(LEGACY_TYPES), "bool": torch.tensor([True, False]),
                                     "complex": torch.tensor([1 + 2j])})
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    new = typed(NEW_TYPES)
    torch.save({**state, **new}, FOLDER / "zip.bin")
    torch.save(state, FOLDER / "ordered.bin")
    torch.save(state, FOLDER / "legacy.bin", **legacy)
    tied = torch.arange(6.0)
    nested = {"step": 7, "lr": 0.1, "name": "x", "betas": (0.9, 0.999), "none": None, "on": True,
              "state_dict": {"a.weight": tied, "b.weight": tied, "big": torch.tensor([2**62])}}
    for protocol in (2, 3, 4, 5):
        torch.save(nested, FOLDER / f"nested_p{protocol}.bin", pickle_protocol=protocol)
    torch.save(nested, FOLDER / "nested_legacy.bin", **legacy)
    torch.save({"best": torch.tensor(0.5), **nested}, FOLDER / "nested_beside_tensor.bin")
    python2 = Python2OrderedDict(nested["state_dict"])
    torch.save(python2, FOLDER / "nested_python2.bin", **legacy)
    # What training scripts keep beside the weights; tensors with attributes of their own.
    parameter, tagged = state["parameter"], state["row"].clone()
    parameter._no_weight_decay = tagged.tag = True
    torch.save({"score": np.float64(0.5), "curve": np.arange(3), "seen": {1, 2},
                "steps": range(3), "raw": bytearray(b"x"), "root": 1j,
                "state_dict": {"parameter": parameter, "row": tagged}}, FOLDER / "training.bin")
    torch.save({"a": 1, "b": "text"}, FOLDER / "no_tensors.bin")
    torch.save([torch.ones(2)], FOLDER / "list.bin")

    torch.save({"a": torch.ones(2), "evil": Evil()}, FOLDER / "hostile_system.bin")
    torch.save({"a": torch.ones(2), "evil": Evil()}, FOLDER / "hostile_system_legacy.bin", **legacy)
    # A list in a list in a list ..., each level twice the one before: 2^40 items if written out.
    laughs = []
    for _ in range(40):
        laughs = [laughs, laughs]
    torch.save({"a": torch.ones(2), "laughs": laughs}, FOLDER / "laughs.bin")
    with zipfile.ZipFile(FOLDER / "hostile_deep.bin", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 20000 + b"a" * 19999 + b".")
    torch.save({"a": torch.ones(2, dtype=torch.complex128)}, FOLDER / "hostile_type.bin")
    torch.save({"a": torch.ones(2, dtype=torch.complex128)}, FOLDER / "hostile_type_legacy.bin",
               **legacy)
    torch.save({"a\x1b[31m\nb": torch.ones(2, dtype=torch.complex128)},
               FOLDER / "hostile_name.bin")
    torch.save({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
               FOLDER / "hostile_quantized.bin")
    torch.save({"a": torch.ones(1).expand(1 << 20, 1 << 20)}, FOLDER / "hostile_expanded.bin")
    conjugated = torch.ones(2, dtype=torch.complex64).conj()
    torch.save({"a": conjugated}, FOLDER / "hostile_conjugated.bin")
    torch.save({"a": conjugated.imag}, FOLDER / "hostile_negated.bin")
    with zipfile.ZipFile(FOLDER / "nested_p2.bin") as archive, \
            zipfile.ZipFile(FOLDER / "hostile_short.bin", "w", zipfile.ZIP_STORED) as short:
        for name in archive.namelist():
            data = archive.read(name)
            short.writestr(name, data[:-8] if name.endswith("/data/1") else data)
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(FOLDER / "hostile_script.bin"))
    with zipfile.ZipFile(FOLDER / "hostile_compressed.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (1 << 24))

    expected = {}
    for name, tensor in {**state, **new}.items():
        tensor = tensor.detach().contiguous().clone()
        expected[name] = tensor
    save_file(expected, FOLDER / "expected.safetensors", metadata={"fixture_version": VERSION})
    print(sum(f.stat().st_size for f in FOLDER.iterdir()), "bytes")


if __name__ == "__main__":
    main()
