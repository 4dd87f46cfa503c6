// A tokenizer.model, and a text through it.
#include "core/error.h"
#include "tokenizers/sentencepiece_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  try {
    const tokenizers::SentencepieceTokenizer tokenizer(
        std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    const auto ids = tokenizer.encode("Hello, <s>caf\xC3\xA9 123!\n\n\xF0\x9F\x99\x82", true);
    tokenizer.decode(ids);
  } catch (const Error&) {
  }
  return 0;
}
