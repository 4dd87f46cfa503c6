#include <utility>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "core/error.h"
#include "models/decode_state.h"

namespace lowbank {
namespace {

/// The state as the kernels compute it.
class FloatRecurrentCache : public RecurrentCache {
 public:
  explicit FloatRecurrentCache(torch::Tensor state) : state_(std::move(state)) {}
  torch::Tensor load() override { return state_; }
  void store(const torch::Tensor& state) override {
    if (!state.is_same(state_)) state_.copy_(state);
  }
  void for_each(const CacheVisitor& visit) override { visit("state", state_); }
  std::unique_ptr<Cache> clone() const override {
    return std::make_unique<FloatRecurrentCache>(state_.clone());
  }

 private:
  torch::Tensor state_;
};

std::unique_ptr<RecurrentCache> make_float_cache(c10::IntArrayRef shape, c10::Device device) {
  return std::make_unique<FloatRecurrentCache>(
      at::zeros(shape, at::TensorOptions(c10::kFloat).device(device)));
}

struct StateFormat {
  std::string_view name;
  std::unique_ptr<RecurrentCache> (*make)(c10::IntArrayRef shape, c10::Device device);
};

// Every format that the state of a recurrence may be kept in: a file of its own, and its line here.
constexpr StateFormat kStateFormats[] = {
    {"float32", make_float_cache},
};

}  // namespace

std::unique_ptr<RecurrentCache> make_recurrent_cache(c10::IntArrayRef shape, c10::Device device,
                                                     const std::string& format) {
  std::string known;
  for (const auto& [name, make] : kStateFormats) {
    if (name == format) return make(shape, device);
    known += fmt::format("{}'{}'", known.empty() ? "" : ", ", name);
  }
  throw ConfigError(fmt::format(
      "state_format: '{}' is no format of recurrent states; allowed are {}", format, known));
}

}  // namespace lowbank
