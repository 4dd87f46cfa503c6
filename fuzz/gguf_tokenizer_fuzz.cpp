// The tokenizer inside a GGUF file, and a text through it.
#include "core/error.h"
#include "fuzz_file.h"
#include "tokenizers/gguf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  const fuzz::FuzzFile file(data, size);
  try {
    const auto tokenizer = tokenizers::open_gguf_tokenizer(file.path());
    // The end is no UTF-8, which these tokenizers take.
    for (const std::string text :
         {"Hello, <s>caf\xC3\xA9 123!\n\n\xF0\x9F\x99\x82", "ab \xF0\x9F  \xE2\x96 \xC3 "}) {
      const auto encoding = tokenizer->encode_with_offsets(text, true);
      if (encoding.ids != tokenizer->encode(text, true)) std::abort();
      if (encoding.ids.size() != encoding.ends.size()) std::abort();
      for (const auto end : encoding.ends) {
        if (end < 0 || end > static_cast<std::int64_t>(text.size())) std::abort();
      }
      tokenizer->decode(encoding.ids);
    }
  } catch (const Error&) {
  }
  return 0;
}
