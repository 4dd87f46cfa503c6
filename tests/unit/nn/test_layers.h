#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include "nn/linear.h"

namespace lowbank::testing {

/// y = base(x) + b (a x), where b is zero at first: an adapter, as slots and visitors of layers see
/// it.
class ZeroAdapter : public Linear {
 public:
  explicit ZeroAdapter(std::shared_ptr<Linear> base) {
    a = register_parameter("a", at::randn({2, base->in_features()}));
    b = register_parameter("b", at::zeros({base->out_features(), 2}));
    set_base(std::move(base));
  }
  torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) override {
    return base()->forward(x_I, pass) + at::linear(at::linear(x_I, a), b);
  }
  std::int64_t in_features() const override { return base()->in_features(); }
  std::int64_t out_features() const override { return base()->out_features(); }
  std::string_view kind() const override { return "zero_adapter"; }
  std::vector<LinearProduct> products() const override {
    auto products = base()->products();
    products.push_back({.in_features = in_features(), .out_features = 2});
    products.push_back({.in_features = 2, .out_features = out_features()});
    return products;
  }
  std::vector<ParameterDim> along(Side side) const override {
    return {side == Side::kIn ? ParameterDim{"a", 1} : ParameterDim{"b", 0}};
  }
  bool is_adapter() const override { return true; }

  torch::Tensor a, b;
};

/// y = base(x) with some outputs masked; at first all are kept.
class OutputMask : public Linear {
 public:
  explicit OutputMask(std::shared_ptr<Linear> base) {
    keep = register_parameter("keep", at::ones({base->out_features()}));
    set_base(std::move(base));
  }
  torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) override {
    return base()->forward(x_I, pass) * keep;
  }
  std::int64_t in_features() const override { return base()->in_features(); }
  std::int64_t out_features() const override { return base()->out_features(); }
  std::string_view kind() const override { return "output_mask"; }
  std::vector<LinearProduct> products() const override { return base()->products(); }
  std::vector<ParameterDim> along(Side side) const override {
    if (side == Side::kIn) return {};
    return {{"keep", 0}};
  }

  torch::Tensor keep;
};

/// A layer of an unknown kind, which has no equivalent matrix.
class OddLinear : public Linear {
 public:
  OddLinear(std::int64_t in_features, std::int64_t out_features)
      : in_features_(in_features), out_features_(out_features) {}
  torch::Tensor forward(const torch::Tensor& x_I, const Pass& /*pass*/) override {
    return x_I.sum(-1, /*keepdim=*/true) * at::ones({out_features_}, x_I.options());
  }
  std::int64_t in_features() const override { return in_features_; }
  std::int64_t out_features() const override { return out_features_; }
  std::string_view kind() const override { return "odd"; }
  std::vector<LinearProduct> products() const override {
    return {{.in_features = in_features_, .out_features = out_features_}};
  }
  std::vector<ParameterDim> along(Side /*side*/) const override { return {}; }

 private:
  std::int64_t in_features_, out_features_;
};

}  // namespace lowbank::testing
