#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>

#include <sanitizer/asan_interface.h>

namespace lowbank::emulation {

/// Uninitialised memory between two guard regions, aligned as CUDA aligns it. Every byte, also of
/// the guards, is 0xFF: a float read there is NaN, so that a value that was never written, or that
/// lies outside, shows in whatever is computed from it. AddressSanitizer reports the access itself.
class GuardedBytes {
 public:
  explicit GuardedBytes(std::size_t size_bytes)
      : size_bytes_(size_bytes), memory_(new (kAlignment) std::byte[size_bytes + 2 * kGuardBytes]) {
    std::memset(memory_.get(), 0xFF, size_bytes + 2 * kGuardBytes);
    poison();
  }
  ~GuardedBytes() { unpoison(); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  std::byte* data() const { return memory_.get() + kGuardBytes; }
  std::size_t size_bytes() const { return size_bytes_; }

  /// False after a write outside of the memory.
  bool is_intact() const {
    unpoison();
    const auto is_guard = [](std::byte value) { return value == std::byte{0xFF}; };
    const bool intact = std::all_of(memory_.get(), data(), is_guard) &&
                        std::all_of(end(), end() + kGuardBytes, is_guard);
    poison();
    return intact;
  }

 private:
  static constexpr std::size_t kGuardBytes = 4096;
  static constexpr std::align_val_t kAlignment{256};
  struct Deleter {
    void operator()(std::byte* memory) const { ::operator delete[](memory, kAlignment); }
  };

  std::byte* end() const { return data() + size_bytes_; }
  void poison() const {
    ASAN_POISON_MEMORY_REGION(memory_.get(), kGuardBytes);
    ASAN_POISON_MEMORY_REGION(end(), kGuardBytes);
  }
  void unpoison() const {
    ASAN_UNPOISON_MEMORY_REGION(memory_.get(), size_bytes_ + 2 * kGuardBytes);
  }

  std::size_t size_bytes_;
  std::unique_ptr<std::byte[], Deleter> memory_;
};

}  // namespace lowbank::emulation
