#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

// The switches of the loops in this folder. They are read at every call and must not be set while
// other threads compute.
namespace lowbank {

/// The processor's vector instructions for which the loops are compiled, narrowest first.
enum class CpuIsa : std::uint8_t { kPortable, kAvx2, kAvx512 };

/// The instruction sets that this processor can run, narrowest first.
std::vector<CpuIsa> usable_cpu_isas();

/// "portable", "avx2" or "avx512".
std::string_view cpu_isa_name(CpuIsa isa);

/// The instruction set whose loops run: cpu_isa_of the environment variable LOWBANK_CPU_ISA.
CpuIsa cpu_isa();

/// The instruction set with this name, or for "" the widest that this processor has.
/// Errors: ConfigError if there is none with this name, or the processor lacks it.
CpuIsa cpu_isa_of(std::string_view setting);

/// Chooses another set, for tests and benchmarks. Errors: ConfigError if the processor lacks it.
void use_cpu_isa(CpuIsa isa);

/// Whether tensors on the CPU go through the loops of this folder: cpu_kernels_of the environment
/// variable LOWBANK_CPU_KERNELS. If not, LibTorch's operators compute, as for tensors on every
/// other device. Random numbers are drawn by the loops either way.
bool uses_cpu_kernels();

/// True for "on" and "", false for "off". Errors: ConfigError for any other setting.
bool cpu_kernels_of(std::string_view setting);

/// Switches the loops on or off, for tests and measurements.
void use_cpu_kernels(bool used);

}  // namespace lowbank
