#include <utility>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "core/error.h"
#include "models/decode_state.h"

namespace lowbank {
namespace {

/// Keys and values in the type they come in.
class PlainAttentionCache : public AttentionCache {
 public:
  PlainAttentionCache(torch::Tensor keys_BKSE, torch::Tensor values_BKSE)
      : keys_BKSE_(std::move(keys_BKSE)), values_BKSE_(std::move(values_BKSE)) {}

  KeysValues append(const torch::Tensor& k_BKTE, const torch::Tensor& v_BKTE,
                    std::int64_t num_past) override {
    const std::int64_t num_tokens = k_BKTE.size(2), total = num_past + num_tokens;
    keys_BKSE_.narrow(2, num_past, num_tokens).copy_(k_BKTE);
    values_BKSE_.narrow(2, num_past, num_tokens).copy_(v_BKTE);
    return {.keys_BKSE = keys_BKSE_.narrow(2, 0, total),
            .values_BKSE = values_BKSE_.narrow(2, 0, total)};
  }
  void for_each(const CacheVisitor& visit) override {
    visit("keys", keys_BKSE_);
    visit("values", values_BKSE_);
  }
  std::unique_ptr<Cache> clone() const override {
    return std::make_unique<PlainAttentionCache>(keys_BKSE_.clone(), values_BKSE_.clone());
  }

 private:
  torch::Tensor keys_BKSE_, values_BKSE_;  // room for max_length tokens
};

std::unique_ptr<AttentionCache> make_plain_cache(const AttentionCacheShape& shape) {
  const auto buffer = [&] {
    return at::empty({shape.batch, shape.num_kv_heads, shape.max_length, shape.head_dim},
                     shape.options);
  };
  return std::make_unique<PlainAttentionCache>(buffer(), buffer());
}

struct CacheFormat {
  std::string_view name;
  std::unique_ptr<AttentionCache> (*make)(const AttentionCacheShape& shape);
};

// Every format that keys and values may be kept in: a file of its own, and its line here.
constexpr CacheFormat kCacheFormats[] = {
    {"model", make_plain_cache},
};

}  // namespace

std::unique_ptr<AttentionCache> make_attention_cache(const AttentionCacheShape& shape,
                                                     const std::string& format) {
  std::string known;
  for (const auto& [name, make] : kCacheFormats) {
    if (name == format) return make(shape);
    known += fmt::format("{}'{}'", known.empty() ? "" : ", ", name);
  }
  throw ConfigError(fmt::format("kv_format: '{}' is no format of keys and values; allowed are {}",
                                format, known));
}

}  // namespace lowbank
