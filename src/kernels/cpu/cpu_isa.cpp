#include "kernels/cpu/cpu_isa.h"

namespace lowbank {

CpuIsa best_cpu_isa() { return usable_cpu_isas().back(); }

std::vector<CpuIsa> usable_cpu_isas() {
  std::vector<CpuIsa> isas = {CpuIsa::kPortable};
#if defined(__x86_64__)
  // The same sets that CMakeLists.txt compiles the files of src/kernels/cpu with.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    isas.push_back(CpuIsa::kAvx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      isas.push_back(CpuIsa::kAvx512);
    }
  }
#endif
  return isas;
}

std::string_view cpu_isa_name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
    case CpuIsa::kPortable:
      break;
  }
  return "portable";
}

}  // namespace lowbank
