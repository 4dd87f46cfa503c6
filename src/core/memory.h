#pragma once

#include <cstdint>
#include <string>

namespace lowbank {

/// Memory that this process can still take: the smallest of the machine's available memory, what is
/// left of the control group's limit, and the address-space limit (ulimit -v).
std::uint64_t available_memory_bytes();

/// Errors: ResourceError with both figures when `needed_bytes` is more than is available.
/// `what` says what needs it: "loading model.safetensors".
void require_memory(std::uint64_t needed_bytes, const std::string& what);

/// Tunes memory for a process that makes and frees large tensors all the time. Freed memory stays
/// with the process instead of being unmapped and faulted in again page by page, and LibTorch asks
/// for huge pages for tensors from 2 MiB on. Call it before the first tensor is made. Settings that
/// the user made (MALLOC_MMAP_MAX_, MALLOC_TRIM_THRESHOLD_, THP_MEM_ALLOC_ENABLE) are kept.
void keep_tensor_memory();

}  // namespace lowbank
