#include "kernels/cpu/cpu_kernels.h"

#include <memory>
#include <new>

namespace lowbank {
namespace {

constexpr std::align_val_t kScratchAlignment{64};

struct ScratchDeleter {
  void operator()(void* memory) const { ::operator delete(memory, kScratchAlignment); }
};

// Memory with undefined values.
std::unique_ptr<void, ScratchDeleter> make_scratch(std::int64_t size_bytes) {
  return std::unique_ptr<void, ScratchDeleter>(
      ::operator new(static_cast<std::size_t>(size_bytes), kScratchAlignment));
}

constexpr std::int64_t kWidestPackBytes = 64;

// See forward_block and ChunkScratch in selective_scan_kernel.h.
std::int64_t scan_forward_scratch_bytes(std::int64_t num_states) {
  return kWidestPackBytes * (2 * kScanChunkTokens + 2 * num_states);
}
std::int64_t scan_backward_scratch_bytes(std::int64_t num_states) {
  return kWidestPackBytes * ((4 * kScanChunkTokens + 4) * num_states + 4 * kScanChunkTokens);
}

template <class T>
std::int64_t conv_scratch_bytes(std::int64_t width) {
  return width * kScanGroupChannels * static_cast<std::int64_t>(sizeof(T));
}

}  // namespace

const CpuKernels& cpu_kernels() {
#if defined(__x86_64__)
  switch (cpu_isa()) {
    case CpuIsa::kAvx512:
      return avx512::kernels();
    case CpuIsa::kAvx2:
      return avx2::kernels();
    case CpuIsa::kPortable:
      break;
  }
#endif
  return portable::kernels();
}

void selective_scan_forward(const ScanForward<float>& scan, std::int64_t group) {
  const auto scratch = make_scratch(scan_forward_scratch_bytes(scan.in.num_states));
  cpu_kernels().scan_forward(scan, group, scratch.get());
}
void selective_scan_forward(const ScanForward<double>& scan, std::int64_t group) {
  const auto scratch = make_scratch(scan_forward_scratch_bytes(scan.in.num_states));
  scan_forward_in_double(scan, group, scratch.get());
}

void selective_scan_backward(const ScanBackward<float>& scan, std::int64_t group) {
  const auto scratch = make_scratch(scan_backward_scratch_bytes(scan.in.num_states));
  cpu_kernels().scan_backward(scan, group, scratch.get());
}
void selective_scan_backward(const ScanBackward<double>& scan, std::int64_t group) {
  const auto scratch = make_scratch(scan_backward_scratch_bytes(scan.in.num_states));
  scan_backward_in_double(scan, group, scratch.get());
}

void causal_conv_forward(const ConvForward<float>& conv, std::int64_t group) {
  cpu_kernels().conv_forward(conv, group);
}
void causal_conv_forward(const ConvForward<double>& conv, std::int64_t group) {
  conv_forward_in_double(conv, group);
}

void causal_conv_backward(const ConvBackward<float>& conv, std::int64_t group) {
  const auto scratch = make_scratch(conv_scratch_bytes<float>(conv.in.width));
  cpu_kernels().conv_backward(conv, group, scratch.get());
}
void causal_conv_backward(const ConvBackward<double>& conv, std::int64_t group) {
  const auto scratch = make_scratch(conv_scratch_bytes<double>(conv.in.width));
  conv_backward_in_double(conv, group, scratch.get());
}

}  // namespace lowbank
