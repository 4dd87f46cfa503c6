#include "kernels/cpu/cpu_isa.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

constexpr const char* kIsaVariable = "LOWBANK_CPU_ISA";
constexpr const char* kKernelsVariable = "LOWBANK_CPU_KERNELS";

std::string_view environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

void check_usable(const char* who, CpuIsa isa) {
  const auto usable = usable_cpu_isas();
  if (std::find(usable.begin(), usable.end(), isa) != usable.end()) return;
  throw ConfigError(
      fmt::format("{}: this processor does not have {}; the widest instructions that "
                  "it has are {}",
                  who, cpu_isa_name(isa), cpu_isa_name(usable.back())));
}

CpuIsa& isa_in_use() {
  static CpuIsa isa = cpu_isa_of(environment(kIsaVariable));
  return isa;
}

bool& kernels_in_use() {
  static bool used = cpu_kernels_of(environment(kKernelsVariable));
  return used;
}

}  // namespace

std::vector<CpuIsa> usable_cpu_isas() {
  std::vector<CpuIsa> isas = {CpuIsa::kPortable};
#if defined(__x86_64__)
  // The same sets that CMakeLists.txt compiles the loops with.
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

CpuIsa cpu_isa_of(std::string_view setting) {
  if (setting.empty()) return usable_cpu_isas().back();
  for (const CpuIsa isa : {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (setting != cpu_isa_name(isa)) continue;
    check_usable(kIsaVariable, isa);
    return isa;
  }
  throw ConfigError(
      fmt::format("{}: '{}' is none of portable, avx2, avx512", kIsaVariable, setting));
}

CpuIsa cpu_isa() { return isa_in_use(); }

void use_cpu_isa(CpuIsa isa) {
  check_usable("use_cpu_isa", isa);
  isa_in_use() = isa;
}

bool cpu_kernels_of(std::string_view setting) {
  if (setting.empty() || setting == "on") return true;
  if (setting == "off") return false;
  throw ConfigError(fmt::format("{}: '{}' is none of on, off", kKernelsVariable, setting));
}

bool uses_cpu_kernels() { return kernels_in_use(); }

void use_cpu_kernels(bool used) { kernels_in_use() = used; }

}  // namespace lowbank
