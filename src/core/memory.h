#pragma once

#include <cstdint>
#include <string>

namespace lowbank {

/// Memory that this process can still take: the least of the machine's available memory, what the
/// control group has left, and the address-space limit (ulimit -v).
std::uint64_t available_memory_bytes();

/// Errors: ResourceError with both figures when `needed_bytes` is more than is available.
/// `what` says what needs it: "loading model.safetensors".
void require_memory(std::uint64_t needed_bytes, const std::string& what);

}  // namespace lowbank
