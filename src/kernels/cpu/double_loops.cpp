// The scan and the convolution in double, for checks of gradients: one channel at a time on libm.
#include "kernels/cpu/causal_conv_kernel.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/selective_scan_kernel.h"

namespace lowbank {

void scan_forward_in_double(const ScanForward<double>& scan, std::int64_t group, void* scratch) {
  LOWBANK_ISA::forward_group<double>(scan, group, scratch);
}
void scan_backward_in_double(const ScanBackward<double>& scan, std::int64_t group, void* scratch) {
  LOWBANK_ISA::backward_group<double>(scan, group, scratch);
}
void conv_forward_in_double(const ConvForward<double>& conv, std::int64_t group) {
  LOWBANK_ISA::conv_forward_group<double>(conv, group);
}
void conv_backward_in_double(const ConvBackward<double>& conv, std::int64_t group, void* scratch) {
  LOWBANK_ISA::conv_backward_group<double>(conv, group, static_cast<double*>(scratch));
}

}  // namespace lowbank
