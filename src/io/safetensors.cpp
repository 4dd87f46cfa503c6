#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

struct TypeInfo {
  ElementType type;
  std::string_view name;
  std::int64_t size_bytes;
};

constexpr std::array<TypeInfo, 15> kTypes = {{{ElementType::kBool, "BOOL", 1},
                                              {ElementType::kU8, "U8", 1},
                                              {ElementType::kI8, "I8", 1},
                                              {ElementType::kI16, "I16", 2},
                                              {ElementType::kU16, "U16", 2},
                                              {ElementType::kI32, "I32", 4},
                                              {ElementType::kU32, "U32", 4},
                                              {ElementType::kI64, "I64", 8},
                                              {ElementType::kU64, "U64", 8},
                                              {ElementType::kF16, "F16", 2},
                                              {ElementType::kBf16, "BF16", 2},
                                              {ElementType::kF32, "F32", 4},
                                              {ElementType::kF64, "F64", 8},
                                              {ElementType::kF8E4m3, "F8_E4M3", 1},
                                              {ElementType::kF8E5m2, "F8_E5M2", 1}}};

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr std::uint64_t kPrefixBytes = 8;

const TypeInfo& type_info(ElementType type) {
  return *std::find_if(kTypes.begin(), kTypes.end(),
                       [&](const TypeInfo& info) { return info.type == type; });
}

/// A file mapped read-only as long as the object lives.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    // O_NONBLOCK: a named pipe must be refused, not waited for.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) throw IoError(errno_message(path, "cannot open", errno));
    struct stat info {};
    const int stat_result = fstat(fd, &info);
    const int stat_errno = errno;
    if (stat_result == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
      size_ = static_cast<std::size_t>(info.st_size);
      address_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    const int map_errno = errno;
    close(fd);
    if (stat_result != 0) throw IoError(errno_message(path, "cannot read", stat_errno));
    if (S_ISDIR(info.st_mode)) throw IoError(path + ": is a folder, a file is wanted");
    if (!S_ISREG(info.st_mode)) throw IoError(path + ": is no regular file");
    if (address_ == MAP_FAILED) throw IoError(errno_message(path, "cannot map", map_errno));
  }
  ~Mapping() {
    if (address_ != nullptr && address_ != MAP_FAILED) munmap(address_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), size_};
  }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

std::uint64_t unsigned_at(const Json& value, const std::string& where) {
  if (!value.is_number_unsigned()) {
    throw IoError(fmt::format("{} wants a whole number >= 0; got {}", where, value.dump()));
  }
  return value.get<std::uint64_t>();
}

const Json& member(const Json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) throw IoError(fmt::format("{}: has no '{}'", where, key));
  return *found;
}

TensorEntry read_entry(const std::string& name, const Json& value, const std::string& path) {
  const std::string where = fmt::format("{}: tensor '{}'", path, name);
  if (!value.is_object()) throw IoError(where + ": wants an object");
  TensorEntry entry;
  entry.name = name;

  const Json& dtype = member(value, "dtype", where);
  if (!dtype.is_string()) throw IoError(where + ": dtype wants a string");
  const auto type_name = dtype.get<std::string>();
  const auto type = std::find_if(kTypes.begin(), kTypes.end(),
                                 [&](const TypeInfo& info) { return info.name == type_name; });
  if (type == kTypes.end()) {
    throw IoError(fmt::format("{}: has type '{}', which Lowbank does not read", where, type_name));
  }
  entry.type = type->type;

  const Json& shape = member(value, "shape", where);
  if (!shape.is_array()) throw IoError(where + ": shape wants a list");
  auto size_bytes = static_cast<std::uint64_t>(type->size_bytes);
  for (const auto& dimension : shape) {
    const std::uint64_t length = unsigned_at(dimension, where + ": shape");
    if (length > INT64_MAX || __builtin_mul_overflow(size_bytes, length, &size_bytes)) {
      throw IoError(fmt::format("{}: shape {} is larger than any memory", where, shape.dump()));
    }
    entry.shape.push_back(static_cast<std::int64_t>(length));
  }

  const Json& offsets = member(value, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2) {
    throw IoError(where + ": data_offsets wants two numbers");
  }
  const std::uint64_t begin = unsigned_at(offsets[0], where + ": data_offsets");
  const std::uint64_t end = unsigned_at(offsets[1], where + ": data_offsets");
  if (end < begin || end - begin != size_bytes) {
    throw IoError(fmt::format("{}: data_offsets [{}, {}] do not hold the {} bytes of {} {}", where,
                              begin, end, size_bytes, type_name, shape.dump()));
  }
  entry.offset_bytes = begin;
  entry.size_bytes = size_bytes;
  return entry;
}

std::uint64_t expected_bytes(const TensorToWrite& tensor) {
  std::int64_t size_bytes = element_size_bytes(tensor.type);
  for (const std::int64_t length : tensor.shape) {
    if (length < 0 || __builtin_mul_overflow(size_bytes, length, &size_bytes)) {
      throw std::invalid_argument(fmt::format("write_safetensors: shape [{}] of '{}'",
                                              fmt::join(tensor.shape, ", "), tensor.name));
    }
  }
  return static_cast<std::uint64_t>(size_bytes);
}

}  // namespace

std::string_view element_type_name(ElementType type) { return type_info(type).name; }

std::int64_t element_size_bytes(ElementType type) { return type_info(type).size_bytes; }

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const auto mapping = std::make_shared<const Mapping>(path);
  const auto bytes = mapping->bytes();
  if (bytes.size() < kPrefixBytes) {
    throw IoError(fmt::format("{}: is no safetensors file: {} bytes, at least {} are needed", path,
                              bytes.size(), kPrefixBytes));
  }
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 0; i < kPrefixBytes; ++i) {
    header_bytes |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - kPrefixBytes) {
    throw IoError(
        fmt::format("{}: is no safetensors file, or cut off: it names a header of {} bytes, the "
                    "file has {} (headers end at {})",
                    path, header_bytes, bytes.size(), kMaxHeaderBytes));
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes,
                                static_cast<std::size_t>(header_bytes));
  // A byte order mark or white space before it would pass the JSON parser.
  if (!header.starts_with('{')) throw IoError(path + ": the header does not begin with '{'");
  const Json json = parse_json(header, path + ": header");

  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->path_ = path;
  file->mapping_ = mapping;
  file->data_ = bytes.subspan(kPrefixBytes + static_cast<std::size_t>(header_bytes));
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      file->entries_.push_back(read_entry(name, value, path));
      continue;
    }
    if (!value.is_object()) throw IoError(path + ": __metadata__ wants an object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) {
        throw IoError(fmt::format("{}: __metadata__: '{}' wants a string", path, key));
      }
      file->metadata_[key] = text.get<std::string>();
    }
  }
  auto& entries = file->entries_;
  // An empty tensor shares its offset with the next one and goes first.
  std::stable_sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.offset_bytes, a.size_bytes) < std::pair(b.offset_bytes, b.size_bytes);
  });
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const TensorEntry& entry = entries[i];
    if (entry.offset_bytes != end) {
      throw IoError(
          fmt::format("{}: tensor '{}' begins at byte {} of the data, the one before it "
                      "ends at {}: tensors may neither overlap nor leave holes",
                      path, entry.name, entry.offset_bytes, end));
    }
    if (entry.size_bytes > file->data_.size() - end) {
      throw IoError(
          fmt::format("{}: is cut off: tensor '{}' ends at byte {} of the data, the file "
                      "has {}",
                      path, entry.name, end + entry.size_bytes, file->data_.size()));
    }
    end += entry.size_bytes;
    file->index_.emplace(entry.name, i);
  }
  if (end != file->data_.size()) {
    throw IoError(
        fmt::format("{}: {} bytes follow the last tensor", path, file->data_.size() - end));
  }
  return file;
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry) const {
  return data_.subspan(static_cast<std::size_t>(entry.offset_bytes),
                       static_cast<std::size_t>(entry.size_bytes));
}

std::vector<std::shared_ptr<const SafetensorsFile>> open_safetensors_folder(
    const std::string& folder) {
  const std::string single = folder + "/model.safetensors";
  const std::string index_path = folder + "/model.safetensors.index.json";
  std::error_code error;
  if (std::filesystem::exists(single, error) || !std::filesystem::exists(index_path, error)) {
    return {SafetensorsFile::open(single)};
  }
  const Json index = read_json(index_path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw IoError(index_path + ": key 'weight_map' wants an object");
  }
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
  std::size_t num_mapped = 0;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    const std::string where = fmt::format("{}: weight_map: '{}'", index_path, tensor);
    if (!shard.is_string()) throw IoError(where + ": wants a file name");
    const auto name = shard.get<std::string>();
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      throw IoError(fmt::format("{}: '{}' is no file of this folder", where, name));
    }
    auto& file = shards[name];
    if (!file) file = SafetensorsFile::open(folder + "/" + name);
    if (file->find(tensor) == nullptr) {
      throw IoError(fmt::format("{}: is not in {}", where, name));
    }
    ++num_mapped;
  }
  std::vector<std::shared_ptr<const SafetensorsFile>> files;
  std::size_t num_stored = 0;
  for (auto& [name, file] : shards) {
    num_stored += file->entries().size();
    files.push_back(std::move(file));
  }
  if (num_stored != num_mapped) {
    throw IoError(
        fmt::format("{}: names {} tensors, its files hold {}", index_path, num_mapped, num_stored));
  }
  return files;
}

void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       std::map<std::string, std::string> metadata) {
  // Wide elements first keeps every tensor aligned to its element without padding.
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const auto width_a = element_size_bytes(a.type);
    const auto width_b = element_size_bytes(b.type);
    return width_a != width_b ? width_a > width_b : a.name < b.name;
  });
  // transformers refuses a file without it.
  metadata.emplace("format", "pt");
  std::string header = "{\"__metadata__\":" + Json(metadata).dump();
  std::uint64_t offset = 0;
  std::map<std::string_view, bool> seen = {{"__metadata__", true}};
  for (const auto& tensor : tensors) {
    if (!seen.emplace(tensor.name, true).second) {
      throw std::invalid_argument("write_safetensors: the name '" + tensor.name + "' is taken");
    }
    if (tensor.bytes.size() != expected_bytes(tensor)) {
      throw std::invalid_argument(fmt::format("write_safetensors: '{}' has {} bytes, its shape {}",
                                              tensor.name, tensor.bytes.size(),
                                              expected_bytes(tensor)));
    }
    const Json entry = {{"dtype", element_type_name(tensor.type)},
                        {"shape", tensor.shape},
                        {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    header += fmt::format(",{}:{}", Json(tensor.name).dump(), entry.dump());
    offset += tensor.bytes.size();
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  std::string prefix(kPrefixBytes, '\0');
  for (std::size_t i = 0; i < kPrefixBytes; ++i) {
    prefix[i] = static_cast<char>(static_cast<unsigned char>(header.size() >> (8 * i)));
  }
  AtomicFile file(path);
  file.write(prefix + header);
  for (const auto& tensor : tensors) {
    file.write({reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
  }
  file.commit();
}

}  // namespace lowbank
