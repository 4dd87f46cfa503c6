#include "io/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

#include "io/gguf.h"

namespace lowbank {
namespace {

constexpr std::uint64_t kGgufAlignment = 32;

template <class T>
void append_number(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void append_text(std::string& out, std::string_view text) {
  append_number<std::uint64_t>(out, text.size());
  out += text;
}

void append_type(std::string& out, GgufType type) {
  append_number(out, static_cast<std::uint32_t>(type));
}

template <class T>
constexpr GgufType type_of() {
  if constexpr (std::is_same_v<T, bool>) return GgufType::kBool;
  if constexpr (std::is_same_v<T, std::uint32_t>) return GgufType::kU32;
  if constexpr (std::is_same_v<T, std::uint64_t>) return GgufType::kU64;
  if constexpr (std::is_same_v<T, std::int32_t>) return GgufType::kI32;
  if constexpr (std::is_same_v<T, float>) return GgufType::kF32;
  return GgufType::kString;
}

template <class T>
void append_element(std::string& out, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    append_text(out, value);
  } else {
    append_number(out, value);
  }
}

void append_value(std::string& out, const GgufMetadata& metadata) {
  std::visit(
      [&]<class T>(const T& value) {
        if constexpr (requires { typename T::value_type; } && !std::is_same_v<T, std::string>) {
          append_type(out, GgufType::kArray);
          append_type(out, type_of<typename T::value_type>());
          append_number<std::uint64_t>(out, value.size());
          for (const auto& element : value) append_element(out, element);
        } else {
          append_type(out, type_of<T>());
          append_element(out, value);
        }
      },
      metadata);
}

std::uint64_t padded(std::uint64_t size) {
  return (size + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

}  // namespace

GgufWriter::GgufWriter(const std::string& path, const GgufKeys& keys,
                       std::vector<TensorEntry> tensors)
    : file_(path), tensors_(std::move(tensors)) {
  std::string header = "GGUF";
  append_number<std::uint32_t>(header, 3);
  append_number<std::uint64_t>(header, tensors_.size());
  append_number<std::uint64_t>(header, keys.size());
  for (const auto& [key, value] : keys) {
    append_text(header, key);
    append_value(header, value);
  }
  std::uint64_t offset = 0;
  for (auto& tensor : tensors_) {
    const auto number = ggml_type_number(tensor.type);
    const auto size = tensor_bytes(tensor.type, tensor.shape);
    if (!number || !size || tensor.name.size() > 64 || tensor.shape.size() > 4) {
      throw std::invalid_argument(fmt::format("GgufWriter: '{}' of type {}, shape [{}]",
                                              tensor.name, element_type_name(tensor.type),
                                              fmt::join(tensor.shape, ", ")));
    }
    tensor.offset_bytes = offset;
    tensor.size_bytes = *size;
    offset += padded(*size);
    append_text(header, tensor.name);
    append_number(header, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto length = tensor.shape.rbegin(); length != tensor.shape.rend(); ++length) {
      append_number(header, static_cast<std::uint64_t>(*length));
    }
    append_number(header, *number);
    append_number(header, tensor.offset_bytes);
  }
  header.resize(padded(header.size()), '\0');
  file_.write(header);
}

void GgufWriter::finish_tensor() {
  const std::uint64_t size = tensors_[current_].size_bytes;
  file_.write(std::string(padded(size) - size, '\0'));
  written_bytes_ = 0;
  ++current_;
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  while (current_ < tensors_.size() && written_bytes_ == tensors_[current_].size_bytes) {
    finish_tensor();
  }
  if (current_ == tensors_.size() ||
      bytes.size() > tensors_[current_].size_bytes - written_bytes_) {
    throw std::logic_error("GgufWriter: more values than the tensor holds");
  }
  file_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  written_bytes_ += bytes.size();
}

void GgufWriter::commit() {
  while (current_ < tensors_.size() && written_bytes_ == tensors_[current_].size_bytes) {
    finish_tensor();
  }
  if (current_ != tensors_.size()) {
    throw std::logic_error("GgufWriter: values of '" + tensors_[current_].name + "' are missing");
  }
  file_.commit();
}

}  // namespace lowbank
