#include "config/parts/perplexity_config.h"

#include <fmt/format.h>

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

Fields PerplexityConfig::fields() const {
  return {
      Field("data", &data, "text file (UTF-8)").input(),
      Field("context", &context, "tokens per chunk")
          .at_least(2)
          .at_most(kMaxContext)
          .unit("tokens"),
      Field("stride", &stride, "tokens between windows; 0 = context")
          .at_least(0)
          .at_most(kMaxContext),
      Field("max_chars", &max_chars, "code points of the text to use; 0 = all")
          .at_least(0)
          .at_most(1e12),
      Field("max_chunks", &max_chunks, "chunks to score; 0 = all").at_least(0).at_most(kMaxCount),
      Field("batch_size", &batch_size, "chunks per forward pass").at_least(1).at_most(kMaxBatch),
      Field("keep_last", &keep_last, "score an incomplete last chunk too"),
      Field("special", &special, "add the tokenizer's special tokens to the text")};
}

void PerplexityConfig::validate() const {
  if (data.empty()) throw ConfigError("data is missing: --data FILE names the text to score");
  if (stride > context) {
    throw ConfigError(fmt::format(
        "stride: must be <= context ({}), tokens would be skipped; got {}", context, stride));
  }
  check_forward_size("batch_size", batch_size, "context", context);
}

}  // namespace lowbank
