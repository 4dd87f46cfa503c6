#include "io/llama2c.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
#include "io/tensor_transform.h"

namespace lowbank {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

constexpr std::size_t kLlama2cHeaderBytes = 7 * sizeof(std::int32_t);
constexpr std::string_view kNewMagic = "24ka";  // 0x616b3432, "ak42" read as a number
constexpr std::size_t kNewHeaderBytes = 256;

struct Header {
  std::int32_t dim, hidden_dim, num_layers, num_heads, num_kv_heads, vocab_size, max_context;
};
static_assert(sizeof(Header) == kLlama2cHeaderBytes);

// Bounds far above any real model and low enough that no product below overflows 63 bits:
// 2^16 layers x 2^20 x 2^22 x 4 bytes = 2^60, and fewer than eight such terms.
constexpr std::int64_t kMaxDim = std::int64_t{1} << 20;
constexpr std::int64_t kMaxHidden = std::int64_t{1} << 22;
constexpr std::int64_t kMaxLayers = std::int64_t{1} << 16;
constexpr std::int64_t kMaxVocab = std::int64_t{1} << 26;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 26;

std::string hint_for(std::string_view start) {
  if (start.starts_with("PK")) return "; this is a zip file (PyTorch's pytorch_model.bin?)";
  if (start.starts_with("GGUF")) return "; this is a GGUF file";
  return "";
}

Llama2cConfig check_header(const Header& header, const std::string& path) {
  const std::string_view start(reinterpret_cast<const char*>(&header), sizeof(header));
  const auto in_range = [&](const char* what, std::int64_t value, std::int64_t max) {
    if (value < 1 || value > max) {
      throw IoError(fmt::format("{}: no llama2.c file: {} must be in [1, {}]; got {}{}", path, what,
                                max, value, hint_for(start)));
    }
    return value;
  };
  Llama2cConfig config;
  config.dim = in_range("dim", header.dim, kMaxDim);
  config.hidden_dim = in_range("hidden_dim", header.hidden_dim, kMaxHidden);
  config.num_layers = in_range("n_layers", header.num_layers, kMaxLayers);
  config.num_heads = in_range("n_heads", header.num_heads, config.dim);
  config.num_kv_heads = in_range("n_kv_heads", header.num_kv_heads, config.num_heads);
  config.has_own_head = header.vocab_size < 0;
  const std::int64_t vocab_size = header.vocab_size;
  config.vocab_size = in_range("vocab_size", vocab_size < 0 ? -vocab_size : vocab_size, kMaxVocab);
  config.max_context = in_range("seq_len", header.max_context, kMaxContext);
  if (config.dim % config.num_heads != 0 || config.head_dim() % 2 != 0 ||
      config.num_heads % config.num_kv_heads != 0) {
    throw IoError(fmt::format(
        "{}: no llama2.c file: dim {}, n_heads {} and n_kv_heads {} do not fit together{}", path,
        config.dim, config.num_heads, config.num_kv_heads, hint_for(start)));
  }
  return config;
}

// One array of the file: a tensor per layer, or a single one.
struct Section {
  std::string name;  // "{}" becomes the layer's number; "" for data that we do not need
  std::vector<std::int64_t> shape;
  std::int64_t num_layers = 1;
};

std::vector<Section> legacy_sections(const Llama2cConfig& c) {
  const std::int64_t layers = c.num_layers, kv_dim = c.num_kv_heads * c.head_dim();
  const auto layer = [](const char* name) {
    return fmt::format("model.layers.{{}}.{}.weight", name);
  };
  std::vector<Section> sections = {
      {"model.embed_tokens.weight", {c.vocab_size, c.dim}},
      {layer("input_layernorm"), {c.dim}, layers},
      {layer("self_attn.q_proj"), {c.dim, c.dim}, layers},
      {layer("self_attn.k_proj"), {kv_dim, c.dim}, layers},
      {layer("self_attn.v_proj"), {kv_dim, c.dim}, layers},
      {layer("self_attn.o_proj"), {c.dim, c.dim}, layers},
      {layer("post_attention_layernorm"), {c.dim}, layers},
      {layer("mlp.gate_proj"), {c.hidden_dim, c.dim}, layers},
      {layer("mlp.down_proj"), {c.dim, c.hidden_dim}, layers},
      {layer("mlp.up_proj"), {c.hidden_dim, c.dim}, layers},
      {"model.norm.weight", {c.dim}},
      {"",
       {c.max_context, c.head_dim() / 2}},  // cosines of the rotations, recomputed by every reader
      {"", {c.max_context, c.head_dim() / 2}},  // sines
  };
  if (c.has_own_head) sections.push_back({"lm_head.weight", {c.vocab_size, c.dim}});
  return sections;
}

// Norms first, so that they can stay in float32 in the quantised forms; no tables of rotations.
std::vector<Section> version1_sections(const Llama2cConfig& c) {
  auto legacy = legacy_sections(c);
  std::vector<Section> sections;
  for (const std::size_t i : {1u, 6u, 10u, 0u, 2u, 3u, 4u, 5u, 7u, 8u, 9u}) {
    sections.push_back(legacy[i]);
  }
  if (c.has_own_head) sections.push_back(legacy.back());
  return sections;
}

struct Layout {
  Llama2cConfig config;
  std::vector<Section> sections;
  std::uint64_t header_bytes = 0;
  std::uint64_t size_bytes = 0;  // of the whole file
};

Layout read_layout(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kLlama2cHeaderBytes) {
    throw IoError(fmt::format("{}: no llama2.c file: has {} bytes, the header alone takes {}", path,
                              bytes.size(), kLlama2cHeaderBytes));
  }
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), kLlama2cHeaderBytes);
  Layout layout;
  Header header;
  if (start.starts_with(kNewMagic)) {
    if (bytes.size() < kNewHeaderBytes) {
      throw IoError(fmt::format("{}: truncated: has {} bytes, the header alone takes {}", path,
                                bytes.size(), kNewHeaderBytes));
    }
    std::int32_t version = 0;
    std::memcpy(&version, &bytes[4], sizeof version);
    if (version != 1) {
      throw IoError(fmt::format("{}: is a llama2.c file of version {}{}; 0 and 1 are read", path,
                                version, version == 2 ? " (quantised to int8)" : ""));
    }
    std::memcpy(&header, &bytes[8], sizeof header);
    const auto is_shared = std::to_integer<int>(bytes[8 + sizeof header]);
    if (header.vocab_size < 1 || is_shared > 1) {
      throw IoError(fmt::format("{}: no llama2.c file: vocab_size {}, shared classifier {}", path,
                                header.vocab_size, is_shared));
    }
    layout.config = check_header(header, path);
    layout.config.has_own_head = is_shared == 0;
    layout.sections = version1_sections(layout.config);
    layout.header_bytes = kNewHeaderBytes;
  } else {
    std::memcpy(&header, bytes.data(), sizeof header);
    layout.config = check_header(header, path);
    layout.sections = legacy_sections(layout.config);
    layout.header_bytes = kLlama2cHeaderBytes;
  }
  layout.size_bytes = layout.header_bytes;
  for (const auto& section : layout.sections) {
    // The header's bounds keep this below 2^63.
    layout.size_bytes +=
        static_cast<std::uint64_t>(*count_elements(section.shape) * section.num_layers) *
        sizeof(float);
  }
  return layout;
}

}  // namespace

std::shared_ptr<const Llama2cFile> Llama2cFile::open(const std::string& path) {
  std::shared_ptr<Llama2cFile> file(new Llama2cFile(path));
  file->mapping_ = MappedFile::open(path);
  const auto bytes = file->mapping_->bytes();
  const Layout layout = read_layout(bytes, path);
  if (layout.size_bytes != bytes.size()) {
    const std::string_view start(reinterpret_cast<const char*>(bytes.data()), kLlama2cHeaderBytes);
    throw IoError(
        fmt::format("{}: {}: has {} bytes, its header describes {}{}", path,
                    bytes.size() < layout.size_bytes ? "truncated" : "longer than its header says",
                    bytes.size(), layout.size_bytes, hint_for(start)));
  }
  file->config_ = layout.config;
  std::vector<TensorEntry> entries;
  std::uint64_t offset = layout.header_bytes;
  for (const auto& section : layout.sections) {
    const auto size = static_cast<std::uint64_t>(*count_elements(section.shape)) * sizeof(float);
    for (std::int64_t layer = 0; layer < section.num_layers; ++layer, offset += size) {
      if (section.name.empty()) continue;
      entries.push_back({.name = fmt::format(fmt::runtime(section.name), layer),
                         .type = ElementType::kF32,
                         .shape = section.shape,
                         .offset_bytes = offset,
                         .size_bytes = size});
    }
  }
  file->set_entries(std::move(entries));
  return file;
}

std::span<const std::byte> Llama2cFile::bytes(const TensorEntry& entry,
                                              std::vector<std::byte>& scratch) const {
  const auto stored = mapping_->bytes().subspan(static_cast<std::size_t>(entry.offset_bytes),
                                                static_cast<std::size_t>(entry.size_bytes));
  const bool is_query = entry.name.ends_with(".q_proj.weight");
  if (!is_query && !entry.name.ends_with(".k_proj.weight")) return stored;
  scratch = apply_transform({.kind = TensorTransform::Kind::kPairsToHalves,
                             .num_heads = is_query ? config_.num_heads : config_.num_kv_heads},
                            entry.type, entry.shape.front(), stored);
  return scratch;
}

bool looks_like_llama2c(std::span<const std::byte> file) {
  // A file with the magic counts even if it is cut off or of another version: open() reports that.
  if (file.size() >= kNewMagic.size() &&
      std::memcmp(file.data(), kNewMagic.data(), kNewMagic.size()) == 0) {
    return true;
  }
  try {
    return read_layout(file, "").size_bytes == file.size();
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace lowbank
