#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "tokenizers/tokenizer.h"

namespace lowbank {
namespace {

// Two copies of protobuf and absl in one process have been known to crash at start or exit.
TEST(SentencepieceTokenizer, LivesInOneProcessWithLibTorch) {
  const auto tokenizer = tokenizers::open_tokenizer(std::string(LOWBANK_SOURCE_DIR) +
                                                    "/data/samples/stories260K/tok512.model");
  EXPECT_EQ(at::ones({2, 2}).sum().item<double>(), 4.0);
  EXPECT_FALSE(tokenizer->encode("hello").empty());
}

}  // namespace
}  // namespace lowbank
