#include "stages/tokenize_stage.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/interrupt.h"
#include "core/json_text_lines.h"
#include "core/log.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

// Texts are read, encoded and written in groups: until one has so many bytes or lines.
constexpr std::size_t kGroupBytes = std::size_t{1} << 22;
constexpr std::size_t kGroupLines = 4096;

/// The command's result, in blocks.
class Output {
 public:
  /// `path` is "" for standard output. Errors: IoError.
  explicit Output(const std::string& path) {
    if (!path.empty()) file_ = std::make_unique<AtomicFile>(path);
  }

  void write_line(const tokenizers::Tokenizer& tokenizer, const tokenizers::IdList& ids) {
    block_ += R"({"ids":[)";
    const char* between = "";
    for (const auto& chunk : ids.chunks()) {
      for (const auto id : chunk) {
        fmt::format_to(std::back_inserter(block_), "{}{}", between, id);
        between = ",";
        if (block_.size() >= kBlockBytes) flush();
      }
    }
    block_ += R"(],"text":")";
    tokenizer.decode_list(ids, [&](std::string_view text) {
      // Decoded text comes in whole characters, so that its pieces are escaped like the whole.
      while (!text.empty()) {
        std::size_t size = std::min(text.size(), kBlockBytes);
        while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0u) == 0x80) {
          ++size;
        }
        const std::string quoted = Json(text.substr(0, size)).dump();
        block_.append(quoted, 1, quoted.size() - 2);
        text.remove_prefix(size);
        if (block_.size() >= kBlockBytes) flush();
      }
    });
    block_ += "\"}\n";
    if (block_.size() >= kBlockBytes || !file_) flush();
  }

  void finish() {
    flush();
    if (file_) file_->commit();
  }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{1} << 16;
  void flush() {
    stop_if_interrupted();
    if (block_.empty()) return;
    if (file_) {
      file_->write(block_);
    } else {
      print_text(block_);
    }
    block_.clear();
  }

  std::unique_ptr<AtomicFile> file_;
  std::string block_;
};

}  // namespace

void tokenize_stage(const TokenizeConfig& config, RunDir*, Metrics& metrics) {
  const auto tokenizer = tokenizers::open_tokenizer(
      config.tokenizer,
      {.is_sentencepiece_raw = config.sentencepiece_raw, .gives_ids_without_rows = true});
  const bool is_standard_input = config.file == "-";
  JsonTextLines lines(is_standard_input ? "/dev/stdin" : config.file,
                      is_standard_input ? "standard input" : config.file, "text");
  std::unique_ptr<Output> out;
  std::size_t num_ids = 0;
  const std::int64_t threads = config.common.threads > 0
                                   ? config.common.threads
                                   : std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  std::vector<std::string> texts;
  for (bool is_more = true; is_more;) {
    texts.clear();
    std::size_t num_bytes = 0;
    while (num_bytes < kGroupBytes && texts.size() < kGroupLines) {
      std::string text;
      is_more = lines.next(text);
      if (!is_more) break;
      num_bytes += text.size();
      texts.push_back(std::move(text));
    }
    if (!out) out = std::make_unique<Output>(config.out);
    auto ids = tokenizers::encode_batch(*tokenizer, texts, config.special, threads);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::string().swap(texts[i]);
      num_ids += ids[i].size();
      out->write_line(*tokenizer, std::exchange(ids[i], {}));
    }
  }
  out->finish();
  metrics = {{"num_texts", lines.num_lines()}, {"num_ids", num_ids}};
}

}  // namespace lowbank
