#include "core/hash.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "core/error.h"

namespace lowbank {
namespace {

std::string to_hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::string hash_bytes(std::string_view bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) throw IoError(errno_message(path, "cannot open", errno));
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<char> buffer(1 << 20);
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    XXH3_128bits_update(state.get(), buffer.data(), n);
  }
  if (std::ferror(file.get()) != 0) throw IoError(errno_message(path, "cannot read", errno));
  return to_hex(XXH3_128bits_digest(state.get()));
}

}  // namespace lowbank
