#include "stages/tokenize_stage.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/text.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

// The `text` of every line. Errors: IoError naming the line.
std::vector<std::string> read_texts(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  const std::string content = read_text(path == "-" ? "/dev/stdin" : path);
  std::vector<std::string> texts;
  std::size_t number = 0;
  for (const auto line : split_lines(content)) {
    const std::string where = fmt::format("{} line {}", name, ++number);
    texts.push_back(JsonReader(parse_json(line, where), where, kProgramFile).text("text"));
  }
  return texts;
}

}  // namespace

void tokenize_stage(const TokenizeConfig& config, RunDir*, Metrics& metrics) {
  const auto tokenizer = tokenizers::open_tokenizer(config.tokenizer);
  const auto texts = read_texts(config.file);
  std::unique_ptr<AtomicFile> file;
  if (!config.out.empty()) file = std::make_unique<AtomicFile>(config.out);
  std::size_t num_ids = 0;
  const std::int64_t threads = config.common.threads > 0
                                   ? config.common.threads
                                   : std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  for (const auto& ids : tokenizers::encode_batch(*tokenizer, texts, config.special, threads)) {
    num_ids += ids.size();
    const Json line = {{"ids", ids}, {"text", tokenizer->decode(ids)}};
    if (file) {
      file->write(line.dump() + "\n");
    } else {
      print_line(line.dump());
    }
  }
  if (file) file->commit();
  metrics = {{"num_texts", texts.size()}, {"num_ids", num_ids}};
}

}  // namespace lowbank
