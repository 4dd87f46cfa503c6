#include "kernels/runtime.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <sched.h>
#include <string>
#include <string_view>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/cpu/cpu_isa.h"

namespace lowbank {
namespace {

constexpr std::int64_t kMaxThreads = 1024;  // beyond it OpenMP fails to start them

// Cores that this process may run on: fewer than the machine's in a container or under taskset.
int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  return std::max(1, CPU_COUNT(&cores));
}

c10::Device parse_device(const std::string& text) {
  if (text == "cpu") return c10::kCPU;
  constexpr std::string_view kPrefix = "cuda:";
  int index = 0;
  bool valid = text == "cuda";
  if (text.starts_with(kPrefix)) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kPrefix.size(), end, index);
    valid = error == std::errc{} && stop == end && index >= 0;
  }
  if (!valid) throw ConfigError(fmt::format("device: '{}' is none of cpu, cuda, cuda:i", text));

  // cuBLAS reads it at its first use; without it its results may differ from run to run.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  // The programs link the CPU part only, so that they run without CUDA's libraries.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    throw ConfigError(
        fmt::format("device: '{}': LibTorch's CUDA part does not load ({}); use --device cpu, or "
                    "install it with scripts/setup.sh --cuda",
                    text, dlerror()));
  }
  const int num_gpus = at::globalContext().hasCUDA() ? static_cast<int>(at::getNumGPUs()) : 0;
  if (num_gpus == 0) {
    throw ConfigError(
        fmt::format("device: '{}': this machine has no GPU that LibTorch can use; "
                    "use --device cpu",
                    text));
  }
  if (index >= num_gpus) {
    throw ConfigError(fmt::format("device: '{}': this machine has {} GPU(s), the last is cuda:{}",
                                  text, num_gpus, num_gpus - 1));
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace

c10::Device apply_runtime(const RuntimeOptions& options) {
  if (options.threads > kMaxThreads) {
    throw ConfigError(fmt::format("threads: {} is more than {}", options.threads, kMaxThreads));
  }
  // Read the environment variables now, so that a mistake in them is reported before any work.
  cpu_isa();
  uses_cpu_kernels();
  const c10::Device device = parse_device(options.device);
  if (device.is_cpu() && options.type == c10::kHalf) {
    throw ConfigError("dtype: f16 is not computed in on the CPU; use f32 or bf16, or a GPU");
  }
  const int threads = options.threads > 0 ? static_cast<int>(options.threads) : usable_cores();
  require_threads(threads);
  at::set_num_threads(threads);
  auto& context = at::globalContext();
  // Operators without a deterministic form only cause a warning, since refusing them would make
  // models unusable.
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  context.setDeterministicFillUninitializedMemory(false);  // costs a pass over every new tensor
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  return device;
}

}  // namespace lowbank
