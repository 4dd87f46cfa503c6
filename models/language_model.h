#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>
#include <torch/types.h>

#include "nn/linear.h"
#include "pim/workload.h"

namespace lowbank {

/// What a model keeps between decode steps (keys and values, or recurrent states).
class DecodeState {
 public:
  virtual ~DecodeState() = default;
  /// Tokens seen so far.
  virtual std::int64_t length() const = 0;
};

/// A causal language model: what training, evaluation, compression and pricing see of any model.
class LanguageModel : public torch::nn::Module {
 public:
  /// ids [B, T] int64 -> logits [B, T, V]. With a state, the tokens follow those seen before.
  virtual torch::Tensor forward(const torch::Tensor& ids_BT, DecodeState* state = nullptr) = 0;
  /// A state for up to `max_length` tokens of `batch` sequences.
  virtual std::unique_ptr<DecodeState> make_state(std::int64_t batch, std::int64_t max_length) = 0;

  /// Every projection, in forward order; paths are Hugging Face's module paths.
  virtual void visit_linears(const SlotVisitor& visit) = 0;
  /// The operators of one phase, shapes from the layers as they are now.
  virtual std::vector<Operator> operators(Phase phase, std::int64_t batch,
                                          std::int64_t context) = 0;

  virtual std::int64_t vocab_size() const = 0;
  /// Longest context, 0 = no limit.
  virtual std::int64_t max_context() const = 0;
  /// config.json as it will be written.
  virtual const nlohmann::ordered_json& config() const = 0;
};

/// Number of elements of all parameters, tied ones counted once.
std::int64_t count_parameters(const torch::nn::Module& model);

}  // namespace lowbank
