#pragma once

#include <torch/types.h>

namespace lowbank {

/// silu(gate) * up = gate up / (1 + e^-gate), in float32 and rounded once. One pass over memory
/// each way; keeps gate and up for the backward pass.
///
/// Source:  Shazeer 2020, "GLU variants improve transformer".
/// Shapes:  gate, up [..., F] -> [..., F]. The bits do not depend on the number of threads.
torch::Tensor swiglu(const torch::Tensor& gate_F, const torch::Tensor& up_F);

/// The same where one product gave both: the first half of the last dimension is the gate. Its
/// gradient comes back as one tensor too.
///
/// Shapes:  gate_up [..., 2 F] -> [..., F].
torch::Tensor swiglu(const torch::Tensor& gate_up);

}  // namespace lowbank
