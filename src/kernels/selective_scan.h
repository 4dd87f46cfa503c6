#pragma once

#include <cstdint>

#include <torch/types.h>

namespace lowbank {

/// Operands of the scan over B sequences, T tokens, D channels (d_inner) and N states. Rows may be
/// strided slices: an operand is copied only if its last dimension is not contiguous.
struct SelectiveScanInput {
  torch::Tensor u_BTD;                   ///< the sequence; y gets its type
  torch::Tensor dt_BTD;                  ///< step, before bias and softplus
  torch::Tensor A_ND;                    ///< -exp(A_log), transposed
  torch::Tensor B_BTN, C_BTN;            ///< input and output of the state, for each token
  torch::Tensor D_D = {};                ///< skip; may be undefined
  torch::Tensor z_BTD = {};              ///< gate: y * silu(z); may be undefined
  torch::Tensor dt_bias_D = {};          ///< may be undefined
  torch::Tensor initial_state_BND = {};  ///< may be undefined: zeros
};

struct SelectiveScanOutput {
  torch::Tensor y_BTD;            ///< in the type of u
  torch::Tensor final_state_BND;  ///< float32, or double with u
};

/// Mamba's recurrence, for each channel d, with dt = softplus(dt + dt_bias):
///   h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t,  y_t = (C_t h_t + D u_t) silu(z_t).
/// Differentiable once in everything, both states included. Computes in float32 (double if u is);
/// half types are converted on the way in and out. On the CPU the result does not depend on the
/// number of threads. On a GPU the fused kernel of liblowbank_cuda.so computes, or without that
/// library `selective_scan_chunked`.
///
/// Source:  Mamba (arXiv 2312.00752) algorithm 2; the gate and the skip as in the mixer's slow
///          path.
/// Differs: channels come last; the state is float32 also where y is computed from it.
/// Errors:  c10::Error for shapes that do not fit, for a type that is not floating, and for a
///          second derivative (use the reference for that).
SelectiveScanOutput selective_scan(const SelectiveScanInput& input);

/// The same, computed one token after the other with at:: operators in u's type. Tests compare the
/// other implementations with this one.
SelectiveScanOutput selective_scan_reference(const SelectiveScanInput& input);

/// The same, computed with at:: operators for `chunk` tokens at a time. A chunk takes log2(chunk)
/// doubling steps, in which decays are only multiplied (no division, no overflow). Needs memory for
/// tensors [B, chunk, N, D].
SelectiveScanOutput selective_scan_chunked(const SelectiveScanInput& input,
                                           std::int64_t chunk = 16);

/// Operands of one token.
struct SelectiveScanStepInput {
  torch::Tensor u_BD;
  torch::Tensor dt_BD;
  torch::Tensor A_ND;
  torch::Tensor B_BN, C_BN;
  torch::Tensor D_D = {};        ///< may be undefined
  torch::Tensor z_BD = {};       ///< may be undefined
  torch::Tensor dt_bias_D = {};  ///< may be undefined
};

/// One token of the scan: y [B, D]. Overwrites the state [B, N, D] (contiguous, of the type of
/// SelectiveScanOutput::final_state_BND) with the next. No gradients.
torch::Tensor selective_scan_step(const torch::Tensor& state_BND,
                                  const SelectiveScanStepInput& input);

}  // namespace lowbank
