#include "tokenizers/vocab_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "tokenizers/bpe_model.h"
#include "tokenizers/json_tokenizer.h"
#include "tokenizers/unicode.h"
#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// The JSON files next to a vocabulary that say how to use it; absent ones are empty.
class Companions {
 public:
  explicit Companions(const std::string& path)
      : folder_(fs::path(path).parent_path()),
        config_(read("tokenizer_config.json")),
        special_(read("special_tokens_map.json")),
        added_(read("added_tokens.json")),
        generation_(read("generation_config.json")),
        model_(read("config.json")) {}

  const JsonReader& config() const { return config_; }
  const JsonReader& added() const { return added_; }

  SpecialNames names() const {
    return {.bos = token("bos_token"),
            .eos = token("eos_token"),
            .unk = token("unk_token"),
            .pad = token("pad_token"),
            .cls = token("cls_token"),
            .sep = token("sep_token"),
            .mask = token("mask_token")};
  }
  SpecialIds ids() const {
    return {.bos = id("bos_token_id"), .eos = id("eos_token_id"), .pad = id("pad_token_id")};
  }

  /// Errors: IoError when tokenizer_class is another one than `classes` (or their Fast forms).
  void check_class(const std::vector<std::string>& classes) const {
    if (!config().has("tokenizer_class")) return;
    std::string name = config().text("tokenizer_class");
    if (name.ends_with("Fast")) name.resize(name.size() - 4);
    if (std::find(classes.begin(), classes.end(), name) != classes.end()) return;
    config()
        .at("tokenizer_class")
        .fail(fmt::format("{} has no tokenizer.json and is not supported without; known: {}", name,
                          fmt::join(classes, ", ")));
  }

 private:
  JsonReader read(const char* name) const {
    const std::string path = (folder_ / name).string();
    std::error_code error;
    const bool is_there = fs::is_regular_file(path, error);
    JsonReader file(is_there ? read_json(path) : Json::object(), path, kProgramFile);
    file.check_object();
    return file;
  }

  // A string, or an object with the string under `content`.
  std::string token(const char* key) const {
    for (const JsonReader* file : {&config_, &special_}) {
      const auto value = file->find(key);
      if (value) return value->is_object() ? value->text("content") : value->text();
    }
    return "";
  }

  std::optional<std::int64_t> id(const char* key) const {
    for (const JsonReader* file : {&generation_, &model_}) {
      const auto found = file->find(key);
      if (!found) continue;
      const Json& given = found->value();
      const Json& value = given.is_array() && !given.empty() ? given.front() : given;
      if (value.is_number_unsigned()) return value.get<std::int64_t>();
    }
    return std::nullopt;
  }

  fs::path folder_;
  JsonReader config_, special_, added_, generation_, model_;
};

/// The `added_tokens` of a vocabulary that is no tokenizer.json.
class AddedTokenList {
 public:
  explicit AddedTokenList(const Json& vocabulary) : vocabulary_(vocabulary) {
    for (const auto& [token, id] : vocabulary.items()) {
      if (id.is_number_integer()) next_id_ = std::max(next_id_, id.get<std::int64_t>() + 1);
    }
  }

  /// Tokens that the files next to the vocabulary name with their ids.
  void add_all(const Companions& companions) {
    for (const auto& [id, entry] : companions.config().group("added_tokens_decoder").members()) {
      std::int64_t value = -1;
      const auto parsed = std::from_chars(id.data(), id.data() + id.size(), value);
      if (parsed.ptr != id.data() + id.size()) entry.fail("the key must be an id");
      entry.check_object();
      Json token = entry.value();
      token["id"] = value;
      tokens_.push_back(std::move(token));
      next_id_ = std::max(next_id_, value + 1);
    }
    for (const auto& [token, entry] : companions.added().members()) {
      const std::int64_t id = entry.integer(0, kMaxId);
      if (!has(token)) tokens_.push_back({{"id", id}, {"content", token}});
      next_id_ = std::max(next_id_, id + 1);
    }
  }

  /// A special token; one that the vocabulary lacks gets the next free id. Returns its id.
  std::int64_t add_special(const std::string& token) {
    for (auto& known : tokens_) {
      if (known["content"] != token) continue;
      known["special"] = true;
      return known["id"].get<std::int64_t>();
    }
    const auto found = vocabulary_.find(token);
    const std::int64_t id = found != vocabulary_.end() && found->is_number_integer()
                                ? found->get<std::int64_t>()
                                : next_id_++;
    tokens_.push_back({{"id", id}, {"content", token}, {"special", true}, {"normalized", false}});
    return id;
  }

  void add_special(const SpecialNames& names) {
    for (const auto* name :
         {&names.bos, &names.eos, &names.unk, &names.sep, &names.pad, &names.cls, &names.mask}) {
      if (!name->empty()) add_special(*name);
    }
  }

  const Json& tokens() const { return tokens_; }

 private:
  bool has(const std::string& token) const {
    return std::any_of(tokens_.begin(), tokens_.end(),
                       [&](const Json& known) { return known["content"] == token; });
  }

  const Json& vocabulary_;
  Json tokens_ = Json::array();
  std::int64_t next_id_ = 0;
};

void set_default(std::string& name, const char* absent) {
  if (name.empty()) name = absent;
}

// `decoder`, and after it what transformers does to a decoded text where it is told to.
// Source: transformers PreTrainedTokenizerBase.clean_up_tokenization, in its order.
Json with_cleaned_spaces(Json decoder) {
  Json steps = Json::array({std::move(decoder), {{"type", "Fuse"}}});
  constexpr std::array<std::pair<const char*, const char*>, 10> kCleanups = {{{" .", "."},
                                                                              {" ?", "?"},
                                                                              {" !", "!"},
                                                                              {" ,", ","},
                                                                              {" ' ", "'"},
                                                                              {" n't", "n't"},
                                                                              {" 'm", "'m"},
                                                                              {" 's", "'s"},
                                                                              {" 've", "'ve"},
                                                                              {" 're", "'re"}}};
  for (const auto& [from, to] : kCleanups) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}});
  }
  return {{"type", "Sequence"}, {"decoders", std::move(steps)}};
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

}  // namespace

std::unique_ptr<Tokenizer> open_json_tokenizer(const std::string& path) {
  const Json spec = read_json(path);
  const Companions companions(path);
  SpecialNames names = companions.names();
  if (names.unk.empty() && spec.is_object()) {
    const auto model = JsonReader(spec, path, kProgramFile).find("model");
    if (model && model->is_object()) names.unk = model->text("unk_token", "");
  }
  return make_json_tokenizer(spec, path, names, companions.ids());
}

std::unique_ptr<Tokenizer> open_gpt2_tokenizer(const std::string& path) {
  const Json vocabulary = read_json(path);
  const Companions companions(path);
  companions.check_class({"GPT2Tokenizer", "CodeGenTokenizer"});
  SpecialNames names = companions.names();
  for (auto* name : {&names.bos, &names.eos, &names.unk}) set_default(*name, "<|endoftext|>");
  JsonReader(vocabulary, path, kProgramFile).check_object();
  AddedTokenList added(vocabulary);
  added.add_all(companions);
  added.add_special(names);

  const std::string merges_path = (fs::path(path).parent_path() / "merges.txt").string();
  const std::string merges_text = read_text(merges_path);
  Json merges = Json::array();
  for (const auto line : split_lines(merges_text)) {
    if (!line.empty() && !(merges.empty() && line.starts_with("#version"))) {
      merges.push_back(std::string(line));
    }
  }
  Json processor = {{"type", "ByteLevel"}, {"trim_offsets", false}};
  if (companions.config().flag("add_bos_token", false)) {
    const Json bos = {{"SpecialToken", {{"id", names.bos}, {"type_id", 0}}}};
    const Json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    const Json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
    const std::int64_t bos_id = added.add_special(names.bos);
    processor = {{"type", "TemplateProcessing"},
                 {"single", Json::array({bos, first})},
                 {"pair", Json::array({bos, first, second})},
                 {"special_tokens", {{names.bos, {{"ids", Json::array({bos_id})}}}}}};
  }
  Json decoder = {{"type", "ByteLevel"}};
  if (companions.config().flag("clean_up_tokenization_spaces", false)) {
    decoder = with_cleaned_spaces(std::move(decoder));
  }
  const Json spec = {
      {"added_tokens", added.tokens()},
      {"pre_tokenizer",
       {{"type", "ByteLevel"},
        {"add_prefix_space", companions.config().flag("add_prefix_space", false)}}},
      {"post_processor", processor},
      {"decoder", decoder},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", std::move(merges)}}}};
  return make_json_tokenizer(spec, path, names, companions.ids());
}

std::unique_ptr<Tokenizer> open_bert_tokenizer(const std::string& path) {
  const std::string content = read_text(path);
  const Companions companions(path);
  companions.check_class({"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"});
  const auto& config = companions.config();
  if (!config.flag("do_basic_tokenize", true)) {
    config.at("do_basic_tokenize").fail("false is not supported without a tokenizer.json");
  }
  std::int64_t line_number = 0;
  std::map<std::string, std::int64_t> ids;  // of two equal lines the last counts
  for (const auto line : split_lines(content)) ids[std::string(line)] = line_number++;
  Json vocabulary = Json::object();
  // Through the container: the object's own insertion looks for the key among all others.
  auto& members = static_cast<std::vector<std::pair<const std::string, Json>>&>(
      vocabulary.get_ref<Json::object_t&>());
  for (const auto& [token, id] : ids) members.emplace_back(token, id);

  SpecialNames names = companions.names();
  set_default(names.unk, "[UNK]");
  set_default(names.sep, "[SEP]");
  set_default(names.pad, "[PAD]");
  set_default(names.cls, "[CLS]");
  set_default(names.mask, "[MASK]");
  AddedTokenList added(vocabulary);
  added.add_all(companions);
  added.add_special(names);
  const auto special = [](const std::string& token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const bool lower = config.flag("do_lower_case", true);
  const std::int64_t cls_id = added.add_special(names.cls);
  const std::int64_t sep_id = added.add_special(names.sep);
  Json decoder = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  if (config.flag("clean_up_tokenization_spaces", true)) {
    decoder = with_cleaned_spaces(std::move(decoder));
  }
  const Json spec = {
      {"added_tokens", added.tokens()},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", true},
        {"handle_chinese_chars", config.flag("tokenize_chinese_chars", true)},
        {"strip_accents", config.flag("strip_accents", lower)},
        {"lowercase", lower}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({special(names.cls, 0), text("A", 0), special(names.sep, 0)})},
        {"pair", Json::array({special(names.cls, 0), text("A", 0), special(names.sep, 0),
                              text("B", 1), special(names.sep, 1)})},
        {"special_tokens",
         {{names.cls, {{"ids", Json::array({cls_id})}}},
          {names.sep, {{"ids", Json::array({sep_id})}}}}}}},
      {"decoder", decoder},
      {"model", {{"type", "WordPiece"}, {"unk_token", names.unk}, {"vocab", vocabulary}}}};
  return make_json_tokenizer(spec, path, names, companions.ids());
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
