#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "nn/named_tensors.h"

namespace lowbank {

/// The parameters of a model that require a gradient. Tied parameters are listed once, under their
/// first name.
NamedTensors trainable_parameters(const torch::nn::Module& model);

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;  ///< on tensors of two and more dimensions only
};

/// AdamW. Its state has the names of the parameters, so that it can be saved and restored.
///
/// Source:  Loshchilov and Hutter 2019, Algorithm 2, as LibTorch's fused kernel computes it.
/// Differs: torch::optim::AdamW decays every tensor; here norms, biases and s are left alone.
class AdamW {
 public:
  AdamW(NamedTensors parameters, const AdamWOptions& options);

  /// One update from the gradients; a parameter without a gradient stays as it is.
  void step(double learning_rate);
  void zero_grad();
  std::int64_t num_steps() const { return num_steps_; }
  const NamedTensors& parameters() const { return parameters_; }

  /// `<name>.exp_avg` and `<name>.exp_avg_sq` of every parameter. These are the tensors themselves,
  /// not copies: to restore a state, write into them and call set_num_steps.
  std::map<std::string, torch::Tensor> state() const;
  /// The number of steps after which the restored state was saved.
  void set_num_steps(std::int64_t num_steps) { num_steps_ = num_steps; }

 private:
  NamedTensors parameters_;
  AdamWOptions options_;
  std::vector<torch::Tensor> exp_avgs_, exp_avg_sqs_;
  std::int64_t num_steps_ = 0;
};

/// Returns the 2-norm of all gradients together, and scales the gradients so that their norm is at
/// most `max_norm` (0: does not scale them).
///
/// Source:  Pascanu et al. 2013; the same 1e-6 added to the norm as torch's clip_grad_norm_.
double clip_grad_norm_(const NamedTensors& parameters, double max_norm);

}  // namespace lowbank
