#define LOWBANK_ISA portable
#define LOWBANK_LANES 4
#include "kernels/cpu/float_kernels.h"

namespace lowbank::portable {

void scan_forward(const ScanForward<double>& scan, std::int64_t group, void* scratch) {
  forward_group<double>(scan, group, scratch);
}
void scan_backward(const ScanBackward<double>& scan, std::int64_t group, void* scratch) {
  backward_group<double>(scan, group, scratch);
}
void conv_forward(const ConvForward<double>& conv, std::int64_t group) {
  conv_forward_group<double>(conv, group);
}
void conv_backward(const ConvBackward<double>& conv, std::int64_t group, void* scratch) {
  conv_backward_group<double>(conv, group, static_cast<double*>(scratch));
}

}  // namespace lowbank::portable
