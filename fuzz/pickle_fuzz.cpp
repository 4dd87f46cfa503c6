// The unpickler alone, without a container that most mutations break first.
#include "core/error.h"
#include "fuzz_file.h"
#include "io/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  try {
    const Pickle pickle(std::as_bytes(std::span(data, size)), "fuzz");
    if (pickle.size_bytes() > size) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
