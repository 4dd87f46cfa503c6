#include "kernels/normal_fill.h"

#include <cstddef>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include "kernels/cuda_library.h"

namespace lowbank {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 14;  // about 35 us of work for each task

}  // namespace

void normal_fill_(const at::Tensor& out, const RandomKey& key, std::uint64_t first_index) {
  TORCH_CHECK(out.scalar_type() == at::kFloat && out.is_contiguous(),
              "normal_fill_: wants a contiguous float32 tensor, got ", out.toString(), " ",
              out.sizes());
  float* const values = out.data_ptr<float>();
  if (!out.is_cpu()) {
    if (const CudaLibrary* const library = cuda_library()) {
      const c10::DeviceGuard device(out.device());
      const int error =
          library->normal_fill(values, out.numel(), key.key(), key.stream(), first_index);
      TORCH_CHECK(error == 0, "normal_fill_: ", library->error_text(error));
      return;
    }
    const auto drawn = at::empty(out.sizes(), out.options().device(at::kCPU));
    normal_fill_(drawn, key, first_index);
    out.copy_(drawn);
    return;
  }
  at::parallel_for(0, out.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    normal_fill({values + begin, static_cast<std::size_t>(end - begin)}, key,
                first_index + static_cast<std::uint64_t>(begin));
  });
}

}  // namespace lowbank
