// A tokenizer.json, and a text through it.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "fuzz_file.h"
#include "tokenizers/json_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  try {
    const auto spec = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const auto tokenizer = tokenizers::make_json_tokenizer(spec, "fuzz");
    const auto encoding = tokenizer->encode_with_offsets(
        "Hello, <s>caf\xC3\xA9 [MASK]  123!\r\n\n\xF0\x9F\x99\x82 \xE4\xB8\xAD", true);
    if (encoding.ids.size() != encoding.ends.size()) std::abort();
    tokenizer->decode(encoding.ids);
    std::int64_t previous = -1;
    for (const auto id : encoding.ids) {
      tokenizer->decode_piece(previous, id);
      previous = id;
    }
  } catch (const Error&) {
  }
  return 0;
}
