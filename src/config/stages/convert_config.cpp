#include "config/stages/convert_config.h"

#include <filesystem>

#include "core/error.h"

namespace lowbank {

CommandInfo ConvertConfig::info() const {
  return {.name = "convert",
          .purpose = "Make a checkpoint folder, or a GGUF file, from a model in another form.",
          .example = "lowbank convert stories260K.bin ckpt --tokenizer tok512.model",
          .positionals = {"src", "out"},
          .output_file = "model.gguf"};
}

Fields ConvertConfig::stage_fields() const {
  return {
      Field("src", &src,
            "Hugging Face or state-spaces folder, .gguf file, llama2.c .bin file, Lowbank "
            "checkpoint")
          .input()
          .required(),
      Field("to", &to, "form of the output; empty: gguf for a name that ends so, else lowbank")
          .one_of({"", "lowbank", "gguf"}),
      Field("dtype", &dtype, "type of the weights; keep: as stored, f32 for quantised ones")
          .one_of({"keep", "f32", "bf16", "f16", "q8_0", "q4_0"}),
      Field("tokenizer", &tokenizer,
            "tokenizer file or folder, for a source that brings none (.bin, state-spaces)")
          .input(),
      Field("max_shard_bytes", &max_shard_bytes, "weights beyond this size go into several files")
          .at_least(1)
          .at_most(1e15)
          .unit("bytes")};
}

bool ConvertConfig::to_gguf() const {
  return to.empty() ? std::filesystem::path(common.out).extension() == ".gguf" : to == "gguf";
}

void ConvertConfig::validate() const {
  if (to == "lowbank" && std::filesystem::path(common.out).extension() == ".gguf") {
    throw ConfigError("to: lowbank writes a folder; " + common.out + " is the name of a GGUF file");
  }
  if (!to_gguf() && (dtype == "q8_0" || dtype == "q4_0")) {
    throw ConfigError("dtype: " + dtype +
                      " is for GGUF files; a checkpoint folder takes keep, "
                      "f32, bf16, f16 (or add --to gguf)");
  }
}

}  // namespace lowbank
