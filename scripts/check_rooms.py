#!/usr/bin/env python3
"""Checks which folder includes what, and the other rules that no compiler knows.

The rooms and their order are those of CONTRIBUTING.md. Prints each violation as file:line and
ends with 1 if there is one. --self-test plants one violation of every rule and looks for it.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Lowest first. A room includes itself and the rooms before it.
ORDER = ["core", "config", "io", "tokenizers", "convert", "pim", "report", "kernels", "nn",
         "compress", "noise", "dist", "models", "data", "eval", "train", "bench", "stages"]
# Rooms that see less than the order allows.
SEES = {"io": {"core", "config"}, "tokenizers": {"core", "config", "io"},
        "pim": {"core", "config"}, "report": {"core", "config", "pim"}}
# The rooms that may include more of the estimator than the form of a workload.
SEES_PIM = {"pim", "report", "bench", "stages"}
PIM_HEADER = re.compile(r"src/pim/workload[a-z_]*\.h$")
TORCH_FREE = {"core", "config", "io", "tokenizers", "convert", "pim", "report"}
# Rooms at the edge of the graph: their types live in a namespace of the room's name.
OWN_NAMESPACE = {"tokenizers", "pim", "report"}

CODE = {".h", ".hpp", ".cuh", ".c", ".cc", ".cpp", ".cu"}
HEADERS = {".h", ".hpp", ".cuh"}
TORCH_INCLUDE = re.compile(r"(torch|ATen|c10|caffe2)/")
WHOLE_TORCH = {"torch/torch.h", "torch/all.h", "torch/extension.h"}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
MAX_MAIN_LINES = 40  # exclusive
MAX_FILE_BYTES = 2_000_000
NOT_OURS = {".git", "build", "third_party", ".venv-dev", "runs"}


def list_files(root):
    """Everything git tracks or would track; without git, everything but what is ignored."""
    if (root / ".git").exists():
        out = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others",
                              "--exclude-standard"], check=True, capture_output=True).stdout
        names = {name for name in out.decode().split("\0") if name}
        return sorted(name for name in names if (root / name).is_file())
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        names += [(Path(folder) / name).relative_to(root).as_posix() for name in files]
    return sorted(names)


def room_of(path):
    """The room of a file; "top" if it may include everything; None if no rule applies to it."""
    if path.startswith("tools/convert/"):
        return "convert"
    if path.endswith("_main.cpp") or path.startswith("tools/"):
        return "top"
    parts = path.split("/")
    name = parts[1] if parts[0] == "src" and len(parts) > 2 else parts[0]
    return name if name in ORDER and len(parts) > 1 else None


TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|'
    r"#[^\n]*(?:\\\n[^\n]*)*|[A-Za-z_][\w:]*|<[^<>;{}()]*>|[{};()]|\n", re.DOTALL)


def defined_types(text):
    """[(line, namespace, name)] of the types that a file defines in namespaces with a name.

    Reads tokens, not C++: enough for files that clang-format has laid out.
    """
    found, scopes, statement = [], [], []
    line, depth = 1, 0
    for token in TOKEN.finditer(text):
        word = token.group()
        at = line
        line += word.count("\n")
        if word == "(" or word == ")":
            depth += 1 if word == "(" else -1
        if depth or word[0] in "/\"'#<()\n" or word.startswith('R"'):
            continue
        if word == "{":
            kind, name = scope_of(statement)
            if kind == "type" and all(scope[0] == "namespace" and scope[1] for scope in scopes):
                found.append((at, "::".join(scope[1] for scope in scopes), name))
            scopes.append((kind, name))
            statement = []
        elif word == "}":
            scopes.pop()
            statement = []
        elif word == ";":
            statement = []
        else:
            statement.append(word)
    return found


def scope_of(statement):
    """What the words before a brace open: ("namespace", name), ("type", name) or ("other", "")."""
    if "namespace" in statement:
        return "namespace", statement[-1] if statement[-1] != "namespace" else ""
    words = [word for word in statement if word not in ("template", "typename", "alignas")]
    if words and words[0] in ("class", "struct", "union", "enum"):
        names = [word for word in words[1:] if word not in ("class", "struct", "final")]
        # A name with :: is a nested type's, whose outer type is counted.
        if names and "::" not in names[0].rstrip(":"):
            return "type", names[0].rstrip(":")
    return "other", ""


class Checker:
    def __init__(self, root):
        self.root = root
        self.files = list_files(root)
        self.violations = []
        self.includes = {name: self.read_includes(name) for name in self.files
                         if Path(name).suffix in CODE}

    def report(self, path, line, text):
        self.violations.append(f"{path}:{line}: {text}")

    def read(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def read_includes(self, path):
        """[(line, what is written, the project's file or None)]"""
        found = []
        known = set(self.files)
        for number, line in enumerate(self.read(path).splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            name = match.group(2)
            beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
            places = [name, f"src/{name}", f"tests/{name}"]
            if match.group(1) == '"':
                places.insert(0, beside)
            target = next((place for place in places if place in known), None)
            if target is None and match.group(1) == '"' and name.split("/")[0] in ORDER:
                target = f"src/{name}"  # not written yet, but its room is known
            found.append((number, name, target))
        return found

    def check_order(self, path):
        room = room_of(path)
        if room is None or room == "top":
            return
        allowed = SEES.get(room, set(ORDER[:ORDER.index(room)])) | {room}
        for line, name, target in self.includes[path]:
            other = room_of(target) if target else None
            if other is None:
                continue
            if other not in allowed:
                self.report(path, line, f"room {room} may not include room {other} ({name})")
            elif other == "pim" and room not in SEES_PIM and \
                    not PIM_HEADER.search(target):
                self.report(path, line, f"room {room} may include only pim/workload*.h ({name})")

    def torch_through(self, path, seen):
        """The chain of includes by which a project file reaches LibTorch, or None."""
        if path in seen:
            return None
        seen.add(path)
        for _, name, target in self.includes.get(path, []):
            if target is None and TORCH_INCLUDE.match(name):
                return [path, name]
        for _, _, target in self.includes.get(path, []):
            chain = self.torch_through(target, seen) if target else None
            if chain:
                return [path] + chain
        return None

    def check_torch(self, path):
        free = room_of(path) in TORCH_FREE
        for line, name, target in self.includes[path]:
            if name in WHOLE_TORCH:
                self.report(path, line, f"<{name}> is everything: include the narrow headers")
            elif free and target is None and TORCH_INCLUDE.match(name):
                self.report(path, line, f"torch-free room includes LibTorch (<{name}>)")
            elif free and target:
                chain = self.torch_through(target, set())
                if chain:
                    self.report(path, line, "torch-free room reaches LibTorch: " +
                                " -> ".join(chain))

    def check_json(self, path):
        if Path(path).suffix in HEADERS:
            for line, name, _ in self.includes[path]:
                if name == "nlohmann/json.hpp" and not path.startswith("tests/"):
                    self.report(path, line, "header includes nlohmann/json.hpp: use json_fwd.hpp")

    def check_main(self, path):
        num_lines = len(self.read(path).splitlines())
        if path.endswith("_main.cpp") and num_lines >= MAX_MAIN_LINES and \
                not path.startswith("tests/"):
            self.report(path, num_lines, f"a main has under {MAX_MAIN_LINES} lines: move the rest "
                        "to a library")

    def check_tests_built(self):
        built = set()
        for path in self.files:
            if os.path.basename(path) != "CMakeLists.txt":
                continue
            folder = os.path.dirname(path)
            for line in self.read(path).splitlines():
                for name in re.findall(r"[^\s()\"]+_test\.cpp", line.split("#")[0]):
                    name, from_top = re.subn(r"^\$\{(PROJECT|CMAKE)_SOURCE_DIR\}/", "", name)
                    name = re.sub(r"^\$\{CMAKE_CURRENT_(SOURCE|LIST)_DIR\}/", "", name)
                    built.add(os.path.normpath(name if from_top else os.path.join(folder, name)))
        for path in self.files:
            if path.endswith("_test.cpp") and path not in built:
                self.report(path, 1, "test is in no CMakeLists.txt, so nothing runs it")

    def check_types(self):
        """One type name may be defined once in a namespace: the linker silently keeps one of two
        definitions."""
        first = {}
        for path in sorted(self.includes):
            room = room_of(path)
            if room is None or path.startswith("tests/"):
                continue
            for line, namespace, name in defined_types(self.read(path)):
                if room in OWN_NAMESPACE and namespace.split("::")[:2] != ["lowbank", room]:
                    self.report(path, line, f"type {namespace}::{name} of room {room} belongs in "
                                f"namespace lowbank::{room}")
                other = first.setdefault((namespace, name), (path, line))
                if other != (path, line):
                    self.report(path, line, f"type {namespace}::{name} is also defined in "
                                f"{other[0]}:{other[1]}")

    def check_sizes(self):
        for path in self.files:
            size = (self.root / path).stat().st_size
            if size > MAX_FILE_BYTES:
                self.report(path, 1, f"file has {size} bytes, more than {MAX_FILE_BYTES}")

    def run(self):
        for path in self.includes:
            self.check_order(path)
            self.check_torch(path)
            self.check_json(path)
            self.check_main(path)
        self.check_tests_built()
        self.check_types()
        self.check_sizes()
        return self.violations


# What --self-test plants: path -> (text, the line and words of the violation, or None if clean).
PLANTED = {
    "src/core/error.h": ("#pragma once\n", None),
    "src/core/bad_order.cpp": ('#include "core/error.h"\n#include "config/field.h"\n',
                               (2, "room core may not include room config")),
    "src/config/bad_later.cpp": ('#include "nn/not_yet_written.h"\n',
                                 (1, "room config may not include room nn")),
    "src/config/field.h": ("#pragma once\n", None),
    "extra/tensors.h": ("#pragma once\n#include <ATen/core/Tensor.h>\n", None),
    "src/io/checkpoint_meta.h": ("#pragma once\n", None),
    "src/io/good_meta.cpp": ('#include "io/checkpoint_meta.h"\n', None),
    "src/io/bad_torch.cpp": ("\n#include <c10/util/Exception.h>\n",
                             (2, "torch-free room includes LibTorch")),
    "src/io/indirect.h": ('#include "../../extra/tensors.h"\n', (1, "torch-free room reaches LibTorch")),
    "src/io/bad_chain.cpp": ('#  include "indirect.h"\n',
                             (1, "src/io/indirect.h -> extra/tensors.h -> ATen")),
    "src/io/bad_report.cpp": ('#include "report/table.h"\n',
                              (1, "room io may not include room report")),
    "src/pim/workload.h": ("#pragma once\n", None),
    "src/pim/estimator.h": ("#pragma once\n", None),
    "src/pim/bad_io.cpp": ('#include "../io/checkpoint_meta.h"\n',
                           (1, "room pim may not include room io")),
    "src/report/table.h": ('#include "pim/estimator.h"\n', None),
    "src/report/bad_json.h": ("#include <nlohmann/json_fwd.hpp>\n#include <nlohmann/json.hpp>\n",
                              (2, "header includes nlohmann/json.hpp")),
    "src/report/good_json.cpp": ("#include <nlohmann/json.hpp>\n", None),
    "src/kernels/bad_nn.cu": ("#include <nn/linear.h>\n",
                              (1, "room kernels may not include room nn")),
    "src/nn/linear.h": ("#include <torch/types.h>\n", None),
    "src/nn/bad_whole.cpp": ("#include <torch/torch.h>\n", (1, "include the narrow headers")),
    "src/nn/bad_models.cpp": ('#include "models/llama.h"\n',
                              (1, "room nn may not include room models")),
    "src/report/bad_twice.h": ("namespace lowbank::report {\nstruct Row {\n  int a = 0;\n};\n}\n",
                               (2, "type lowbank::report::Row is also defined in "
                                   "src/report/a_row.h:2")),
    "src/report/a_row.h": ("namespace lowbank::report {\nclass Row final : public Base {\n};\n}\n",
                           None),
    "src/report/good_hidden.cpp": ("namespace lowbank::report {\nnamespace {\nstruct Row {};\n}\n}\n",
                                   None),
    "src/tokenizers/bad_namespace.h": ("namespace lowbank {\nclass Row;\nenum class Kind { kA };\n}\n",
                                       (3, "belongs in namespace lowbank::tokenizers")),
    "models/llama.h": ('#include "nn/linear.h"\n#include "pim/workload.h"\n', None),
    "models/bad_pim.cpp": ('#include "pim/estimator.h"\n', (1, "only pim/workload*.h")),
    "data/bad_train.cpp": ('#include "train/trainer.h"\n',
                           (1, "room data may not include room train")),
    "train/trainer.h": ('#include "eval/perplexity.h"\n#include "models/llama.h"\n', None),
    "eval/perplexity.h": ("#pragma once\n", None),
    "train/good_main.cpp": ('#include "pim/estimator.h"\n#include "train/trainer.h"\n', None),
    "tools/bad_long_main.cpp": ("//\n" * 40, (40, "a main has under 40 lines")),
    "tools/good_long_main.cpp": ("//\n" * 39, None),
    "tests/bad_whole_test.cpp": ("#include <torch/extension.h>\n",
                                 (1, "include the narrow headers")),
    "tests/CMakeLists.txt": ("t(bad_whole_test.cpp unit/good_test.cpp  # unit/bad_built_test.cpp\n"
                             "${PROJECT_SOURCE_DIR}/src/core/good_test.cpp)\n", None),
    "tests/unit/good_test.cpp": ("\n", None),
    "tests/unit/bad_built_test.cpp": ("\n", (1, "test is in no CMakeLists.txt")),
    "src/core/good_test.cpp": ("\n", None),
    "data/samples/bad_size.bin": ("x" * (MAX_FILE_BYTES + 1), (1, "file has 2000001 bytes")),
    "build/ignored_test.cpp": ("#include <torch/torch.h>\n", None),
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        for path, (text, _) in PLANTED.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_text(text)
        found = Checker(Path(folder)).run()
    wanted = {path: rule for path, (_, rule) in PLANTED.items() if rule}
    failures = [f"not found: {path}:{line}: {words}" for path, (line, words) in wanted.items()
                if not any(text.startswith(f"{path}:{line}: ") and words in text
                           for text in found)]
    failures += [f"found without cause: {text}" for text in found
                 if text.split(":")[0] not in wanted]
    if len(found) != len(wanted):
        failures.append(f"planted {len(wanted)} violations, found {len(found)}")
    print("\n".join(failures) or f"check_rooms: all {len(wanted)} planted violations were found")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check the checker")
    parser.add_argument("root", nargs="?", type=Path, help="default: the tree of this script")
    args = parser.parse_args()
    if args.self_test:
        return self_test()
    violations = Checker(args.root or Path(__file__).resolve().parent.parent).run()
    print("\n".join(violations) or "check_rooms: no violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
