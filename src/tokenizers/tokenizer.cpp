#include "tokenizers/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/text.h"
#include "io/checkpoint_meta.h"
#include "tokenizers/gguf_tokenizer.h"
#include "tokenizers/sentencepiece_tokenizer.h"
#include "tokenizers/vocab_files.h"

namespace lowbank::tokenizers {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSupported =
    "supported are tokenizer.json, tokenizer.model (sentencepiece or Llama-3's tiktoken form), "
    "vocab.json with merges.txt, and vocab.txt";

/// The tokenizer of a checkpoint folder or of the checkpoint in a run folder; "" if none.
fs::path find_tokenizer(const fs::path& folder, const OpenOptions& options = {}) {
  std::error_code error;
  for (const auto& inner : {folder, folder / "checkpoint"}) {
    const auto has = [&](const char* name) { return fs::is_regular_file(inner / name, error); };
    if (options.is_sentencepiece_raw && has("tokenizer.model")) return inner / "tokenizer.model";
    for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
      if (has(name)) return inner / name;
    }
    if (has("vocab.json") && has("merges.txt")) return inner / "vocab.json";
    if (has("vocab.txt")) return inner / "vocab.txt";
  }
  return {};
}

// Whether a folder's sentencepiece model belongs to a Llama tokenizer of transformers.
bool is_llama(const TokenizerSettings& settings) {
  if (!settings.has_class()) return false;
  if (settings.is_llama() || settings.class_name().empty()) return true;
  // Others number the pieces differently, or add other tokens.
  settings.config().reject(
      fmt::format("tokenizer_class {} is not supported without a tokenizer.json; supported: "
                  "LlamaTokenizer, LlamaTokenizerFast; tokenize --sentencepiece-raw reads "
                  "the model alone",
                  settings.class_name()));
}

}  // namespace

PairEncoding Tokenizer::encode_pair(std::string_view, std::optional<std::string_view>,
                                    std::int64_t) const {
  throw ConfigError("this tokenizer has no template for special tokens around two texts");
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, bool add_special) const {
  IdList list;
  TokenWriter writer(list, /*with_ends=*/false);
  encode_text(*this, text, add_special, writer);
  std::vector<std::int64_t> ids(list.size());
  list.copy(0, ids);
  return ids;
}

Encoding Tokenizer::encode_with_offsets(std::string_view text, bool add_special) const {
  class Collector : public TokenSink {
   public:
    explicit Collector(Encoding& to) : to_(to) {}
    void take(std::span<const std::int32_t> ids, std::span<const std::int64_t> ends) override {
      to_.ids.insert(to_.ids.end(), ids.begin(), ids.end());
      to_.ends.insert(to_.ends.end(), ends.begin(), ends.end());
    }

   private:
    Encoding& to_;
  };
  Encoding out;
  Collector collector(out);
  TokenWriter writer(collector, /*with_ends=*/true);
  encode_text(*this, text, add_special, writer);
  return out;
}

void encode_text(const Tokenizer& tokenizer, std::string_view text, bool add_special,
                 TokenWriter& out, std::size_t part_bytes) {
  std::size_t at = 0;
  std::size_t wanted = part_bytes;
  while (text.size() - at > wanted) {
    stop_if_interrupted();
    const std::size_t cut = tokenizer.find_cut(text.substr(at, wanted));
    if (cut == 0) {
      wanted *= 2;
      continue;
    }
    out.start_part(static_cast<std::int64_t>(at));
    tokenizer.encode_part({text.substr(at, cut), at == 0, false}, add_special, out);
    at += cut;
    wanted = part_bytes;
  }
  out.start_part(static_cast<std::int64_t>(at));
  tokenizer.encode_part({text.substr(at), at == 0, true}, add_special, out);
  out.finish();
}

void encode_stream(const Tokenizer& tokenizer, const TextSource& source, bool add_special,
                   TokenWriter& out, const std::function<bool()>& is_enough,
                   const std::function<void(std::string_view)>& on_part, std::size_t part_bytes) {
  std::string held;
  std::int64_t offset = 0;  // of `held` in the text
  std::size_t wanted = part_bytes;
  const auto encode_front = [&](std::size_t size, bool is_last) {
    const auto part = std::string_view(held).substr(0, size);
    if (on_part) on_part(part);
    out.start_part(offset);
    tokenizer.encode_part({part, offset == 0, is_last}, add_special, out);
    offset += static_cast<std::int64_t>(size);
  };
  for (std::string more = source(); !more.empty(); more = source()) {
    held += more;
    std::string().swap(more);
    while (held.size() > wanted) {
      stop_if_interrupted();
      const std::size_t cut = tokenizer.find_cut(std::string_view(held).substr(0, wanted));
      if (cut == 0) {
        wanted *= 2;
        continue;
      }
      encode_front(cut, /*is_last=*/false);
      held.erase(0, cut);
      wanted = part_bytes;
      if (is_enough && is_enough()) return out.finish();
    }
  }
  encode_front(held.size(), /*is_last=*/true);
  out.finish();
}

std::vector<IdList> encode_batch(const Tokenizer& tokenizer, std::span<const std::string> texts,
                                 bool add_special, std::int64_t num_threads) {
  std::vector<IdList> ids(texts.size());
  std::vector<std::exception_ptr> errors(texts.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < texts.size(); i = next++) {
      try {
        TokenWriter writer(ids[i], /*with_ends=*/false);
        encode_text(tokenizer, texts[i], add_special, writer);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> threads;
  const auto num_useful = std::min(num_threads, static_cast<std::int64_t>(texts.size()));
  try {
    for (std::int64_t i = 1; i < num_useful; ++i) threads.emplace_back(work);
  } catch (const std::system_error&) {
    // A limit of processes or memory: the threads that there are do the work.
  }
  work();
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return ids;
}

bool has_tokenizer(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? !find_tokenizer(path).empty() : fs::exists(path, error);
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path, const OpenOptions& options) {
  std::error_code error;
  fs::path file = path;
  if (fs::is_directory(path, error)) {
    file = find_tokenizer(path, options);
    if (file.empty()) {
      if (const auto hint = foreign_folder_hint(path)) throw ConfigError(*hint);
      throw IoError(fmt::format("{}: holds no tokenizer; {}", path, kSupported));
    }
  }
  const std::string extension = file.extension().string();
  if (extension == ".gguf") return open_gguf_tokenizer(file.string());
  if (extension == ".txt") {
    // Naming the merges means the pair of files.
    if (file.filename() != "merges.txt") return open_bert_tokenizer(file.string(), options);
    return open_gpt2_tokenizer((file.parent_path() / "vocab.json").string(), options);
  }
  if (extension == ".json") {
    return file.filename() == "vocab.json" ? open_gpt2_tokenizer(file.string(), options)
                                           : open_json_tokenizer(file.string(), options);
  }
  const std::string bytes = read_bytes(file.string());
  const std::string folder = file.parent_path().string();
  const auto settings = TokenizerSettings::of_folder(folder.empty() ? "." : folder);
  if (is_tiktoken(bytes)) {
    if (settings.has_added_tokens()) {
      warn(
          "{}: added tokens are ignored: {} holds tiktoken ranks, whose special tokens are "
          "those of Llama 3",
          settings.config().where(), file.string());
    }
    return make_tiktoken_tokenizer(bytes, file.string());
  }
  if (!options.is_sentencepiece_raw && is_llama(settings)) {
    return make_llama_tokenizer(bytes, file.string(), settings, options);
  }
  const SpecialTokens special{.add_bos = settings.flag("add_bos_token").value_or(true),
                              .add_eos = settings.flag("add_eos_token").value_or(false)};
  return std::make_unique<SentencepieceTokenizer>(bytes, file.string(), special);
}

}  // namespace lowbank::tokenizers
