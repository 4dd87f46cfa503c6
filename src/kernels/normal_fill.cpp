#include "kernels/normal_fill.h"

#include <cstddef>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cuda_library.h"

namespace lowbank {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 14;  // about 35 us of work for each task

}  // namespace

void normal_fill(std::span<float> out, const RandomKey& key, std::uint64_t first_index) {
  cpu_kernels().draw_normals(out.data(), static_cast<std::int64_t>(out.size()), key.key(),
                             key.stream(), first_index);
}

void normal_fill_(const at::Tensor& out, const RandomKey& key, std::uint64_t first_index) {
  TORCH_CHECK(out.scalar_type() == at::kFloat && out.is_contiguous(),
              "normal_fill_: wants a contiguous float32 tensor, got ", out.toString(), " ",
              out.sizes());
  if (!out.is_cpu()) {
    const CudaLibrary* const library = out.is_cuda() ? cuda_library() : nullptr;
    if (library != nullptr) {
      const c10::DeviceGuard device(out.device());
      const int error = library->normal_fill(out.data_ptr<float>(), out.numel(), key.key(),
                                             key.stream(), first_index);
      TORCH_CHECK(error == 0, "normal_fill_: ", library->error_text(error));
      return;
    }
    const auto drawn = at::empty(out.sizes(), out.options().device(at::kCPU));
    normal_fill_(drawn, key, first_index);
    out.copy_(drawn);
    return;
  }
  float* const values = out.data_ptr<float>();
  at::parallel_for(0, out.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    normal_fill({values + begin, static_cast<std::size_t>(end - begin)}, key,
                first_index + static_cast<std::uint64_t>(begin));
  });
}

}  // namespace lowbank
