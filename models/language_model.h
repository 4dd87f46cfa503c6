#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>
#include <torch/types.h>

#include "core/philox.h"
#include "nn/linear.h"

namespace lowbank {

namespace pim {
struct Operator;
enum class Phase;
}  // namespace pim

/// What a model keeps between decode steps (keys and values, or recurrent states).
class DecodeState {
 public:
  virtual ~DecodeState() = default;
  /// Tokens seen so far, padding included.
  virtual std::int64_t length() const = 0;
};

/// What one forward pass reads.
struct ModelInput {
  // Not explicit: most callers have ids and nothing else.
  ModelInput(torch::Tensor ids) : ids_BT(std::move(ids)) {}
  ModelInput(torch::Tensor ids, torch::Tensor mask, torch::Tensor token_types = {})
      : ids_BT(std::move(ids)), mask_BT(std::move(mask)), token_types_BT(std::move(token_types)) {}

  torch::Tensor ids_BT;          ///< int64
  torch::Tensor mask_BT;         ///< bool, false at padding; undefined: a token everywhere
  torch::Tensor token_types_BT;  ///< int64; undefined: all 0
  /// Training: draws which values the model's dropout zeroes. Not set: no dropout.
  std::optional<RandomKey> dropout_key = {};
};

/// What the rows of a model's output are.
enum class ModelOutput {
  kNextToken,    ///< logits [B, T, V] of the token that follows
  kMaskedToken,  ///< logits [B, T, V] of the token itself
  kSequence,     ///< logits [B, C] of the whole sequence, C = 1 for a regression
  kHidden        ///< no head: last hidden states [B, T, D]
};

/// A language model: what training, evaluation, compression and pricing see of any model.
class LanguageModel : public torch::nn::Module {
 public:
  /// Last hidden states, [B, T, D], after the final norm. With a state, the tokens follow those
  /// seen before (padding, if any, on the left of the first ones), and no gradient is recorded.
  /// Errors: c10::Error for wrong shapes, and for a state of a model that is not causal.
  virtual torch::Tensor hidden_states(const ModelInput& input, DecodeState* state = nullptr) = 0;
  /// What `output()` says, of hidden states [B, T, D] (or of some of the positions, where the
  /// output is per token).
  virtual torch::Tensor head(const torch::Tensor& hidden_BTD,
                             const std::optional<RandomKey>& dropout_key = {}) = 0;
  /// head(hidden_states(...)).
  torch::Tensor forward(const ModelInput& input, DecodeState* state = nullptr) {
    return head(hidden_states(input, state), input.dropout_key);
  }
  virtual ModelOutput output() const { return ModelOutput::kNextToken; }
  /// The head's matrix [V, D] where the head is the product with it and nothing else, so that a
  /// loss can do without the whole logits; else undefined.
  virtual torch::Tensor head_weight() const = 0;

  /// A state for up to `max_length` tokens of `batch` sequences.
  virtual std::unique_ptr<DecodeState> make_state(std::int64_t batch, std::int64_t max_length) = 0;

  /// Every projection, in forward order; paths are Hugging Face's module paths.
  virtual void visit_linears(const SlotVisitor& visit) = 0;
  /// The operators of one phase, shapes from the layers as they are now; none for a phase that the
  /// model does not have (decode of an encoder).
  virtual std::vector<pim::Operator> operators(pim::Phase phase, std::int64_t batch,
                                               std::int64_t context) = 0;

  virtual std::int64_t vocab_size() const = 0;
  /// Kinds of segments that token types may name; 0: the model reads none.
  virtual std::int64_t num_token_types() const { return 0; }
  /// Longest context, 0 = no limit.
  virtual std::int64_t max_context() const = 0;
  /// config.json as it will be written.
  virtual const nlohmann::ordered_json& config() const = 0;

  bool is_causal() const { return output() == ModelOutput::kNextToken; }
};

/// Number of elements of all parameters, tied ones counted once.
std::int64_t count_parameters(const torch::nn::Module& model);

/// Errors: c10::Error unless ids are [B, T] int64 and mask and token types, where given, fit them.
void check_input(const ModelInput& input, const char* model);

}  // namespace lowbank
