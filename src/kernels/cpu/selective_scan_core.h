#pragma once

#include <cstdint>

// The selective scan of one sequence on raw pointers, without LibTorch. The recurrence stays in
// registers: no array of tokens x channels x states is written.
namespace lowbank {

/// Number of channels in a group, the unit of parallel work.
inline constexpr std::int64_t kScanGroupChannels = 128;
/// The backward pass keeps the states of this many tokens at a time.
inline constexpr std::int64_t kScanChunkTokens = 64;

constexpr std::int64_t num_scan_groups(std::int64_t num_channels) {
  return (num_channels + kScanGroupChannels - 1) / kScanGroupChannels;
}
constexpr std::int64_t num_scan_chunks(std::int64_t num_tokens) {
  return (num_tokens + kScanChunkTokens - 1) / kScanChunkTokens;
}

/// A matrix whose rows (one a token) lie `stride` elements apart.
template <class T>
struct TokenRows {
  T* data = nullptr;
  std::int64_t stride = 0;
};

/// What both directions read. T is float or double.
template <class T>
struct ScanOperands {
  std::int64_t num_tokens = 0;
  std::int64_t num_channels = 0;
  std::int64_t num_states = 0;
  TokenRows<const T> u;          ///< [T, D]
  TokenRows<const T> dt;         ///< [T, D], before bias and softplus
  TokenRows<const T> z;          ///< [T, D], or no data: no gate
  TokenRows<const T> b;          ///< [T, N]
  TokenRows<const T> c;          ///< [T, N]
  const T* a_ND = nullptr;       ///< as all [N, D] below: rows num_channels apart
  const T* skip_D = nullptr;     ///< or nullptr
  const T* dt_bias_D = nullptr;  ///< or nullptr
};

template <class T>
struct ScanForward {
  ScanOperands<T> in;
  TokenRows<T> y;                 ///< out: [T, D]
  T* state_ND = nullptr;          ///< in: before the first token; out: after the last
  T* chunk_states_CND = nullptr;  ///< out: before each chunk, for the backward pass; or nullptr
};

/// Gradients that are sums over tokens are added to the values that are already there.
template <class T>
struct ScanBackward {
  ScanOperands<T> in;
  const T* chunk_states_CND = nullptr;
  TokenRows<const T> grad_y;     ///< [T, D]
  TokenRows<T> grad_u, grad_dt;  ///< out: [T, D]
  TokenRows<T> grad_z;           ///< out: [T, D]; no data when there is no gate
  T* grad_b_GTN = nullptr;       ///< out: each group's part of the sum over channels
  T* grad_c_GTN = nullptr;       ///< out: likewise
  T* grad_a_ND = nullptr;        ///< added to
  T* grad_skip_D = nullptr;      ///< added to; or nullptr
  T* grad_dt_bias_D = nullptr;   ///< added to; or nullptr
  T* grad_state_ND = nullptr;    ///< in: of the final state; out: of the initial state
};

/// Channels [128 group, 128 (group + 1)) of one sequence; groups may run at the same time. The bits
/// depend on cpu_isa() and on nothing else.
///
/// Source:  Mamba (arXiv 2312.00752), section 3.3.2 and algorithm 2; the backward pass recomputes
///          the states of a chunk from its first one.
/// Differs: exp, log1p and the sigmoid are own polynomials in float (kernels/cpu/pack.h has their
///          bounds); double runs on libm, one channel at a time, for checks of gradients.
void selective_scan_forward(const ScanForward<float>& scan, std::int64_t group);
void selective_scan_forward(const ScanForward<double>& scan, std::int64_t group);
void selective_scan_backward(const ScanBackward<float>& scan, std::int64_t group);
void selective_scan_backward(const ScanBackward<double>& scan, std::int64_t group);

}  // namespace lowbank
