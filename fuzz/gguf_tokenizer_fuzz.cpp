// The tokenizer inside a GGUF file, and a text through it.
#include "core/error.h"
#include "data/gguf_tokenizer.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const fuzz::FuzzFile file(data, size);
  try {
    const auto tokenizer = open_gguf_tokenizer(file.path());
    const auto ids = tokenizer->encode("Hello, <s>caf\xC3\xA9 123!\n\n\xF0\x9F\x99\x82", true);
    tokenizer->decode(ids);
  } catch (const Error&) {
  }
  return 0;
}
