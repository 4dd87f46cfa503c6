#include "stages/generate_stage.h"

#include <chrono>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/text.h"
#include "eval/generate.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "stages/runtime_options.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/utf8_stream.h"

namespace lowbank {
namespace {

std::vector<std::int64_t> read_ids(const std::string& path) {
  std::vector<std::int64_t> ids;
  for (const JsonReader& id : JsonReader(read_json(path), path, kProgramFile).items()) {
    ids.push_back(id.integer());
  }
  return ids;
}

// Prints tokens as text if there is a tokenizer, else as numbers. Ids that only the model has (some
// vocabularies are padded to round sizes) have no text.
class TokenPrinter {
 public:
  explicit TokenPrinter(const tokenizers::Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  void print(std::int64_t id) {
    if (tokenizer_ == nullptr) {
      print_text(fmt::format("{}{}", previous_ < 0 ? "" : " ", id));
    } else if (id < tokenizer_->vocab_size()) {
      print_text(stream_.push(tokenizer_->decode_piece(previous_, id)));
    } else {
      return;
    }
    previous_ = id;
  }
  void finish() { print_text(stream_.finish() + "\n"); }

 private:
  const tokenizers::Tokenizer* tokenizer_;
  std::int64_t previous_ = -1;
  tokenizers::Utf8Stream stream_;
};

}  // namespace

void generate_stage(const GenerateConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto loaded = load_causal_model(config.checkpoint, device, runtime.type);
  std::unique_ptr<tokenizers::Tokenizer> tokenizer;
  if (config.ids.empty() || tokenizers::has_tokenizer(loaded.folder)) {
    tokenizer = tokenizers::open_tokenizer(loaded.folder);
    check_vocabulary(*tokenizer, *loaded.model, loaded.folder);
  }
  if (find_invalid_utf8(config.prompt) != std::string_view::npos) {
    throw ConfigError("prompt: is not UTF-8");
  }
  const auto prompt = config.ids.empty() ? tokenizer->encode(config.prompt, /*add_special=*/true)
                                         : read_ids(config.ids);
  const auto stop_ids = read_stop_ids(loaded.folder);
  const SamplingOptions options = {.greedy = config.greedy,
                                   .temperature = config.temperature,
                                   .top_k = config.top_k,
                                   .top_p = config.top_p};
  const auto key = RandomKey(static_cast<std::uint64_t>(config.common.seed)).derive("generate");
  check_generation(*loaded.model, prompt, config.max_new_tokens);
  if (out != nullptr) out->begin();

  TokenPrinter printer(tokenizer.get());
  for (const auto id : prompt) printer.print(id);
  const auto start = std::chrono::steady_clock::now();
  const auto new_ids =
      generate_tokens(*loaded.model, std::vector<Prompt>{{.ids = prompt, .key = key}},
                      config.max_new_tokens, stop_ids, options,
                      [&](std::size_t, std::int64_t id) { printer.print(id); })
          .front();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  printer.finish();

  auto ids = prompt;
  ids.insert(ids.end(), new_ids.begin(), new_ids.end());
  metrics["ids"] = ids;
  if (tokenizer) {
    auto known = ids;
    std::erase_if(known, [&](std::int64_t id) { return id >= tokenizer->vocab_size(); });
    metrics["text"] = tokenizer->decode(known);
  }
  metrics["num_prompt_tokens"] = prompt.size();
  metrics["num_new_tokens"] = new_ids.size();
  metrics["seconds"] = seconds;
  metrics["tokens_per_second"] = static_cast<double>(new_ids.size()) / seconds;
}

}  // namespace lowbank
