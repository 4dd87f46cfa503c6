#include "io/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/text.h"

namespace lowbank {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF values are read as they lie");

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxNameBytes = 64;
constexpr std::uint32_t kMaxDimensions = 4;
constexpr int kMaxNesting = 4;
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::int64_t kMaxParts = 65535;  // the keys are of 16 bits

// Keys of a split file. Source: ggml-org/llama.cpp tools/gguf-split.
constexpr std::string_view kSplitNumber = "split.no";
constexpr std::string_view kSplitCount = "split.count";
constexpr std::string_view kSplitTensors = "split.tensors.count";

// The file of part `number`, counted from 0.
std::string split_name(const std::string& base, std::int64_t number, std::int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", base, number + 1, count);
}

// ggml's numbers of tensor types. Source: ggml-org/llama.cpp gguf-py/gguf/constants.py.
constexpr std::pair<std::uint32_t, ElementType> kTensorTypes[] = {
    {0, ElementType::kF32},   {1, ElementType::kF16},  {2, ElementType::kQ40},
    {3, ElementType::kQ41},   {6, ElementType::kQ50},  {7, ElementType::kQ51},
    {8, ElementType::kQ80},   {10, ElementType::kQ2K}, {11, ElementType::kQ3K},
    {12, ElementType::kQ4K},  {13, ElementType::kQ5K}, {14, ElementType::kQ6K},
    {24, ElementType::kI8},   {25, ElementType::kI16}, {26, ElementType::kI32},
    {27, ElementType::kI64},  {28, ElementType::kF64}, {30, ElementType::kBf16},
    {39, ElementType::kMxfp4}};

// Bytes of a value of fixed size, 0 for strings and arrays.
std::uint64_t fixed_size(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::string_view kind_name(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                       "i32", "f32", "bool", "string", "array",
                                                       "u64", "i64", "f64"};
  return kNames[static_cast<std::size_t>(type)];
}

/// Reads the bytes of a file from the front and refuses to read beyond its end.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  std::size_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(std::uint64_t size, std::string_view what) {
    if (size > remaining()) {
      throw IoError(fmt::format("{}: is cut off: {} at byte {} takes {} bytes, {} are left", path_,
                                what, position_, size, remaining()));
    }
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(size));
    position_ += static_cast<std::size_t>(size);
    return taken;
  }
  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  std::string_view string(std::uint64_t max_bytes, std::string_view what) {
    const std::size_t at = position_;
    const auto size = number<std::uint64_t>(what);
    if (size > max_bytes) {
      throw IoError(fmt::format("{}: {} at byte {} has {} bytes, at most {} are allowed", path_,
                                what, at, size, max_bytes));
    }
    const auto bytes = take(size, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  GgufType type(std::string_view what) {
    const std::size_t at = position_;
    const auto value = number<std::uint32_t>(what);
    if (value > static_cast<std::uint32_t>(GgufType::kF64)) {
      throw IoError(fmt::format("{}: {} at byte {} is of unknown type {}", path_, what, at, value));
    }
    return static_cast<GgufType>(value);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  std::size_t position_ = 0;
};

// Steps over the elements of an array; every one is checked to lie inside the file.
void skip_elements(GgufCursor& cursor, GgufType type, std::uint64_t count, int depth,
                   const std::string& path, const std::string& what) {
  if (const std::uint64_t size = fixed_size(type); size > 0) {
    if (count > cursor.remaining() / size) {
      throw IoError(fmt::format("{}: {} claims {} elements of {}, the file has {} bytes left", path,
                                what, count, kind_name(type), cursor.remaining()));
    }
    cursor.take(count * size, what);
    return;
  }
  // A string takes at least 8 bytes and an array 12, which bounds the count by the file's length.
  if (count > cursor.remaining() / 8) {
    throw IoError(fmt::format("{}: {} claims {} elements of {}, the file has {} bytes left", path,
                              what, count, kind_name(type), cursor.remaining()));
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    if (type == GgufType::kString) {
      cursor.string(std::numeric_limits<std::uint64_t>::max(), what);
      continue;
    }
    if (depth >= kMaxNesting) {
      throw IoError(fmt::format("{}: {} nests arrays more than {} deep", path, what, kMaxNesting));
    }
    const GgufType inner = cursor.type(what);
    const auto inner_count = cursor.number<std::uint64_t>(what);
    skip_elements(cursor, inner, inner_count, depth + 1, path, what);
  }
}

// An integer of any width; nothing for other types and for values beyond int64.
std::optional<std::int64_t> integer_at(GgufType type, const std::byte* bytes) {
  const auto load = [bytes]<class T>(T value) {
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  };
  switch (type) {
    case GgufType::kU8:
      return load(std::uint8_t{});
    case GgufType::kI8:
      return load(std::int8_t{});
    case GgufType::kU16:
      return load(std::uint16_t{});
    case GgufType::kI16:
      return load(std::int16_t{});
    case GgufType::kU32:
      return load(std::uint32_t{});
    case GgufType::kI32:
      return load(std::int32_t{});
    case GgufType::kI64:
      return load(std::int64_t{});
    case GgufType::kU64: {
      const auto value = load(std::uint64_t{});
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) break;
      return static_cast<std::int64_t>(value);
    }
    default:
      break;
  }
  return std::nullopt;
}

std::optional<double> number_at(GgufType type, const std::byte* bytes) {
  if (type == GgufType::kF32) {
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  if (type == GgufType::kF64) {
    double value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  const auto whole = integer_at(type, bytes);
  return whole ? std::optional<double>(static_cast<double>(*whole)) : std::nullopt;
}

[[noreturn]] void refuse_value(const std::string& path, std::string_view key,
                               std::string_view wanted, std::string_view found) {
  throw IoError(fmt::format("{}: key '{}' wants {}; it holds {}", path, key, wanted, found));
}

}  // namespace

std::optional<std::uint32_t> ggml_type_number(ElementType type) {
  for (const auto& [number, element] : kTensorTypes) {
    if (element == type) return number;
  }
  return std::nullopt;
}

std::vector<TensorEntry> GgufFile::read(const std::string& path) {
  Part part;
  part.mapping = MappedFile::open(path);
  const auto bytes = part.mapping->bytes();
  GgufCursor cursor(bytes, path);
  const auto magic = cursor.take(4, "the magic number");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) throw IoError(path + ": is no GGUF file");
  const auto version = cursor.number<std::uint32_t>("the version");
  if (version != 2 && version != 3) {
    const bool is_swapped = version == 0x02000000 || version == 0x03000000;
    throw IoError(is_swapped
                      ? path + ": is a big-endian GGUF file; only little-endian is read"
                      : fmt::format("{}: is GGUF version {}; 2 and 3 are read", path, version));
  }
  const auto num_tensors = cursor.number<std::uint64_t>("the number of tensors");
  const auto num_keys = cursor.number<std::uint64_t>("the number of keys");
  // A key takes at least a length, one byte, a type and one byte; a tensor takes at least a length,
  // a count, a type and an offset.
  if (num_keys > cursor.remaining() / 13 || num_tensors > cursor.remaining() / 24) {
    throw IoError(fmt::format("{}: claims {} keys and {} tensors, which {} bytes cannot hold", path,
                              num_keys, num_tensors, cursor.remaining()));
  }
  for (std::uint64_t i = 0; i < num_keys; ++i) {
    const std::size_t at = cursor.position();
    const auto key = cursor.string(kMaxKeyBytes, "a key");
    if (key.empty() || find_invalid_utf8(key) != std::string_view::npos) {
      throw IoError(fmt::format("{}: the key at byte {} is empty or not UTF-8", path, at));
    }
    const std::string what = fmt::format("key '{}'", key);
    Value value;
    value.type = cursor.type(what);
    if (value.type == GgufType::kArray) {
      value.element_type = cursor.type(what);
      value.count = cursor.number<std::uint64_t>(what);
    }
    const std::size_t begin = cursor.position();
    if (value.type == GgufType::kArray) {
      skip_elements(cursor, value.element_type, value.count, 1, path, what);
    } else {
      skip_elements(cursor, value.type, 1, 1, path, what);
    }
    value.bytes = bytes.subspan(begin, cursor.position() - begin);
    if (!metadata_.emplace(std::string(key), value).second) {
      throw IoError(fmt::format("{}: {} stands there twice", path, what));
    }
  }
  const std::int64_t alignment =
      integer("general.alignment", static_cast<std::int64_t>(kDefaultAlignment));
  if (alignment < 8 || alignment % 8 != 0 || alignment > (std::int64_t{1} << 30)) {
    throw IoError(fmt::format("{}: key 'general.alignment' wants a multiple of 8; it holds {}",
                              path, alignment));
  }
  std::vector<TensorEntry> entries;
  for (std::uint64_t i = 0; i < num_tensors; ++i) {
    const std::size_t at = cursor.position();
    TensorEntry entry;
    entry.name = cursor.string(kMaxNameBytes, "a tensor's name");
    const std::string what = fmt::format("tensor '{}'", entry.name);
    if (entry.name.empty() || find_invalid_utf8(entry.name) != std::string_view::npos) {
      throw IoError(
          fmt::format("{}: the name of the tensor at byte {} is empty or not UTF-8", path, at));
    }
    const auto num_dimensions = cursor.number<std::uint32_t>(what);
    if (num_dimensions > kMaxDimensions) {
      throw IoError(fmt::format("{}: {} has {} dimensions, at most {} are allowed", path, what,
                                num_dimensions, kMaxDimensions));
    }
    for (std::uint32_t d = 0; d < num_dimensions; ++d) {
      const auto length = cursor.number<std::uint64_t>(what);
      entry.shape.push_back(
          length > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
              ? -1
              : static_cast<std::int64_t>(length));
    }
    std::reverse(entry.shape.begin(), entry.shape.end());
    const auto type_number = cursor.number<std::uint32_t>(what);
    const auto* const type =
        std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                     [&](const auto& pair) { return pair.first == type_number; });
    if (type == std::end(kTensorTypes)) {
      throw IoError(fmt::format("{}: {} is of ggml type {}, which Lowbank does not read", path,
                                what, type_number));
    }
    entry.type = type->second;
    const auto size = tensor_bytes(entry.type, entry.shape);
    if (!size) {
      throw IoError(fmt::format("{}: {} of type {} has the impossible shape [{}]", path, what,
                                element_type_name(entry.type), fmt::join(entry.shape, ", ")));
    }
    entry.size_bytes = *size;
    entry.offset_bytes = cursor.number<std::uint64_t>(what);
    if (entry.offset_bytes % static_cast<std::uint64_t>(alignment) != 0) {
      throw IoError(fmt::format("{}: {} begins at byte {} of the data, no multiple of {}", path,
                                what, entry.offset_bytes, alignment));
    }
    entries.push_back(std::move(entry));
  }
  const auto step = static_cast<std::uint64_t>(alignment);
  const std::uint64_t data_begin = (cursor.position() + step - 1) / step * step;
  // A file that ends with its header (a vocabulary alone) need not be padded.
  part.data = data_begin > bytes.size() ? std::span<const std::byte>()
                                        : bytes.subspan(static_cast<std::size_t>(data_begin));
  std::vector<const TensorEntry*> by_offset;
  for (const auto& entry : entries) {
    if (entry.offset_bytes > part.data.size() ||
        entry.size_bytes > part.data.size() - entry.offset_bytes) {
      throw IoError(
          fmt::format("{}: is cut off: tensor '{}' takes {} bytes from byte {} of the "
                      "data, the file has {}",
                      path, entry.name, entry.size_bytes, entry.offset_bytes, part.data.size()));
    }
    if (entry.size_bytes > 0) by_offset.push_back(&entry);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return a->offset_bytes < b->offset_bytes;
  });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i]->offset_bytes <
        by_offset[i - 1]->offset_bytes + by_offset[i - 1]->size_bytes) {
      throw IoError(fmt::format("{}: tensors '{}' and '{}' overlap", path, by_offset[i - 1]->name,
                                by_offset[i]->name));
    }
  }
  parts_.push_back(std::move(part));
  return entries;
}

std::shared_ptr<const GgufFile> GgufFile::open(const std::string& path) {
  std::shared_ptr<GgufFile> file(new GgufFile(path));
  auto entries = file->read(path);
  const std::int64_t num_parts = file->integer(kSplitCount, 1);
  if (num_parts > 1) return open_parts(*file, num_parts);
  file->set_entries(std::move(entries));
  return file;
}

std::shared_ptr<const GgufFile> GgufFile::open_parts(const GgufFile& one, std::int64_t count) {
  const std::int64_t number = one.integer(kSplitNumber);
  const std::string name = fs::path(one.path()).filename().string();
  const std::string part_name = split_name("", number, count);
  if (count > kMaxParts || number < 0 || number >= count || !name.ends_with(part_name)) {
    throw IoError(fmt::format(
        "{}: is part {} of {} (split.no, split.count) of a model whose parts are found by names "
        "that end in '{}'",
        one.path(), number + 1, count, part_name));
  }
  const std::string base = one.path().substr(0, one.path().size() - part_name.size());
  std::shared_ptr<GgufFile> file(new GgufFile(split_name(base, 0, count)));
  std::vector<TensorEntry> entries;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string path = split_name(base, i, count);
    std::error_code error;
    if (!fs::exists(path, error)) {
      throw IoError(fmt::format("{}: is missing: {} is part {} of {}, and all are one model", path,
                                one.path(), number + 1, count));
    }
    GgufFile part(path);
    auto some = part.read(path);
    if (part.integer(kSplitCount, 1) != count || part.integer(kSplitNumber, -1) != i) {
      throw IoError(
          fmt::format("{}: is no part {} of {} (split.no, split.count)", path, i + 1, count));
    }
    if (i == 0) file->metadata_ = std::move(part.metadata_);
    Part& data = file->parts_.emplace_back(std::move(part.parts_.front()));
    if (i > 0) {
      const Part& before = file->parts_[static_cast<std::size_t>(i) - 1];
      data.begin = before.begin + before.data.size();
    }
    for (TensorEntry& entry : some) {
      entry.offset_bytes += data.begin;
      entries.push_back(std::move(entry));
    }
  }
  const auto num_tensors = static_cast<std::int64_t>(entries.size());
  if (const auto wanted = file->integer(kSplitTensors, num_tensors); wanted != num_tensors) {
    throw IoError(fmt::format("{}: names {} tensors (split.tensors.count); its {} parts hold {}",
                              file->path(), wanted, count, num_tensors));
  }
  file->set_entries(std::move(entries));
  return file;
}

std::span<const std::byte> GgufFile::bytes(const TensorEntry& entry,
                                           std::vector<std::byte>& /*scratch*/) const {
  const auto after = std::ranges::upper_bound(parts_, entry.offset_bytes, {}, &Part::begin);
  const Part& part = *std::prev(after);
  return part.data.subspan(static_cast<std::size_t>(entry.offset_bytes - part.begin),
                           static_cast<std::size_t>(entry.size_bytes));
}

const GgufFile::Value* GgufFile::find_value(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const GgufFile::Value& GgufFile::value(std::string_view key) const {
  const Value* const found = find_value(key);
  if (found == nullptr) throw IoError(fmt::format("{}: has no key '{}'", path(), key));
  return *found;
}

bool GgufFile::has(std::string_view key) const { return find_value(key) != nullptr; }

std::vector<std::string> GgufFile::keys() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : metadata_) names.push_back(name);
  return names;
}

std::int64_t GgufFile::integer(std::string_view key) const {
  const Value& found = value(key);
  const auto number = integer_at(found.type, found.bytes.data());
  if (!number) refuse_value(path(), key, "an integer", kind_name(found.type));
  return *number;
}

std::int64_t GgufFile::integer(std::string_view key, std::int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}

double GgufFile::number(std::string_view key) const {
  const Value& found = value(key);
  const auto number = number_at(found.type, found.bytes.data());
  if (!number) refuse_value(path(), key, "a number", kind_name(found.type));
  if (!std::isfinite(*number)) refuse_value(path(), key, "a finite number", "none");
  return *number;
}

double GgufFile::number(std::string_view key, double otherwise) const {
  return has(key) ? number(key) : otherwise;
}

bool GgufFile::flag(std::string_view key, bool otherwise) const {
  const Value* const found = find_value(key);
  if (found == nullptr) return otherwise;
  if (found->type != GgufType::kBool) refuse_value(path(), key, "a bool", kind_name(found->type));
  return found->bytes[0] != std::byte{0};
}

std::string GgufFile::text(std::string_view key) const {
  const Value& found = value(key);
  if (found.type != GgufType::kString) refuse_value(path(), key, "a string", kind_name(found.type));
  const auto bytes = found.bytes.subspan(8);  // after the length
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string GgufFile::text(std::string_view key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

const GgufFile::Value& GgufFile::array(std::string_view key, std::string_view wanted) const {
  const Value& found = value(key);
  if (found.type != GgufType::kArray) refuse_value(path(), key, wanted, kind_name(found.type));
  return found;
}

std::vector<std::string> GgufFile::texts(std::string_view key) const {
  const Value& found = array(key, "an array of strings");
  if (found.element_type != GgufType::kString) {
    refuse_value(path(), key, "an array of strings", kind_name(found.element_type));
  }
  std::vector<std::string> out;
  out.reserve(static_cast<std::size_t>(found.count));
  GgufCursor cursor(found.bytes, path());
  for (std::uint64_t i = 0; i < found.count; ++i) {
    out.emplace_back(cursor.string(std::numeric_limits<std::uint64_t>::max(), key));
  }
  return out;
}

std::vector<std::int64_t> GgufFile::integers(std::string_view key) const {
  const Value& found = array(key, "an array of integers");
  const std::uint64_t size = fixed_size(found.element_type);
  std::vector<std::int64_t> out;
  out.reserve(static_cast<std::size_t>(found.count));
  for (std::uint64_t i = 0; i < found.count; ++i) {
    const auto number = size == 0
                            ? std::nullopt
                            : integer_at(found.element_type,
                                         found.bytes.data() + static_cast<std::size_t>(i * size));
    if (!number) refuse_value(path(), key, "an array of integers", kind_name(found.element_type));
    out.push_back(*number);
  }
  return out;
}

std::vector<float> GgufFile::numbers(std::string_view key) const {
  const Value& found = array(key, "an array of floats");
  const std::uint64_t size = fixed_size(found.element_type);
  if (found.element_type != GgufType::kF32 && found.element_type != GgufType::kF64) {
    refuse_value(path(), key, "an array of floats", kind_name(found.element_type));
  }
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(found.count));
  for (std::uint64_t i = 0; i < found.count; ++i) {
    out.push_back(static_cast<float>(
        *number_at(found.element_type, found.bytes.data() + static_cast<std::size_t>(i * size))));
  }
  return out;
}

}  // namespace lowbank
