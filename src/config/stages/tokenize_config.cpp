#include "config/stages/tokenize_config.h"

namespace lowbank {

CommandInfo TokenizeConfig::info() const {
  return {.name = "tokenize",
          .purpose = "Turn texts into token ids and back.",
          .example = "lowbank tokenize runs/demo/convert --file texts.jsonl --out ids.jsonl",
          .positionals = {"tokenizer"},
          .takes_recipe = false,
          .has_run_dir = false};
}

Fields TokenizeConfig::stage_fields() const {
  return {
      Field("tokenizer", &tokenizer, "checkpoint folder or tokenizer file").input().required(),
      Field("file", &file, "JSON lines with a key `text`; - = standard input").input().required(),
      Field("out", &out, "JSON lines with `ids` and `text`; empty = standard output").output(),
      Field("special", &special, "add the start and end tokens the tokenizer asks for"),
      Field(
          "sentencepiece_raw", &sentencepiece_raw,
          "read tokenizer.model as the sentencepiece library does, without the files next to it")};
}

}  // namespace lowbank
