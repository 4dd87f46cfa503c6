#include "models/operator_list.h"

#include <utility>

namespace lowbank {
namespace {

double product(std::int64_t a, std::int64_t b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

}  // namespace

pim::Operator& OperatorList::add(pim::OperatorKind kind, const std::string& name, std::int64_t m,
                                 std::int64_t n, std::int64_t k) {
  pim::Operator op;
  op.kind = kind;
  op.name = name;
  op.layer = layer_;
  op.m = m;
  op.n = n;
  op.k = k;
  return operators_.emplace_back(std::move(op));
}

void OperatorList::add_embedding(const std::string& name, std::int64_t features) {
  auto& op = add(pim::OperatorKind::kEmbedding, name, num_tokens_, features, 0);
  op.weight_bytes = product(num_tokens_, features) * element_bytes_;
  op.activation_bytes = op.weight_bytes;
}

void OperatorList::add_norm(const std::string& name, std::int64_t features) {
  auto& op = add(pim::OperatorKind::kNorm, name, num_tokens_, features, 0);
  op.weight_bytes = static_cast<double>(features) * element_bytes_;
  op.activation_bytes = 2 * product(num_tokens_, features) * element_bytes_;
}

void OperatorList::add_activation(const std::string& name, std::int64_t features,
                                  std::int64_t num_inputs) {
  auto& op = add(pim::OperatorKind::kActivation, name, num_tokens_, features, 0);
  op.activation_bytes =
      static_cast<double>(num_inputs + 1) * product(num_tokens_, features) * element_bytes_;
}

void OperatorList::add_linear(const LinearSlot& slot, std::string_view group) {
  std::int64_t num_matrix_values = 0;
  for (const auto& product : slot.get().products()) {
    add_product(slot.path(), product.in_features, product.out_features);
    auto& op = operators_.back();
    op.group = group;
    op.count = product.count;
    op.weight_format = product.weight_format;
    op.factored_as = product.factored_as;
    op.stage = product.stage;
    op.rank = product.rank;
    op.tile = product.tile;
    num_matrix_values += product.in_features * product.out_features * product.count;
  }
  // What is no matrix (bias, singular values) is read with the last product.
  operators_.back().weight_bytes +=
      static_cast<double>(count_elements(slot.get()) - num_matrix_values) * element_bytes_;
}

void OperatorList::add_product(const std::string& name, std::int64_t in_features,
                               std::int64_t out_features) {
  auto& op = add(pim::OperatorKind::kLinear, name, num_tokens_, out_features, in_features);
  op.weight_bytes = product(in_features, out_features) * element_bytes_;
  op.activation_bytes = product(num_tokens_, in_features + out_features) * element_bytes_;
}

void OperatorList::add_attention(const std::string& path, std::int64_t num_queries,
                                 std::int64_t num_keys, std::int64_t head_dim, std::int64_t runs,
                                 std::int64_t queries_per_cache) {
  const double cache_bytes =
      product(num_keys, head_dim) * element_bytes_ / static_cast<double>(queries_per_cache);
  const double query_bytes = product(num_queries, head_dim) * element_bytes_;
  const double score_bytes = product(num_queries, num_keys) * element_bytes_;

  auto& score = add(pim::OperatorKind::kScore, path + ".score", num_queries, num_keys, head_dim);
  score.count = runs;
  score.queries_per_cache = queries_per_cache;
  score.activation_bytes = query_bytes + cache_bytes + score_bytes;

  auto& softmax = add(pim::OperatorKind::kSoftmax, path + ".softmax", num_queries, num_keys, 0);
  softmax.count = runs;
  softmax.activation_bytes = 2 * score_bytes;

  auto& attend = add(pim::OperatorKind::kAttend, path + ".attend", num_queries, head_dim, num_keys);
  attend.count = runs;
  attend.queries_per_cache = queries_per_cache;
  attend.activation_bytes = score_bytes + cache_bytes + query_bytes;
}

void OperatorList::add_conv(const std::string& name, std::int64_t batch, std::int64_t channels,
                            std::int64_t width, bool has_bias) {
  auto& op = add(pim::OperatorKind::kConv, name, num_tokens_, channels, width);
  op.weight_bytes = product(channels, width + (has_bias ? 1 : 0)) * element_bytes_;
  op.activation_bytes = 2 * product(channels, num_tokens_ + batch * (width - 1)) * element_bytes_;
}

void OperatorList::add_scan(const std::string& name, std::int64_t batch, std::int64_t channels,
                            std::int64_t num_states) {
  auto& op = add(pim::OperatorKind::kScan, name, num_tokens_, channels, num_states);
  op.weight_bytes = product(channels, num_states + 1) * element_bytes_;
  // Inputs, steps and outputs a channel; B and C a token.
  op.activation_bytes = product(num_tokens_, 3 * channels + 2 * num_states) * element_bytes_ +
                        2 * product(batch * channels, num_states) * sizeof(float);
}

}  // namespace lowbank
