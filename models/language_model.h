#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>
#include <torch/types.h>

#include "core/philox.h"
#include "models/axis.h"
#include "models/decode_state.h"
#include "nn/linear.h"
#include "nn/named_tensors.h"
#include "nn/pass.h"

namespace lowbank {

namespace pim {
struct Operator;
enum class Phase;
}  // namespace pim

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
enum class HeadKind {
  kNextToken,    ///< logits [B, T, V] of the token that follows
  kMaskedToken,  ///< logits [B, T, V] of the token itself
  kSequence,     ///< logits [B, C] of the whole sequence, C = 1 for a regression
  kNone          ///< no head: last hidden states [B, T, D]
};

/// Factors that turn queries and keys to their positions (kernels/rotary.h).
struct RotaryTables {
  torch::Tensor cos_T1E, sin_T1E;
};

/// What embed() prepares for all blocks of one pass, besides what every layer is told.
struct BlockPass : Pass {
  RotaryTables rotary;       ///< of the new tokens
  RotaryTables rotary_keys;  ///< of all tokens, where the cache holds unturned keys
  torch::Tensor mask;        ///< the padding, in the form that the model's blocks want
  bool has_state = false;    ///< the tokens go into a state
};

/// A language model: what training, evaluation, compression and pricing see of any model. A pass is
/// embed(), then every block in turn, then finish(), then the head.
class LanguageModel : public torch::nn::Module {
 public:
  virtual HeadKind head_kind() const { return HeadKind::kNextToken; }
  /// Whether no token sees a later one: such a model decodes with a state.
  virtual bool is_causal() const = 0;

  /// Last hidden states, [B, T, D], after the final norm. With a state, the tokens follow those
  /// seen before (padding, if any, on the left of the first ones), and no gradient is recorded.
  /// Errors: c10::Error for wrong shapes, and for a state of a model that is not causal.
  torch::Tensor hidden_states(const ModelInput& input, DecodeState* state = nullptr);
  /// What `head_kind()` says, of hidden states [B, T, D] (or of some of the positions, where the
  /// output is per token).
  virtual torch::Tensor head(const torch::Tensor& hidden_BTD, const Pass& pass = {}) = 0;
  /// head(hidden_states(...)).
  torch::Tensor forward(const ModelInput& input, DecodeState* state = nullptr) {
    return head(hidden_states(input, state),
                {.mask_BS = {}, .num_past = 0, .key = input.dropout_key});
  }
  /// The head's matrix [V, D] where the head is the product with it and nothing else, so that a
  /// loss can do without the whole logits; else undefined.
  virtual torch::Tensor head_weight() const = 0;

  /// What goes into the first block, [B, T, D]; fills in what `pass` tells the blocks.
  virtual torch::Tensor embed(const ModelInput& input, BlockPass& pass) = 0;
  virtual std::int64_t num_blocks() const = 0;
  /// Block `i` of [B, T, D] -> [B, T, D]; the state, if any, is this model's.
  virtual torch::Tensor block(std::int64_t i, const torch::Tensor& x_BTD, const BlockPass& pass,
                              DecodeState* state) = 0;
  /// The last hidden states of what the last block gave.
  virtual torch::Tensor finish(const torch::Tensor& x_BTD) { return x_BTD; }

  /// An empty state. Errors: c10::Error for a batch or length below 1, and for a model that is not
  /// causal; ConfigError for an unknown format.
  std::unique_ptr<DecodeState> make_state(const StateOptions& options);
  /// A state for up to `max_length` tokens of `batch` sequences.
  std::unique_ptr<DecodeState> make_state(std::int64_t batch, std::int64_t max_length) {
    return make_state({.batch = batch, .max_length = max_length});
  }

  /// Every projection, in forward order.
  std::vector<LinearSlot>& slots() { return slots_; }
  const std::vector<LinearSlot>& slots() const { return slots_; }
  /// Once, by whoever built the model: the slots that its weights made (Weights::take_slots).
  void set_slots(std::vector<LinearSlot> slots) { slots_ = std::move(slots); }
  /// The dimensions that may be permuted or shrunk, for the layers as they are now.
  virtual std::vector<Axis> axes() const = 0;
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

 protected:
  /// The empty caches of one block of a causal model.
  virtual BlockState make_block_state(const StateOptions& options);

 private:
  std::vector<LinearSlot> slots_;
};

/// Number of elements of all parameters, tied ones counted once.
std::int64_t count_parameters(const torch::nn::Module& model);

/// The model's parameters under their names in a file, without those of adapters.
NamedTensors base_parameters(const LanguageModel& model);

/// The parameters of the adapters in the model's slots, under their names in a file.
NamedTensors adapter_parameters(const LanguageModel& model);

}  // namespace lowbank
