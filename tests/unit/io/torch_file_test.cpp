#include "io/torch_file.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <random>

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/text.h"
#include "error_text.h"
#include "io/pickle.h"
#include "io/safetensors.h"
#include "io/zip_file.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

constexpr const char* kTorchFixtureVersion = "1";
const std::string kTorchFixtures = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/torch_file/";

class TorchFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    expected_ = SafetensorsFile::open(kTorchFixtures + "expected.safetensors");
    ASSERT_EQ(expected_->metadata().at("fixture_version"), kTorchFixtureVersion)
        << "run tests/parity/make_torch_file_fixture.py";
  }
  void expect_tensors(const std::string& name) {
    const auto file = TorchFile::open(kTorchFixtures + name);
    for (const auto& entry : file->entries()) {
      const auto* const want = expected_->find(entry.name);
      ASSERT_NE(want, nullptr) << entry.name;
      EXPECT_EQ(entry.type, want->type) << entry.name;
      EXPECT_EQ(entry.shape, want->shape) << entry.name;
      std::vector<std::byte> scratch;
      EXPECT_TRUE(std::ranges::equal(file->bytes(entry, scratch), expected_->bytes(*want)))
          << name << ": " << entry.name;
    }
  }
  std::string refusal(const std::string& name) {
    return error_text<IoError>([&] { TorchFile::open(kTorchFixtures + name); });
  }
  std::string refusal_of_bytes(const std::string& bytes) {
    const auto path = folder_.file("f.bin", bytes);
    return error_text<IoError>([&] { TorchFile::open(path); });
  }

  testing::TempFolder folder_;
  std::shared_ptr<const SafetensorsFile> expected_;
};

TEST_F(TorchFileTest, EveryTypeAndViewOfTheZipFormHasItsValues) {
  expect_tensors("zip.bin");
  EXPECT_EQ(TorchFile::open(kTorchFixtures + "zip.bin")->entries().size(),
            expected_->entries().size());
  expect_tensors("ordered.bin");
  EXPECT_EQ(TorchFile::open(kTorchFixtures + "ordered.bin")->entries().size(), 21u);
}

TEST_F(TorchFileTest, EveryTypeAndViewOfTheLegacyFormHasItsValues) {
  expect_tensors("legacy.bin");
  EXPECT_EQ(TorchFile::open(kTorchFixtures + "legacy.bin")->entries().size(), 21u);
}

TEST_F(TorchFileTest, AStateDictInsideATrainingCheckpointIsFoundWhateverTheProtocol) {
  for (const auto* name : {"nested_p2.bin", "nested_p3.bin", "nested_p4.bin", "nested_p5.bin",
                           "nested_legacy.bin", "nested_beside_tensor.bin", "nested_python2.bin"}) {
    const auto file = open_archive(kTorchFixtures + name);
    ASSERT_EQ(file->entries().size(), 3u) << name;
    std::vector<std::byte> scratch;
    const auto a = file->bytes(*file->find("a.weight"), scratch);
    const auto b = file->bytes(*file->find("b.weight"), scratch);
    EXPECT_EQ(a.data(), b.data()) << "tied tensors share their storage";
    EXPECT_EQ(a.size(), 24u);
    std::int64_t big = 0;
    std::memcpy(&big, file->bytes(*file->find("big"), scratch).data(), sizeof big);
    EXPECT_EQ(big, std::int64_t{1} << 62);
  }
}

TEST_F(TorchFileTest, WeightsAreFoundBesideWhateverATrainingScriptKeeps) {
  expect_tensors("training.bin");
  EXPECT_EQ(TorchFile::open(kTorchFixtures + "training.bin")->entries().size(), 2u);
}

TEST_F(TorchFileTest, APickleThatCallsSomethingIsRefusedAndNothingRuns) {
  std::filesystem::remove("/tmp/lowbank_pickle_was_run");
  for (const auto* name : {"hostile_system.bin", "hostile_system_legacy.bin"}) {
    EXPECT_THAT(refusal(name), ::testing::AllOf(HasSubstr("asks for posix.system"),
                                                HasSubstr("nothing was run"), HasSubstr("byte ")));
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/lowbank_pickle_was_run"));
}

TEST_F(TorchFileTest, SharedObjectsStaySharedAndDeepOnesStayFlat) {
  EXPECT_EQ(TorchFile::open(kTorchFixtures + "laughs.bin")->entries().size(), 1u);
  EXPECT_THAT(refusal("hostile_deep.bin"), HasSubstr("holds a list, not a state dict"));
}

TEST_F(TorchFileTest, WhatIsNoStateDictIsNamed) {
  EXPECT_THAT(refusal("no_tensors.bin"), HasSubstr("its keys: a, b"));
  EXPECT_THAT(refusal("list.bin"), HasSubstr("holds a list, not a state dict"));
  EXPECT_THAT(refusal("hostile_type.bin"), HasSubstr("'a' is of type ComplexDoubleStorage"));
  EXPECT_THAT(refusal("hostile_type_legacy.bin"), HasSubstr("is a ComplexDoubleStorage"));
  EXPECT_THAT(refusal("hostile_name.bin"), HasSubstr("tensor 'a?[31m?b' is of type"));
  EXPECT_THAT(refusal("hostile_short.bin"), HasSubstr("has 0 bytes, its tensors want 1 elements"));
  EXPECT_THAT(refusal("hostile_quantized.bin"), HasSubstr("_rebuild_qtensor"));
  for (const auto* name : {"hostile_conjugated.bin", "hostile_negated.bin"}) {
    EXPECT_THAT(refusal(name), HasSubstr("'a' is stored conjugated or negated"));
  }
  EXPECT_THAT(refusal("hostile_script.bin"), HasSubstr("is compressed"));  // a TorchScript program
  EXPECT_THAT(refusal("hostile_expanded.bin"), HasSubstr("more than the whole file"));
  EXPECT_THAT(refusal("hostile_compressed.bin"), HasSubstr("'archive/data.pkl' is compressed"));
  EXPECT_THAT(refusal_of_bytes("hello"), HasSubstr("no file of torch.save"));
  const std::string tar = "sys_info" + std::string(249, '\0') + "ustar  " + std::string(248, '\0');
  EXPECT_THAT(error_text<IoError>([&] { open_archive(folder_.file("f.tar", tar)); }),
              HasSubstr("is a tar archive, as torch before 0.2"));
}

TEST_F(TorchFileTest, AFileCutAnywhereIsRefused) {
  for (const auto* name : {"nested_p2.bin", "nested_legacy.bin"}) {
    const std::string whole = read_bytes(kTorchFixtures + name);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_NE(refusal_of_bytes(whole.substr(0, size)), "no error") << name << " " << size;
    }
  }
}

// Not a search for crashes (fuzz/ does that): every single byte of the headers matters or is
// harmless, and none leads out of the file.
TEST_F(TorchFileTest, ADamagedByteIsAnErrorOrAnotherValueAndNothingElse) {
  for (const auto* name : {"nested_p2.bin", "legacy.bin"}) {
    const std::string whole = read_bytes(kTorchFixtures + name);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
      const auto path = folder_.file("f.bin", bytes);
      try {
        const auto file = TorchFile::open(path);
        std::vector<std::byte> scratch;
        for (const auto& entry : file->entries()) {
          EXPECT_EQ(file->bytes(entry, scratch).size(), entry.size_bytes);
        }
      } catch (const IoError&) {
      }
    }
  }
}

// Files of the legacy form with one storage, of four floats 0, 1, 2, 3; for what torch no longer
// writes, or never did.
class LegacyStreamTest : public TorchFileTest {
 protected:
  void SetUp() override {}
  std::string file(const std::string& state_dict) {
    const std::string magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const std::array<float, 4> values = {0, 1, 2, 3};
    std::string bytes = magic + "\x80\x02M\xE9\x03.";  // protocol 1001
    bytes += "\x80\x02}" + text("little_endian") + "\x88s.";
    bytes += state_dict + "](" + text("0") + "e.";  // storage keys
    bytes += std::string("\4\0\0\0\0\0\0\0", 8);
    bytes.append(reinterpret_cast<const char*>(values.data()), sizeof values);
    return folder_.file("f.bin", bytes);
  }
  static std::string text(const std::string& value) {
    return std::string("U") + static_cast<char>(value.size()) + value;
  }
  static std::string whole(std::int64_t value) {
    std::string bytes = "\x8A\x08";
    return bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static std::string tuple(const std::vector<std::int64_t>& values) {
    std::string bytes = "(";
    for (const auto value : values) bytes += whole(value);
    return bytes + "t";
  }
  /// Program that makes one tensor; `view` makes the last part of the storage's id.
  static std::string tensor(std::int64_t offset, const std::vector<std::int64_t>& shape,
                            const std::vector<std::int64_t>& strides,
                            const std::string& view = "N") {
    return "ctorch._utils\n_rebuild_tensor\n((" + text("storage") + "ctorch\nFloatStorage\n" +
           text("0") + text("cpu") + "K\x04" + view + "tQ" + whole(offset) + tuple(shape) +
           tuple(strides) + "tR";
  }
  std::vector<float> values_of_a(const std::string& path) {
    const auto opened = TorchFile::open(path);
    std::vector<std::byte> scratch;
    const auto bytes = opened->bytes(*opened->find("a"), scratch);
    std::vector<float> values(bytes.size() / sizeof(float));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
};

TEST_F(LegacyStreamTest, AStorageThatIsAViewOfAnotherBeginsWhereItSays) {
  const auto with = [](const std::string& view) {
    return "}" + text("a") + tensor(1, {1}, {1}, view) + "s.";
  };
  EXPECT_EQ(values_of_a(file(with("N"))), std::vector<float>{1});
  EXPECT_EQ(values_of_a(file(with("(U\x01vK\x02K\x02t"))), std::vector<float>{3});
  EXPECT_THAT(error_text<IoError>([&] { TorchFile::open(file(with("(U\x01vK\x03K\x02t"))); }),
              HasSubstr("reaches to element 4"));
  EXPECT_THAT(
      error_text<IoError>([&] { TorchFile::open(file(with("(U\x01vJ\xFF\xFF\xFF\xFFK\x02t"))); }),
      HasSubstr("storage '0' belongs to no tensor"));
}

TEST_F(LegacyStreamTest, LengthsAndStridesThatAreNeverUsedMayBeOfAnySize) {
  const auto with = [](const std::vector<std::int64_t>& shape,
                       const std::vector<std::int64_t>& strides) {
    return "}" + text("a") + tensor(0, shape, strides) + "s.";
  };
  // Whether these overflow is seen by UBSan, in fuzz/ and the asan preset.
  EXPECT_TRUE(values_of_a(file(with({0, std::int64_t{1} << 62, 4}, {1, 1, 1}))).empty());
  EXPECT_EQ(values_of_a(file(with({2, 1}, {2, INT64_MAX}))), (std::vector<float>{0, 2}));
  EXPECT_THAT(error_text<IoError>([&] {
                TorchFile::open(file(with({2, 2}, {2, INT64_MAX})));
              }),
              HasSubstr("reaches to element"));
}

TEST_F(LegacyStreamTest, AKeyThatRepeatsIsLookedAtOnce) {
  // 100,000 values that all are one dict of 100,000 items: 10^10 steps if each were looked through.
  std::string state_dict = "}q\x01(";
  for (int i = 0; i < 100'000; ++i) state_dict += "K\x01N";
  state_dict += "u0}(";
  for (int i = 0; i < 100'000; ++i) state_dict += text("model") + "h\x01";
  // A list is not looked into, but makes the storage known.
  const auto path = file(state_dict + text("other") + "(" + tensor(0, {4}, {1}) + "lu.");
  EXPECT_THAT(error_text<IoError>([&] { TorchFile::open(path); }),
              HasSubstr("has no tensors at its top nor under state_dict, model or module"));
}

TEST_F(LegacyStreamTest, TensorsAreCounted) {
  std::string state_dict = tensor(0, {4}, {1});
  state_dict += std::string("q\1") + "0}(";
  for (int i = 0; i <= 1 << 18; ++i) state_dict += text(std::to_string(i)) + "h\x01";
  EXPECT_THAT(error_text<IoError>([&] { TorchFile::open(file(state_dict + "u.")); }),
              HasSubstr("more than 262144 tensors"));
}

class PickleTest : public ::testing::Test {
 protected:
  std::string refusal(const std::string& text) {
    bytes_ = text;
    return error_text<IoError>([&] { Pickle(std::as_bytes(std::span(bytes_)), "p"); });
  }
  std::string bytes_;
};

TEST_F(PickleTest, ProgramsThatMakeNoSenseAreRefused) {
  EXPECT_THAT(refusal(""), HasSubstr("cut off"));
  EXPECT_THAT(refusal("."), HasSubstr("empty stack"));
  EXPECT_THAT(refusal("(."), HasSubstr("takes a mark"));
  EXPECT_THAT(refusal("\x80\x06N."), HasSubstr("protocol 6"));
  EXPECT_THAT(refusal("h\x05."), HasSubstr("asks for object 5"));
  EXPECT_THAT(refusal("}K\x01K\x02K\x03s."), HasSubstr("puts items into a int"));
  EXPECT_THAT(refusal("}(K\x01u."), HasSubstr("a key without a value"));
  EXPECT_THAT(refusal("K\x01K\x02R."), HasSubstr("calls a int"));
  EXPECT_THAT(refusal("X\xFF\xFF\xFF\xFFzz"), HasSubstr("cut off"));
  EXPECT_THAT(refusal("\x82\x01."), HasSubstr("opcode 0x82"));
  EXPECT_THAT(refusal("cbuiltins\neval\n."), HasSubstr("builtins.eval"));
  EXPECT_THAT(refusal("\x8C\x02os\x8C\x06system\x93."), HasSubstr("os.system"));
  EXPECT_THAT(refusal("cos\x1b[2J\nx\n."), HasSubstr("os?[2J.x"));
  EXPECT_THAT(refusal("ios\nsystem\n(."), HasSubstr("opcode 0x69"));
}

TEST_F(PickleTest, ObjectsAreCounted) {
  EXPECT_THAT(refusal(std::string(3 << 20, ']')), HasSubstr("more than 2097152 objects"));
  EXPECT_THAT(refusal("N" + std::string(3 << 20, '\x94')), HasSubstr("keeps more than 2097152"));
  EXPECT_THAT(refusal("N" + std::string(65 << 20, '2')), HasSubstr("larger than any state dict"));
}

TEST_F(PickleTest, PlainValuesOfOldProtocolsAreRead) {
  bytes_ = "(dS'a'\nI-3\nsVb\nF1.5\nsS\"c\"\nL12L\nsI01\nN\x88s.";
  EXPECT_THAT(refusal(bytes_), HasSubstr("puts items into"));  // one value too many below the pair
  bytes_ = "(dS'a'\nI-3\nsVb\nF1.5\nsS\"c\"\nL12L\ns.";
  const Pickle pickle(std::as_bytes(std::span(bytes_)), "p");
  const auto& items = pickle.root().items;
  ASSERT_EQ(items.size(), 6u);
  EXPECT_EQ(pickle[items[0]].text, "a");
  EXPECT_EQ(pickle[items[1]].whole, -3);
  EXPECT_EQ(pickle[items[3]].real, 1.5);
  EXPECT_EQ(pickle[items[5]].whole, 12);
  EXPECT_EQ(pickle.size_bytes(), bytes_.size());
}

class ZipFileTest : public TorchFileTest {
 protected:
  void SetUp() override { whole_ = read_bytes(kTorchFixtures + "nested_p2.bin"); }
  std::string refusal_with(std::size_t at, const std::string& bytes) {
    std::string changed = whole_;
    changed.replace(at, bytes.size(), bytes);
    const auto file = MappedFile::open(folder_.file("f.zip", changed));
    return error_text<IoError>([&] { ZipFile zip(file); });
  }
  /// Place of the n-th record that begins so.
  std::size_t find(const std::string& signature, int n = 0) const {
    std::size_t at = whole_.find(signature);
    while (n-- > 0) at = whole_.find(signature, at + 1);
    return at;
  }
  const std::string kCentral = "PK\x01\x02", kEnd = "PK\x05\x06", kLocal = "PK\x03\x04";
  std::string whole_;
};

TEST_F(ZipFileTest, EntriesAreViewsOfTheFile) {
  const auto mapped = MappedFile::open(kTorchFixtures + "nested_p2.bin");
  const ZipFile zip(mapped);
  const auto& version = zip.entries().at("nested_p2/version");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(version.data()), version.size()), "3\n");
  EXPECT_GE(version.data(), mapped->bytes().data());
}

TEST_F(ZipFileTest, RecordsThatLieAreNamed) {
  const auto first = find(kCentral), second = find(kCentral, 1);
  EXPECT_THAT(refusal_with(first, "XX"), HasSubstr("directory is damaged"));
  EXPECT_THAT(refusal_with(first + 8, "\x01"), HasSubstr("is encrypted"));
  EXPECT_THAT(refusal_with(first + 10, "\x08"), HasSubstr("is compressed"));
  EXPECT_THAT(refusal_with(first + 20, std::string("\xF0\xFF\xFF\x7F\xF0\xFF\xFF\x7F", 8)),
              HasSubstr("beyond its end"));
  EXPECT_THAT(refusal_with(first + 46, "../nested"), HasSubstr("leads out of the archive"));
  EXPECT_THAT(refusal_with(first + 46, "x"), HasSubstr("another name in its own header"));
  EXPECT_THAT(refusal_with(second + 42, whole_.substr(first + 42, 4)),
              HasSubstr("another name in its own header"));
  EXPECT_THAT(refusal_with(first + 42, std::string("\xFF\xFF\xFF\x7F", 4)),
              HasSubstr("beyond its end"));
  EXPECT_THAT(refusal_with(find(kLocal) + 8, "\x08"), HasSubstr("another size or method"));
  EXPECT_THAT(refusal_with(first + 46, "\x1b"), HasSubstr("no printable UTF-8"));
  EXPECT_THAT(refusal_with(find(kEnd), "XX"), HasSubstr("no directory at its end"));
}

TEST_F(ZipFileTest, EntriesThatOverlapAreRefused) {
  // The first entry grows over the second one's header.
  const auto first = find(kCentral);
  EXPECT_THAT(refusal_with(first + 20, std::string("\x00\x03\x00\x00\x00\x03\x00\x00", 8)),
              HasSubstr("overlap"));
  // The last one grows over the directory.
  std::size_t last = first;
  while (whole_.find(kCentral, last + 1) != std::string::npos)
    last = whole_.find(kCentral, last + 1);
  const std::string size = std::string("\xF0\x01\x00\x00", 4);
  EXPECT_THAT(refusal_with(last + 20, size + size), HasSubstr("and 'the directory' overlap"));
}

}  // namespace
}  // namespace lowbank
