#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace lowbank {

/// The processor's vector instructions for which the hot loops are compiled, narrowest first.
enum class CpuIsa : std::uint8_t { kPortable, kAvx2, kAvx512 };

/// The widest that this processor has.
CpuIsa best_cpu_isa();

/// All that this processor runs, narrowest first.
std::vector<CpuIsa> usable_cpu_isas();

/// "portable", "avx2" or "avx512".
std::string_view cpu_isa_name(CpuIsa isa);

}  // namespace lowbank
