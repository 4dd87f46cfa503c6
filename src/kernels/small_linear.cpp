#include "kernels/small_linear.h"

#include <algorithm>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/linear.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>

#include "kernels/cpu/cpu_tensor.h"

namespace lowbank {
namespace {

constexpr std::int64_t kMaxRows = 8;             // for more rows a blocked product is faster
constexpr std::int64_t kMinTaskWeights = 32768;  // a few microseconds, as waking a thread costs

}  // namespace

bool serves_small_linear(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                         const torch::Tensor& bias_O) {
  return is_vector_tensor(x_I) && x_I.is_contiguous() && is_vector_tensor(weight_OI) &&
         weight_OI.is_contiguous() && x_I.dim() >= 1 && weight_OI.dim() == 2 &&
         x_I.numel() <= kMaxRows * x_I.size(-1) && !wants_grad(x_I) && !wants_grad(weight_OI) &&
         !(bias_O.defined() && wants_grad(bias_O));
}

std::vector<torch::Tensor> small_linear_group(const torch::Tensor& x_I,
                                              const std::vector<torch::Tensor>& weights_OI,
                                              const std::vector<torch::Tensor>& biases_O) {
  TORCH_CHECK(biases_O.empty() || biases_O.size() == weights_OI.size(),
              "small_linear_group: ", biases_O.size(), " biases for ", weights_OI.size(),
              " weights");
  const std::size_t num_products = weights_OI.size();
  std::vector<torch::Tensor> outs;
  outs.reserve(num_products);
  const auto bias_of = [&](std::size_t i) {
    return biases_O.empty() ? torch::Tensor() : biases_O[i];
  };
  bool serves = num_products > 0;
  for (std::size_t i = 0; i < num_products; ++i) {
    serves = serves && serves_small_linear(x_I, weights_OI[i], bias_of(i));
  }
  if (!serves) {
    for (std::size_t i = 0; i < num_products; ++i) {
      outs.push_back(at::linear(x_I, weights_OI[i], bias_of(i)));
    }
    return outs;
  }

  const std::int64_t num_in = x_I.size(-1);
  const std::int64_t num_x = num_in == 0 ? 0 : x_I.numel() / num_in;
  const auto& kernels = cpu_kernels();
  const int x_type = vector_type(x_I), weight_type = vector_type(weights_OI.front());
  torch::Tensor ordered_x = x_I;
  if (const auto order_x = kernels.order_x[weight_type][x_type]) {
    ordered_x = empty_cpu(x_I.sizes(), c10::kFloat);
    order_x(ordered_x.mutable_data_ptr<float>(), x_I.const_data_ptr(), num_x, num_in);
  }
  struct Product {
    LinearRows rows;
    std::int64_t first_row = 0;  // index of its first row among the rows of all products
  };
  std::vector<Product> products;
  products.reserve(num_products);
  std::int64_t num_rows = 0;
  for (std::size_t i = 0; i < num_products; ++i) {
    const auto& weight_OI = weights_OI[i];
    RECORD_FUNCTION("lowbank::small_linear", std::vector<c10::IValue>({x_I, weight_OI}));
    const auto bias_O = bias_of(i);
    const std::int64_t num_out = weight_OI.size(0);
    TORCH_CHECK(weight_OI.size(1) == num_in, "small_linear: x ", x_I.sizes(),
                " does not fit weight ", weight_OI.sizes());
    TORCH_CHECK(!bias_O.defined() || (bias_O.sizes() == weight_OI.sizes().slice(0, 1) &&
                                      bias_O.scalar_type() == weight_OI.scalar_type() &&
                                      bias_O.is_contiguous() && bias_O.is_cpu()),
                "small_linear: bias ", bias_O.toString(), " ", bias_O.sizes(),
                " does not fit weight ", weight_OI.toString(), " ", weight_OI.sizes());
    c10::DimVector sizes(x_I.sizes());
    sizes.back() = num_out;
    auto& out = outs.emplace_back(empty_cpu(sizes, x_I.scalar_type()));
    products.push_back({.rows = {.x = ordered_x.const_data_ptr<float>(),
                                 .weight = weight_OI.const_data_ptr(),
                                 .bias = bias_O.defined() ? bias_O.const_data_ptr() : nullptr,
                                 .out = out.mutable_data_ptr(),
                                 .num_x = num_x,
                                 .num_in = num_in,
                                 .out_stride = num_out,
                                 .end = num_out},
                        .first_row = num_rows});
    num_rows += num_out;
  }
  const std::int64_t grain = std::max<std::int64_t>(1, kMinTaskWeights / (num_in + 1));
  const auto run = kernels.linear[weight_type][x_type];
  at::parallel_for(0, num_rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (const Product& product : products) {
      LinearRows rows = product.rows;
      rows.begin = std::max<std::int64_t>(0, begin - product.first_row);
      rows.end = std::min(rows.end, end - product.first_row);
      if (rows.begin < rows.end) run(rows);
    }
  });
  return outs;
}

torch::Tensor small_linear(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                           const torch::Tensor& bias_O) {
  if (!serves_small_linear(x_I, weight_OI, bias_O)) return at::linear(x_I, weight_OI, bias_O);
  return std::move(small_linear_group(x_I, {weight_OI}, {bias_O}).front());
}

}  // namespace lowbank
