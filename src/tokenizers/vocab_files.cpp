#include "tokenizers/vocab_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "tokenizers/bpe_model.h"
#include "tokenizers/json_tokenizer.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/sentencepiece_word_model.h"
#include "tokenizers/unicode.h"
#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// A folder's settings, for a file in it.
TokenizerSettings settings_next_to(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return TokenizerSettings::of_folder(folder.empty() ? "." : folder);
}

// Errors: ConfigError when tokenizer_class is another one than `classes` (or their Fast forms).
void check_class(const TokenizerSettings& settings, const char* absent,
                 const std::vector<std::string>& classes) {
  const std::string name = settings.class_name().empty() ? absent : settings.class_name();
  if (std::find(classes.begin(), classes.end(), name) != classes.end()) return;
  settings.config().reject(
      fmt::format("tokenizer_class: {} has no tokenizer.json and is not supported without; known: "
                  "{}",
                  name, fmt::join(classes, ", ")));
}

std::optional<std::int64_t> rows_of(const TokenizerSettings& settings, const OpenOptions& options) {
  return options.gives_ids_without_rows ? std::nullopt : settings.num_model_rows();
}

AddedTokenList added_to(const Json& vocabulary) {
  auto ids = std::make_shared<std::unordered_map<std::string, std::int64_t>>();
  for (const auto& [token, id] : vocabulary.items()) {
    if (id.is_number_integer()) ids->emplace(token, id.get<std::int64_t>());
  }
  return {[ids](std::string_view token) {
            const auto found = ids->find(std::string(token));
            return found == ids->end() ? -1 : found->second;
          },
          static_cast<std::int64_t>(vocabulary.size())};
}

// Base64 without line breaks; false if it is none. Source: RFC 4648, section 4.
bool decode_base64(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.empty() || text.size() % 4 != 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<std::uint32_t>(c - 'a' + 26);
    } else if (c >= '0' && c <= '9') {
      value = static_cast<std::uint32_t>(c - '0' + 52);
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else if (i < text.size() - padding) {
      return false;
    }
    bits = bits << 6 | value;
    if (i % 4 == 3) {
      for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(bits >> shift & 0xFFu));
    }
  }
  bytes.resize(bytes.size() - padding);
  return true;
}

// "BASE64 RANK"
bool read_rank(std::string_view line, std::string& bytes, std::int64_t& rank) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  const auto space = line.find(' ');
  if (space == std::string_view::npos || !decode_base64(line.substr(0, space), bytes)) return false;
  const std::string_view digits = line.substr(space + 1);
  const auto* const end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, rank);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

// Pieces that tiktoken would join: any two neighbours whose bytes together are a token, the lowest
// rank first. A token's rank is its id.
std::vector<BpeMerge> merges_of(const Vocabulary& vocabulary) {
  std::vector<BpeMerge> merges;
  for (const auto id : vocabulary.ids()) {
    const std::string& token = vocabulary.texts()[static_cast<std::size_t>(id)];
    std::size_t cut = 0;
    for (next_code_point(token, cut); cut < token.size(); next_code_point(token, cut)) {
      const auto left = vocabulary.find(std::string_view(token).substr(0, cut));
      if (left < 0) continue;
      const auto right = vocabulary.find(std::string_view(token).substr(cut));
      if (right >= 0) merges.push_back({left, right, id, id});
    }
  }
  return merges;
}

std::unique_ptr<Vocabulary> read_ranks(std::string_view content, const std::string& name) {
  std::vector<std::pair<std::string, std::int32_t>> entries;
  const auto lines = split_lines(content);
  std::vector<bool> is_used(lines.size());
  std::string bytes;
  std::size_t number = 0;
  for (const auto line : lines) {
    ++number;
    if (line.empty()) continue;
    std::int64_t rank = -1;
    if (!read_rank(line, bytes, rank)) {
      throw IoError(fmt::format("{} line {}: wants BASE64 and a rank", name, number));
    }
    if (bytes.size() > 4096) {  // finding the cuts of a token takes the square of its length
      throw IoError(fmt::format("{} line {}: a token of {} bytes is longer than 4096", name, number,
                                bytes.size()));
    }
    if (rank < 0 || rank >= static_cast<std::int64_t>(lines.size()) ||
        is_used[static_cast<std::size_t>(rank)]) {
      throw IoError(fmt::format("{} line {}: ranks must be in [0, {}), each once; got {}", name,
                                number, lines.size(), rank));
    }
    is_used[static_cast<std::size_t>(rank)] = true;
    entries.emplace_back(bytes_to_characters(bytes), static_cast<std::int32_t>(rank));
  }
  return std::make_unique<Vocabulary>(std::move(entries));
}

// Source: meta-llama/llama3 llama/tokenizer.py.
std::vector<std::string> llama3_special_tokens() {
  std::vector<std::string> tokens = {"<|begin_of_text|>", "<|end_of_text|>"};
  int reserved = 0;
  const auto add_reserved = [&](int count) {
    for (int i = 0; i < count; ++i) {
      tokens.push_back(fmt::format("<|reserved_special_token_{}|>", reserved++));
    }
  };
  add_reserved(4);
  tokens.insert(tokens.end(), {"<|start_header_id|>", "<|end_header_id|>"});
  add_reserved(1);
  tokens.emplace_back("<|eot_id|>");
  add_reserved(246);
  return tokens;
}

std::optional<std::int64_t> id_or_nothing(std::int32_t id) {
  return id < 0 ? std::nullopt : std::optional<std::int64_t>(id);
}

}  // namespace

std::unique_ptr<Tokenizer> open_json_tokenizer(const std::string& path,
                                               const OpenOptions& options) {
  Json spec = read_json(path);
  const TokenizerSettings settings = settings_next_to(path);
  if (settings.wants_sentencepiece()) {
    const std::string model = (fs::path(path).parent_path() / "tokenizer.model").string();
    std::error_code error;
    if (fs::is_regular_file(model, error)) {
      const std::string bytes = read_bytes(model);
      if (!is_tiktoken(bytes)) return make_llama_tokenizer(bytes, model, settings, options);
    }
  }
  SpecialNames names = settings.names("");
  if (spec.is_object()) {
    settings.apply(spec);
    const auto model = JsonReader(spec, path, kProgramFile).find("model");
    if (names.unk.empty() && model && model->is_object()) {
      names.unk = model->text("unk_token", "");
    }
  }
  return make_json_tokenizer(spec, path, names, settings.ids(), settings.finds_special_tokens(),
                             rows_of(settings, options));
}

std::unique_ptr<Tokenizer> open_gpt2_tokenizer(const std::string& path,
                                               const OpenOptions& options) {
  const Json vocabulary = read_json(path);
  constexpr const char* kClass = "GPT2Tokenizer";
  const TokenizerSettings settings = settings_next_to(path);
  check_class(settings, kClass, {"GPT2Tokenizer", "CodeGenTokenizer"});
  JsonReader(vocabulary, path, kProgramFile).check_object();
  AddedTokenList added = added_to(vocabulary);
  settings.add_tokens(added, kClass);

  const std::string merges_path = (fs::path(path).parent_path() / "merges.txt").string();
  const std::string merges_text = read_text(merges_path);
  Json merges = Json::array();
  for (const auto line : split_lines(merges_text)) {
    if (!line.empty() && !(merges.empty() && line.starts_with("#version"))) {
      merges.push_back(std::string(line));
    }
  }
  Json processor = {{"type", "ByteLevel"}, {"trim_offsets", false}};
  const SpecialNames names = settings.names(kClass);
  if (settings.flag("add_bos_token").value_or(false)) {
    const auto* token = added.find(names.bos);
    if (token == nullptr) {
      settings.config().reject("add_bos_token is set, but bos_token is null");
    }
    const Json bos = {{"SpecialToken", {{"id", names.bos}, {"type_id", 0}}}};
    const Json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    const Json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
    processor = {{"type", "TemplateProcessing"},
                 {"single", Json::array({bos, first})},
                 {"pair", Json::array({bos, first, second})},
                 {"special_tokens", {{names.bos, {{"ids", Json::array({token->id})}}}}}};
  }
  Json decoder = {{"type", "ByteLevel"}};
  if (settings.flag("clean_up_tokenization_spaces").value_or(false)) {
    decoder = with_cleaned_spaces(std::move(decoder));
  }
  const Json spec = {
      {"added_tokens", added.json()},
      {"pre_tokenizer",
       {{"type", "ByteLevel"},
        {"add_prefix_space", settings.flag("add_prefix_space").value_or(false)}}},
      {"post_processor", processor},
      {"decoder", decoder},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", std::move(merges)}}}};
  return make_json_tokenizer(spec, path, names, settings.ids(), settings.finds_special_tokens(),
                             rows_of(settings, options));
}

std::unique_ptr<Tokenizer> open_bert_tokenizer(const std::string& path,
                                               const OpenOptions& options) {
  const std::string content = read_text(path);
  constexpr const char* kClass = "BertTokenizer";
  const TokenizerSettings settings = settings_next_to(path);
  check_class(settings, kClass, {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"});
  std::int64_t line_number = 0;
  std::map<std::string, std::int64_t> ids;  // of two equal lines the last counts
  for (const auto line : split_lines(content)) ids[std::string(line)] = line_number++;
  Json vocabulary = Json::object();
  // Through the container: the object's own insertion looks for the key among all others.
  auto& members = static_cast<std::vector<std::pair<const std::string, Json>>&>(
      vocabulary.get_ref<Json::object_t&>());
  for (const auto& [token, id] : ids) members.emplace_back(token, id);

  const SpecialNames names = settings.names(kClass);
  AddedTokenList added = added_to(vocabulary);
  settings.add_tokens(added, kClass);
  const auto special = [](const std::string& token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const bool lower = settings.flag("do_lower_case").value_or(true);
  const auto* cls = added.find(names.cls);
  const auto* sep = added.find(names.sep);
  if (cls == nullptr || sep == nullptr) {
    settings.config().reject("cls_token and sep_token must not be null without a tokenizer.json");
  }
  Json decoder = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  // The slow tokenizer, from which transformers makes this one, cleans up unless it is told not to.
  if (settings.flag("clean_up_tokenization_spaces").value_or(true)) {
    decoder = with_cleaned_spaces(std::move(decoder));
  }
  const Json spec = {
      {"added_tokens", added.json()},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", true},
        {"handle_chinese_chars", settings.flag("tokenize_chinese_chars").value_or(true)},
        {"strip_accents", settings.flag("strip_accents").value_or(lower)},
        {"lowercase", lower}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({special(names.cls, 0), text("A", 0), special(names.sep, 0)})},
        {"pair", Json::array({special(names.cls, 0), text("A", 0), special(names.sep, 0),
                              text("B", 1), special(names.sep, 1)})},
        {"special_tokens",
         {{names.cls, {{"ids", Json::array({cls->id})}}},
          {names.sep, {{"ids", Json::array({sep->id})}}}}}}},
      {"decoder", decoder},
      {"model", {{"type", "WordPiece"}, {"unk_token", names.unk}, {"vocab", vocabulary}}}};
  return make_json_tokenizer(spec, path, names, settings.ids(), settings.finds_special_tokens(),
                             rows_of(settings, options));
}

std::unique_ptr<Tokenizer> make_llama_tokenizer(const std::string& bytes, const std::string& name,
                                                const TokenizerSettings& settings,
                                                const OpenOptions& options) {
  SentencepieceModel pieces = read_sentencepiece_model(bytes, name);
  const bool removes_extra_spaces = pieces.remove_extra_whitespaces;
  const SpecialIds own = {.bos = id_or_nothing(pieces.bos_id),
                          .eos = id_or_nothing(pieces.eos_id),
                          .pad = id_or_nothing(pieces.pad_id)};
  std::vector<AddedToken> found_in_text;  // the library keeps the control pieces out of a text
  for (const auto& piece : pieces.pieces) {
    const bool is_control = piece.kind == TokenKind::kControl;
    if (!is_control && piece.kind != TokenKind::kUserDefined) continue;
    found_in_text.push_back({.content = piece.text, .special = is_control});
  }
  auto model = std::make_unique<SentencepieceWordModel>(std::move(pieces), name);
  AddedTokenList added([&model = *model](std::string_view token) { return model.find(token); },
                       static_cast<std::int64_t>(model->num_tokens()));
  for (auto& token : found_in_text) added.add(std::move(token));
  const Json spec = settings.llama_spec(added, removes_extra_spaces);
  SpecialIds ids = settings.ids();
  if (!ids.bos) ids.bos = own.bos;
  if (!ids.eos) ids.eos = own.eos;
  if (!ids.pad) ids.pad = own.pad;
  return make_json_tokenizer(spec, std::move(model), name, settings.names("LlamaTokenizer"), ids,
                             settings.finds_special_tokens(), rows_of(settings, options));
}

bool is_tiktoken(std::string_view bytes) {
  std::string token;
  std::int64_t rank = -1;
  return read_rank(bytes.substr(0, std::min<std::size_t>(bytes.find('\n'), 8192)), token, rank);
}

std::unique_ptr<Tokenizer> make_tiktoken_tokenizer(std::string_view content,
                                                   const std::string& name) {
  auto vocabulary = read_ranks(content, name);
  Json added = Json::array();
  auto next_id = static_cast<std::int64_t>(vocabulary->texts().size());
  const SpecialNames names{.bos = "<|begin_of_text|>", .eos = "<|end_of_text|>"};
  const std::int64_t bos_id = next_id;
  for (const auto& token : llama3_special_tokens()) {
    added.push_back(
        {{"id", next_id++}, {"content", token}, {"special", true}, {"normalized", false}});
  }
  const auto merges = merges_of(*vocabulary);
  auto model = std::make_unique<BpeModel>(std::move(vocabulary), merges,
                                          BpeOptions{.ignore_merges = true}, name);
  const Json bos = {{"SpecialToken", {{"id", names.bos}, {"type_id", 0}}}};
  const auto text = [](const char* which, int type) {
    return Json{{"Sequence", {{"id", which}, {"type_id", type}}}};
  };
  const Json spec = {
      {"added_tokens", std::move(added)},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         Json::array(
             {{{"type", "Split"},
               {"pattern", {{"Regex", kLlama3Pattern}}},
               {"behavior", "Isolated"}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}})}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({bos, text("A", 0)})},
        {"pair", Json::array({bos, text("A", 0), bos, text("B", 1)})},
        {"special_tokens", {{names.bos, {{"ids", Json::array({bos_id})}}}}}}},
      {"decoder", {{"type", "ByteLevel"}}}};
  return make_json_tokenizer(spec, std::move(model), name, names);
}

}  // namespace lowbank::tokenizers
