#include "io/llama2c.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

constexpr std::size_t kLlama2cHeaderBytes = 7 * sizeof(std::int32_t);

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
  if (start.starts_with("24ka")) {
    return "; this is llama2.c's newer form (magic ak42): export it with --version 0";
  }
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
  std::string name;  // "{}" is the layer; "" is data we do not need
  std::vector<std::int64_t> shape;
  std::int64_t num_layers = 1;
  std::int64_t num_rope_heads = 0;

  std::int64_t num_values_each() const {
    std::int64_t product = 1;
    for (const auto size : shape) product *= size;
    return product;
  }
};

std::vector<Section> sections_of(const Llama2cConfig& c) {
  const std::int64_t layers = c.num_layers, kv_dim = c.num_kv_heads * c.head_dim();
  const auto layer = [](const char* name) {
    return fmt::format("model.layers.{{}}.{}.weight", name);
  };
  std::vector<Section> sections = {
      {"model.embed_tokens.weight", {c.vocab_size, c.dim}},
      {layer("input_layernorm"), {c.dim}, layers},
      {layer("self_attn.q_proj"), {c.dim, c.dim}, layers, c.num_heads},
      {layer("self_attn.k_proj"), {kv_dim, c.dim}, layers, c.num_kv_heads},
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

std::shared_ptr<const void> map_file(int fd, std::size_t size, const std::string& path) {
  void* const address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) throw IoError(errno_message(path, "cannot map", errno));
  return {address, [size](const void* p) { munmap(const_cast<void*>(p), size); }};
}

}  // namespace

std::shared_ptr<const Llama2cFile> Llama2cFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw IoError(errno_message(path, "cannot open", errno));
  const std::shared_ptr<const int> closer(&fd, [](const int* open_fd) { close(*open_fd); });
  struct stat info {};
  if (fstat(fd, &info) != 0) throw IoError(errno_message(path, "cannot read", errno));
  if (!S_ISREG(info.st_mode)) throw IoError(path + ": is no regular file");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size < kLlama2cHeaderBytes) {
    throw IoError(fmt::format("{}: no llama2.c file: has {} bytes, the header alone takes {}", path,
                              size, kLlama2cHeaderBytes));
  }
  std::shared_ptr<Llama2cFile> file(new Llama2cFile);
  file->mapping_ = map_file(fd, size, path);
  const auto* const start = static_cast<const char*>(file->mapping_.get());
  Header header;
  std::memcpy(&header, start, sizeof(header));
  file->config_ = check_header(header, path);

  const auto sections = sections_of(file->config_);
  std::uint64_t wanted = kLlama2cHeaderBytes;
  for (const auto& section : sections) {
    wanted +=
        static_cast<std::uint64_t>(section.num_values_each() * section.num_layers) * sizeof(float);
  }
  if (wanted != size) {
    throw IoError(fmt::format("{}: {}: has {} bytes, its header describes {}{}", path,
                              size < wanted ? "truncated" : "longer than its header says", size,
                              wanted, hint_for({start, kLlama2cHeaderBytes})));
  }

  const auto* values = reinterpret_cast<const float*>(start + kLlama2cHeaderBytes);
  for (const auto& section : sections) {
    const auto count = static_cast<std::size_t>(section.num_values_each());
    for (std::int64_t layer = 0; layer < section.num_layers; ++layer, values += count) {
      if (section.name.empty()) continue;
      file->tensors_.push_back({.name = fmt::format(fmt::runtime(section.name), layer),
                                .shape = section.shape,
                                .values = {values, count},
                                .num_rope_heads = section.num_rope_heads});
    }
  }
  return file;
}

std::vector<float> rope_half_split(std::span<const float> values, std::int64_t num_heads,
                                   std::int64_t head_dim) {
  const auto heads = static_cast<std::size_t>(num_heads);
  const auto half = static_cast<std::size_t>(head_dim / 2);
  const std::size_t in = values.size() / (heads * half * 2);
  std::vector<float> out(values.size());
  for (std::size_t h = 0; h < heads; ++h) {
    for (std::size_t i = 0; i < half; ++i) {
      for (std::size_t j = 0; j < 2; ++j) {
        const auto row = values.subspan(((h * half + i) * 2 + j) * in, in);
        std::copy(row.begin(), row.end(),
                  out.begin() + static_cast<std::ptrdiff_t>(((h * 2 + j) * half + i) * in));
      }
    }
  }
  return out;
}

}  // namespace lowbank
