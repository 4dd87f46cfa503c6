#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <sys/wait.h>

#include <gmock/gmock.h>

#include "core/error.h"
#include "io/tensor_archive.h"
#include "temp_folder.h"

// Files that lie about sizes, or that are made so that each of their bytes costs much memory: they
// are refused, and the memory it took is within a small multiple of the file.

namespace lowbank {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCountsMemory = false;  // freed memory stays, and every byte has a shadow
#else
constexpr bool kCountsMemory = true;
#endif

constexpr std::size_t kFloodBytes = std::size_t{8} << 20;
// Two million objects of a pickle (64 bytes each), and what a process needs anyway.
constexpr std::int64_t kFixedBytes = std::int64_t{192} << 20;
// A value of parsed JSON takes 16 bytes and its array's growth as much again; the shortest value
// with its comma takes two.
constexpr std::int64_t kBytesForOne = 24;
constexpr std::uint64_t kHugeCount = std::uint64_t{1} << 60;

template <class T>
std::string raw_value(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string flood_of(const std::string& part) {
  std::string out;
  out.reserve(kFloodBytes + part.size());
  while (out.size() < kFloodBytes) out += part;
  return out;
}

// The stream of torch before 1.6, up to its state dict: magic number, protocol 1001, no facts.
const std::string kLegacyStart(
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.", 25);

std::string safetensors_of(const std::string& header) {
  return raw_value(std::uint64_t{header.size()}) + header;
}

std::string gguf_of(std::uint64_t num_tensors, std::uint64_t num_keys, const std::string& rest) {
  return "GGUF" + raw_value(std::uint32_t{3}) + raw_value(num_tensors) + raw_value(num_keys) + rest;
}
std::string gguf_text(const std::string& text) {
  return raw_value(std::uint64_t{text.size()}) + text;
}
std::string gguf_key(std::uint32_t type) { return gguf_text("k") + raw_value(type); }

// Ten bytes of pickle for each further name of a tensor that is there once.
std::string names_of_one_tensor() {
  std::string bytes = kLegacyStart +
                      "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\n"
                      "S'0'\nS'cpu'\nI1\ntQI0\n(I1\nt(I1\nt\x89NtRp9\n0}(";
  for (int i = 100'000; bytes.size() < kFloodBytes; ++i) {
    bytes += "U\x06" + std::to_string(i) + "h\x09";
  }
  return bytes + "u.](S'0'\ne." + raw_value(std::uint64_t{1}) + raw_value(1.0f);
}

// A key that may wrap a state dict, again and again, over a large dict without tensors.
std::string wrappers_of_one_dict() {
  std::string bytes = kLegacyStart + "}p9\n(";
  for (int i = 0; i < 200'000; ++i) bytes += "K\x01K\x02";
  bytes += "u0U\x05modelp8\n0}(";
  for (int i = 0; i < 200'000; ++i) bytes += "h\x08h\x09";
  return bytes + "u.].";
}

std::string many_small_keys() {
  std::string rest;
  std::uint64_t count = 0;
  for (; rest.size() < kFloodBytes; ++count) {
    rest += gguf_text(std::to_string(count)) + raw_value(std::uint32_t{0}) + "x";
  }
  return gguf_of(1, count, rest);
}

// A zip64 record that claims 2^60 entries.
std::string zip_of_many_entries() {
  std::string record = "PK\x06\x06" + std::string(52, '\0');
  record.replace(32, 8, raw_value(kHugeCount));
  return "PK\x03\x04" + record + "PK\x06\x07" + std::string(4, '\0') + raw_value(std::uint64_t{4}) +
         std::string(4, '\0') + "PK\x05\x06" + std::string(16, '\xFF') + std::string(2, '\0');
}

std::string llama2c_of_huge_shape() {
  std::string header = "24ka" + raw_value(std::int32_t{1});
  for (const std::int32_t n : {1 << 20, 1 << 22, 1 << 16, 2, 2, 1 << 26, 1 << 26}) {
    header += raw_value(n);
  }
  return header + std::string(256, '\0');
}

std::int64_t peak_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

struct Outcome {
  std::string error;
  std::int64_t extra_bytes = 0;
};

// In a process of its own, whose peak is then the reader's. The answer comes in a file.
Outcome open_apart(const std::string& path, const std::string& answer) {
  const pid_t child = fork();
  if (child == 0) {
    const std::int64_t before = peak_kib();
    std::string error = "was opened";
    try {
      open_archive(path);
    } catch (const IoError& e) {
      error = e.what();
    } catch (const std::exception& e) {
      error = std::string("not an IoError: ") + e.what();
    }
    std::ofstream(answer) << peak_kib() - before << '\n' << error;
    std::_Exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) return {.error = "crashed"};
  Outcome outcome;
  std::ifstream in(answer);
  in >> outcome.extra_bytes >> std::ws;
  outcome.extra_bytes *= 1024;
  outcome.error.assign(std::istreambuf_iterator<char>(in), {});
  return outcome;
}

struct HostileFile {
  const char* name;
  const char* error;
  std::function<std::string()> make;
};

void PrintTo(const HostileFile& file, std::ostream* out) { *out << file.name; }

class HostileFiles : public ::testing::TestWithParam<HostileFile> {};

TEST_P(HostileFiles, AreRefusedWithoutMuchMemory) {
  const testing::TempFolder folder;
  const std::string bytes = GetParam().make();
  const auto outcome = open_apart(folder.file("f.bin", bytes), folder.path("answer"));
  EXPECT_TRUE(outcome.error.starts_with(folder.path("f.bin") + ": ")) << outcome.error;
  EXPECT_THAT(outcome.error, ::testing::HasSubstr(GetParam().error));
  EXPECT_EQ(outcome.error.find('\n'), std::string::npos);
  if (kCountsMemory) {
    EXPECT_LT(outcome.extra_bytes,
              kFixedBytes + kBytesForOne * static_cast<std::int64_t>(bytes.size()));
  }
}

std::string hostile_name(const ::testing::TestParamInfo<HostileFile>& test) {
  return test.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Pickle, HostileFiles,
    ::testing::Values(
        HostileFile{"Lists", "makes more than 2097152 objects",
                    [] { return kLegacyStart + flood_of("]"); }},
        HostileFile{"DroppedLists", "makes more than 2097152 objects",
                    [] { return kLegacyStart + flood_of("]0"); }},
        HostileFile{"Marks", "makes more than 2097152 objects",
                    [] { return kLegacyStart + flood_of("("); }},
        HostileFile{"KeptNones", "makes more than 2097152 objects",
                    [] { return kLegacyStart + flood_of("N\x94"); }},
        HostileFile{"Globals", "is cut off",
                    [] { return kLegacyStart + flood_of("ctorch\nSize\n0"); }},
        HostileFile{"LongText", "1152921504606846976 bytes are wanted, 2 are left",
                    [] { return kLegacyStart + "\x8d" + raw_value(kHugeCount) + "x."; }},
        HostileFile{"LongNumber", "2147483647 bytes are wanted, 1 are left",
                    [] { return kLegacyStart + "\x8b\xff\xff\xff\x7f."; }},
        HostileFile{"NamesOfOneTensor", "holds more than 262144 tensors", names_of_one_tensor},
        HostileFile{"WrappersOfOneDict", "its keys: model, model", wrappers_of_one_dict}),
    hostile_name);

INSTANTIATE_TEST_SUITE_P(
    Safetensors, HostileFiles,
    ::testing::Values(
        HostileFile{"LongHeader", "a header of 99000000 bytes, the file has 10",
                    [] { return raw_value(std::uint64_t{99'000'000}) + "{}"; }},
        HostileFile{"OverflowingHeader", "a header of 18446744073709551615 bytes",
                    [] { return raw_value(~std::uint64_t{0}) + "{}"; }},
        HostileFile{"OverflowingShape", "is larger than any memory",
                    [] {
                      return safetensors_of(R"({"a":{"dtype":"F32","shape":)"
                                            R"([4294967296,4294967296],"data_offsets":[0,0]}})");
                    }},
        HostileFile{"DeepHeader", "nested deeper than 64",
                    [] { return safetensors_of(R"({"a":)" + flood_of("[")); }},
        HostileFile{"FlatHeader", "'a': must be a JSON object; got [[",
                    [] { return safetensors_of(R"({"a":[)" + flood_of("[],") + "[]]}"); }},
        HostileFile{"LongShape", "at most 64 lengths",
                    [] {
                      return safetensors_of(R"({"a":{"dtype":"F32","shape":[)" + flood_of("1,") +
                                            R"(1],"data_offsets":[0,4]}})");
                    }}),
    hostile_name);

INSTANTIATE_TEST_SUITE_P(
    Gguf, HostileFiles,
    ::testing::Values(
        HostileFile{"ManyTensors", "1152921504606846976 tensors, which 0 bytes cannot hold",
                    [] { return gguf_of(kHugeCount, 0, ""); }},
        HostileFile{"ManyKeys", "1152921504606846976 keys",
                    [] { return gguf_of(0, kHugeCount, ""); }},
        HostileFile{"LongKey", "a key at byte 24 has 1152921504606846976 bytes",
                    [] { return gguf_of(0, 1, raw_value(kHugeCount) + std::string(20, 'x')); }},
        HostileFile{"LongText", "takes 1152921504606846976 bytes, 0 are left",
                    [] { return gguf_of(0, 1, gguf_key(8) + raw_value(kHugeCount)); }},
        HostileFile{"LongArray", "claims 4611686018427387904 elements",
                    [] {
                      return gguf_of(0, 1,
                                     gguf_key(9) + raw_value(std::uint32_t{6}) +
                                         raw_value(std::uint64_t{1} << 62));
                    }},
        HostileFile{"DeepArrays", "nests arrays more than 4 deep",
                    [] {
                      return gguf_of(0, 1,
                                     gguf_key(9) + flood_of(raw_value(std::uint32_t{9}) +
                                                            raw_value(std::uint64_t{1})));
                    }},
        HostileFile{"ManySmallKeys", "is cut off", many_small_keys},
        HostileFile{"OverflowingShape", "has the impossible shape",
                    [] {
                      const auto length = raw_value(std::uint64_t{1} << 32);
                      return gguf_of(1, 0,
                                     gguf_text("t") + raw_value(std::uint32_t{2}) + length +
                                         length + raw_value(std::uint32_t{0}) +
                                         raw_value(std::uint64_t{0}));
                    }}),
    hostile_name);

INSTANTIATE_TEST_SUITE_P(
    Others, HostileFiles,
    ::testing::Values(
        HostileFile{"ZipOfManyEntries", "claims 1152921504606846976 entries", zip_of_many_entries},
        HostileFile{"Llama2cOfHugeShape", "truncated: has 292 bytes", llama2c_of_huge_shape}),
    hostile_name);

}  // namespace
}  // namespace lowbank
