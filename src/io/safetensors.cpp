#include "io/safetensors.h"

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr std::uint64_t kPrefixBytes = 8;
constexpr std::size_t kMaxShapeLengths = 64;  // as torch

constexpr JsonRules kHeaderRules{.blame = JsonRules::Blame::kFile, .null_is_absent = false};
constexpr std::int64_t kMaxLength = std::numeric_limits<std::int64_t>::max();

TensorEntry read_entry(const std::string& name, const JsonReader& reader) {
  TensorEntry entry;
  entry.name = name;
  const std::string type_name = reader.text("dtype");
  const auto type = find_element_type(type_name);
  if (!type || is_quantized(*type)) {
    reader.fail(fmt::format("has type '{}', which Lowbank does not read", type_name));
  }
  entry.type = *type;

  const JsonReader shape = reader.at("shape");
  if (shape.size() > kMaxShapeLengths) {
    shape.fail(fmt::format("must be a list of at most {} lengths", kMaxShapeLengths));
  }
  for (const JsonReader& length : shape.items()) {
    entry.shape.push_back(length.integer(0, kMaxLength));
  }
  const auto size_bytes = tensor_bytes(entry.type, entry.shape);
  if (!size_bytes) {
    reader.fail(fmt::format("shape [{}] is larger than any memory", fmt::join(entry.shape, ",")));
  }

  const JsonReader offsets = reader.at("data_offsets");
  if (offsets.size() != 2) offsets.fail("must be two numbers");
  const auto begin = static_cast<std::uint64_t>(offsets.at(0).integer(0, kMaxLength));
  const auto end = static_cast<std::uint64_t>(offsets.at(1).integer(0, kMaxLength));
  if (end < begin || end - begin != *size_bytes) {
    reader.fail(fmt::format("data_offsets [{}, {}] do not hold the {} bytes of {} [{}]", begin, end,
                            *size_bytes, type_name, fmt::join(entry.shape, ",")));
  }
  entry.offset_bytes = begin;
  entry.size_bytes = *size_bytes;
  return entry;
}

}  // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const auto mapping = MappedFile::open(path);
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
  // The JSON parser would accept a byte order mark or white space before the '{'.
  if (!header.starts_with('{')) throw IoError(path + ": the header does not begin with '{'");
  const Json json = parse_json(header, path + ": header");

  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile(path));
  file->mapping_ = mapping;
  file->data_ = bytes.subspan(kPrefixBytes + static_cast<std::size_t>(header_bytes));
  std::vector<TensorEntry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      entries.push_back(
          read_entry(name, JsonReader(value, path, kHeaderRules, "tensor").named(name)));
      continue;
    }
    const JsonReader metadata(value, path, kHeaderRules, name);
    for (const auto& [key, text] : metadata.members()) file->metadata_[key] = text.text();
  }
  // An empty tensor shares its offset with the next one and goes first.
  std::stable_sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.offset_bytes, a.size_bytes) < std::pair(b.offset_bytes, b.size_bytes);
  });
  std::uint64_t end = 0;
  for (const TensorEntry& entry : entries) {
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
  }
  if (end != file->data_.size()) {
    throw IoError(
        fmt::format("{}: {} bytes follow the last tensor", path, file->data_.size() - end));
  }
  file->set_entries(std::move(entries));
  return file;
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry) const {
  return data_.subspan(static_cast<std::size_t>(entry.offset_bytes),
                       static_cast<std::size_t>(entry.size_bytes));
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry,
                                                  std::vector<std::byte>& /*scratch*/) const {
  return bytes(entry);
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorEntry> tensors,
                                     std::map<std::string, std::string> metadata)
    : file_(path), tensors_(std::move(tensors)) {
  // Wide elements first keeps every tensor aligned to its element without padding.
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorEntry& a, const TensorEntry& b) {
    const auto width_a = block_bytes(a.type);
    const auto width_b = block_bytes(b.type);
    return width_a != width_b ? width_a > width_b : a.name < b.name;
  });
  // transformers refuses a file without it.
  metadata.emplace("format", "pt");
  std::string header = "{\"__metadata__\":" + Json(metadata).dump();
  std::set<std::string_view> names = {"__metadata__"};
  for (auto& tensor : tensors_) {
    if (!names.insert(tensor.name).second) {
      throw std::invalid_argument("SafetensorsWriter: the name '" + tensor.name + "' is taken");
    }
    const auto size_bytes = tensor_bytes(tensor.type, tensor.shape);
    if (!size_bytes || is_quantized(tensor.type)) {
      throw std::invalid_argument(fmt::format("SafetensorsWriter: '{}' of type {}, shape [{}]",
                                              tensor.name, element_type_name(tensor.type),
                                              fmt::join(tensor.shape, ", ")));
    }
    tensor.offset_bytes = missing_bytes_;
    tensor.size_bytes = *size_bytes;
    missing_bytes_ += *size_bytes;
    const Json entry = {{"dtype", element_type_name(tensor.type)},
                        {"shape", tensor.shape},
                        {"data_offsets", {tensor.offset_bytes, missing_bytes_}}};
    header += fmt::format(",{}:{}", Json(tensor.name).dump(), entry.dump());
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  std::string prefix(kPrefixBytes, '\0');
  for (std::size_t i = 0; i < kPrefixBytes; ++i) {
    prefix[i] = static_cast<char>(static_cast<unsigned char>(header.size() >> (8 * i)));
  }
  file_.write(prefix + header);
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > missing_bytes_) {
    throw std::logic_error("SafetensorsWriter: more values than the shapes hold");
  }
  file_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  missing_bytes_ -= bytes.size();
}

void SafetensorsWriter::commit() {
  if (missing_bytes_ != 0) {
    throw std::logic_error(
        fmt::format("SafetensorsWriter: {} bytes of values are missing", missing_bytes_));
  }
  file_.commit();
}

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       std::map<std::string, std::string> metadata) {
  std::vector<TensorEntry> entries;
  std::map<std::string_view, std::span<const std::byte>> values;
  for (const auto& tensor : tensors) {
    if (tensor_bytes(tensor.type, tensor.shape) != tensor.bytes.size()) {
      throw std::invalid_argument(fmt::format("write_safetensors: '{}' has {} bytes, shape [{}]",
                                              tensor.name, tensor.bytes.size(),
                                              fmt::join(tensor.shape, ", ")));
    }
    entries.push_back({.name = tensor.name, .type = tensor.type, .shape = tensor.shape});
    values[tensor.name] = tensor.bytes;
  }
  SafetensorsWriter writer(path, std::move(entries), std::move(metadata));
  for (const auto& entry : writer.order()) writer.write(values.at(entry.name));
  writer.commit();
}

}  // namespace lowbank
