#include "nn/layer_kinds.h"

#include <fmt/format.h>

#include "core/error.h"
#include "nn/dense_linear.h"
#include "nn/svd_linear.h"

namespace lowbank {
namespace {

// Every kind of layer has a file of its own and a line here. The line of a kind that wraps another
// layer ends in `true`.
constexpr LayerKind kLayerKinds[] = {
    {"dense", build_dense_linear},
    {"svd", build_svd_linear},
};

}  // namespace

torch::Tensor LayerPlan::take_bias() const {
  return has_bias ? take("bias", {out_features}) : torch::Tensor();
}

std::int64_t LayerPlan::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const auto found = record.settings.find(key);
  const auto* const value =
      found == record.settings.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  if (value == nullptr) {
    throw IoError(fmt::format("{}: layer '{}' of kind '{}' wants a whole number '{}'", source, path,
                              record.kind, key));
  }
  if (*value < low || *value > high) {
    throw IoError(fmt::format("{}: layer '{}' has {} {}, allowed are {} to {}", source, path, key,
                              *value, low, high));
  }
  return *value;
}

const LayerKind& layer_kind(const std::string& name, const std::string& path,
                            const std::string& source) {
  std::string known;
  for (const auto& kind : kLayerKinds) {
    if (kind.name == name) return kind;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", kind.name);
  }
  throw IoError(fmt::format("{}: layer '{}' is of kind '{}'; this Lowbank knows {}", source, path,
                            name, known));
}

std::shared_ptr<Linear> build_layer(const LayerPlan& plan) {
  const LayerKind& kind = layer_kind(plan.record.kind, plan.path, plan.source);
  if (kind.wraps != (plan.base != nullptr)) {
    throw IoError(fmt::format("{}: in layer '{}', one of kind '{}' must {}", plan.source, plan.path,
                              kind.name, kind.wraps ? "wrap another one" : "be the innermost one"));
  }
  return kind.build(plan);
}

}  // namespace lowbank
