// The table of one instruction set (see pack.h).
#include "kernels/cpu/attend_kernel.h"
#include "kernels/cpu/causal_conv_kernel.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/dropout_kernel.h"
#include "kernels/cpu/linear_kernel.h"
#include "kernels/cpu/nll_kernel.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/selective_scan_kernel.h"

namespace lowbank::LOWBANK_ISA {
namespace {

void map_exp(const float* x, float* out, std::int64_t size) {
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) { put(out + i, exp(get(x + i))); });
}
void map_exp2_product(const float* x, const float* factor, float* out, std::int64_t size) {
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) {
    put(out + i, exp2_product(get(x + i), get(factor + i)));
  });
}
void map_softplus(const float* x, float* out, std::int64_t size) {
  for_each_vector(
      size, [&](std::int64_t i, auto get, auto put) { put(out + i, softplus(get(x + i)).value); });
}
void map_sigmoid(const float* x, float* out, std::int64_t size) {
  for_each_vector(size,
                  [&](std::int64_t i, auto get, auto put) { put(out + i, sigmoid(get(x + i))); });
}

void float_conv_backward(const ConvBackward<float>& conv, std::int64_t group, void* scratch) {
  conv_backward_group<Pack>(conv, group, static_cast<float*>(scratch));
}

}  // namespace

const CpuKernels& kernels() {
  static constexpr CpuKernels kTable = {
      .widen = {widen<float>, widen<Bfloat16>},
      .narrow = {narrow<float>, narrow<Bfloat16>},
      .add_scaled = add_scaled,
      .order_x = {{nullptr, order_x<float, Bfloat16>},
                  {order_x<Bfloat16, float>, order_x<Bfloat16, Bfloat16>}},
      .linear = {{linear<float, float>, linear<float, Bfloat16>},
                 {linear<Bfloat16, float>, linear<Bfloat16, Bfloat16>}},
      .rms_norm = {rms_norm<float>, rms_norm<Bfloat16>},
      .rms_norm_grad = {rms_norm_grad<float>, rms_norm_grad<Bfloat16>},
      .swiglu = {swiglu<float>, swiglu<Bfloat16>},
      .swiglu_grad = {swiglu_grad<float>, swiglu_grad<Bfloat16>},
      .rotary = {rotary<float>, rotary<Bfloat16>},
      .attend = {attend<float>, attend<Bfloat16>},
      .nll = nll,
      .nll_to_gradient = nll_to_gradient,
      .scan_forward = forward_group<Pack>,
      .scan_backward = backward_group<Pack>,
      .conv_forward = conv_forward_group<Pack>,
      .conv_backward = float_conv_backward,
      .dropout = {dropout<float>, dropout<Bfloat16>},
      .draw_normals = draw_normals,
      .exp = map_exp,
      .exp2_product = map_exp2_product,
      .softplus = map_softplus,
      .sigmoid = map_sigmoid,
  };
  return kTable;
}

}  // namespace lowbank::LOWBANK_ISA
