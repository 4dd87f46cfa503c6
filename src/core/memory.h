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

/// For a process that makes and frees large tensors all the time: freed memory stays with the
/// process instead of being unmapped and faulted in again page by page, and LibTorch asks for huge
/// pages for tensors from 2 MiB on. To be called before the first tensor. Settings that the user
/// made (MALLOC_MMAP_MAX_, MALLOC_TRIM_THRESHOLD_, THP_MEM_ALLOC_ENABLE) are kept.
void keep_tensor_memory();

}  // namespace lowbank
