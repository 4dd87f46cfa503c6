#pragma once

#include <torch/types.h>

namespace lowbank {

/// silu(gate) * up = gate up / (1 + e^-gate), computed in float32 and rounded once. Forward and
/// backward take one pass over memory each; gate and up are saved for the backward pass.
///
/// Source:  Shazeer 2020, "GLU variants improve transformer".
/// Shapes:  gate, up [..., F] -> [..., F]. The bits do not depend on the number of threads.
torch::Tensor swiglu(const torch::Tensor& gate_F, const torch::Tensor& up_F);

/// The same for one tensor that holds both: the first half of the last dimension is the gate. The
/// gradient is one tensor as well.
///
/// Shapes:  gate_up [..., 2 F] -> [..., F].
torch::Tensor swiglu(const torch::Tensor& gate_up);

}  // namespace lowbank
