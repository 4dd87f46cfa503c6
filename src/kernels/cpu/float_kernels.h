// The table of one instruction set (see pack.h): the last include of its file.
#pragma once

#include "kernels/cpu/causal_conv_kernel.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/selective_scan_kernel.h"

namespace lowbank::LOWBANK_ISA {
namespace {

template <class Function>
void for_packs(std::size_t count, const Function& function) {
  for (std::size_t i = 0; i < count; i += LOWBANK_LANES) {
    function(i, count - i < LOWBANK_LANES ? static_cast<int>(count - i) : LOWBANK_LANES);
  }
}

void map_exp(const float* x, float* out, std::size_t count) {
  for_packs(count,
            [=](std::size_t i, int n) { store<Pack>(out + i, exp(load<Pack>(x + i, n)), n); });
}
void map_exp2_product(const float* x, const float* factor, float* out, std::size_t count) {
  for_packs(count, [=](std::size_t i, int n) {
    store<Pack>(out + i, exp2_product(load<Pack>(x + i, n), load<Pack>(factor + i, n)), n);
  });
}
void map_softplus(const float* x, float* out, std::size_t count) {
  for_packs(count, [=](std::size_t i, int n) {
    store<Pack>(out + i, softplus(load<Pack>(x + i, n)).value, n);
  });
}
void map_sigmoid(const float* x, float* out, std::size_t count) {
  for_packs(count,
            [=](std::size_t i, int n) { store<Pack>(out + i, sigmoid(load<Pack>(x + i, n)), n); });
}

void float_conv_backward(const ConvBackward<float>& conv, std::int64_t group, void* scratch) {
  conv_backward_group<Pack>(conv, group, static_cast<float*>(scratch));
}

}  // namespace

const CpuKernels& kernels() {
  static constexpr CpuKernels kTable = {
      .scan_forward = forward_group<Pack>,
      .scan_backward = backward_group<Pack>,
      .conv_forward = conv_forward_group<Pack>,
      .conv_backward = float_conv_backward,
      .exp = map_exp,
      .exp2_product = map_exp2_product,
      .softplus = map_softplus,
      .sigmoid = map_sigmoid,
  };
  return kTable;
}

}  // namespace lowbank::LOWBANK_ISA
