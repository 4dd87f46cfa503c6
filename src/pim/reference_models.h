#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lowbank::pim {

/// What an operator of a generated token does, as far as its price goes.
enum class TokenOperatorKind {
  kLinear,       ///< [batch, k] x [k, n]
  kNorm,         ///< batch rows of n
  kActivation,   ///< batch rows of n
  kStateUpdate,  ///< heads states of [head_dim, state_dim] a sequence
  kAttention,    ///< heads of head_dim a sequence: score, softmax, attend
  kAllReduce     ///< batch rows of n over the GPUs of a group
};

/// One operator of a decoder, on one GPU of a tensor-parallel group.
struct TokenOperator {
  TokenOperatorKind kind = TokenOperatorKind::kLinear;
  const char* category = "gemm";
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t state_dim = 0;
};

/// `count` equal decoders.
struct TokenDecoder {
  std::int64_t count = 0;
  std::vector<TokenOperator> operators;
};

/// Names of the models of the reference experiments: "retnet-2.7b", ...
std::vector<std::string> reference_model_names();

/// The operators of one generated token on one of `num_gpus` GPUs.
/// Source: Pimba simulator (MICRO 2025), its model table and operator lists (docs/estimate.md).
/// Errors: ConfigError for an unknown model, or more GPUs than the model can be split over.
std::vector<TokenDecoder> reference_model(const std::string& name, std::int64_t num_gpus);

}  // namespace lowbank::pim
