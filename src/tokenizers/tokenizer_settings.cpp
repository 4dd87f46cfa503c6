#include "tokenizers/tokenizer_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {

struct TokenizerSettings::ClassRules {
  enum class Kind {
    kPlain,     ///< takes the tokenizer.json as it is
    kBert,      ///< sets letter case, accents and Chinese characters
    kTemplate,  ///< puts its own start and end tokens around a text
    kBackend,   ///< 5.x: the same, if add_bos_token or add_eos_token is there
  };
  const char* name;
  Kind kind = Kind::kPlain;
  SpecialNames names = {};  ///< where no file names the tokens
  bool add_bos = false;     ///< of kTemplate, where add_bos_token is absent
};

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Kind = TokenizerSettings::ClassRules::Kind;
using Rules = TokenizerSettings::ClassRules;

// A missing key and a wrong type are faults of the file, a setting that is not supported is the
// user's.
constexpr JsonRules kSettingsFile{.blame = JsonRules::Blame::kFileThenUser};

constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581, sentencepiece's space

constexpr std::array<const char*, 5> kCompanions = {"tokenizer_config.json",
                                                    "special_tokens_map.json", "added_tokens.json",
                                                    "generation_config.json", "config.json"};

// The roles of special tokens, in the order in which transformers adds them.
struct Role {
  const char* key;
  std::string SpecialNames::*name;
};
constexpr std::array<Role, 7> kRoles = {{{"bos_token", &SpecialNames::bos},
                                         {"eos_token", &SpecialNames::eos},
                                         {"unk_token", &SpecialNames::unk},
                                         {"sep_token", &SpecialNames::sep},
                                         {"pad_token", &SpecialNames::pad},
                                         {"cls_token", &SpecialNames::cls},
                                         {"mask_token", &SpecialNames::mask}}};

// Source: transformers 4.57.1 models/*/tokenization_*_fast.py, the arguments of __init__.
const std::vector<Rules>& known_classes() {
  static const std::vector<Rules> classes = [] {
    const SpecialNames text_end = {
        .bos = "<|endoftext|>", .eos = "<|endoftext|>", .unk = "<|endoftext|>"};
    const SpecialNames llama = {.bos = "<s>", .eos = "</s>", .unk = "<unk>"};
    const SpecialNames bert = {
        .unk = "[UNK]", .pad = "[PAD]", .cls = "[CLS]", .sep = "[SEP]", .mask = "[MASK]"};
    const SpecialNames qwen2 = {
        .eos = "<|endoftext|>", .unk = "<|endoftext|>", .pad = "<|endoftext|>"};
    return std::vector<Rules>{
        {.name = "PreTrainedTokenizer"},
        {.name = "TokenizersBackend", .kind = Kind::kBackend},
        {.name = "LlamaTokenizer", .kind = Kind::kTemplate, .names = llama, .add_bos = true},
        {.name = "GPTNeoXTokenizer", .kind = Kind::kTemplate, .names = text_end},
        {.name = "GPT2Tokenizer", .names = text_end},
        {.name = "CodeGenTokenizer", .names = text_end},
        {.name = "Qwen2Tokenizer", .names = qwen2},
        {.name = "BertTokenizer", .kind = Kind::kBert, .names = bert},
        {.name = "DistilBertTokenizer", .kind = Kind::kBert, .names = bert},
        {.name = "ElectraTokenizer", .kind = Kind::kBert, .names = bert}};
  }();
  return classes;
}

// The class that AutoTokenizer takes for a model whose folder names none.
std::string class_of_model(const std::string& model_type) {
  static const std::map<std::string_view, const char*> classes = {
      {"llama", "LlamaTokenizer"},           {"mistral", "LlamaTokenizer"},
      {"mixtral", "LlamaTokenizer"},         {"mamba", "GPTNeoXTokenizer"},
      {"mamba2", "GPTNeoXTokenizer"},        {"falcon_mamba", "GPTNeoXTokenizer"},
      {"gpt_neox", "GPTNeoXTokenizer"},      {"gpt2", "GPT2Tokenizer"},
      {"qwen2", "Qwen2Tokenizer"},           {"bert", "BertTokenizer"},
      {"distilbert", "DistilBertTokenizer"}, {"electra", "ElectraTokenizer"}};
  const auto found = classes.find(model_type);
  return found == classes.end() ? "" : found->second;
}

JsonReader read_companion(const TokenizerFiles& files, const char* name,
                          const std::string& source) {
  const std::string path = (fs::path(source) / name).string();
  const auto found = files.find(name);
  const bool is_there = found != files.end();
  JsonReader file(is_there ? parse_json(found->second, path) : Json::object(), path, kSettingsFile);
  file.check_object();
  return file;
}

/// A token as transformers' AddedToken reads it from a dictionary.
AddedToken read_token(const JsonReader& spec, bool special) {
  AddedToken token;
  token.content = spec.text("content");
  token.special = special || spec.flag("special", false);
  token.normalized = spec.flag("normalized", !token.special);
  token.lstrip = spec.flag("lstrip", false);
  token.rstrip = spec.flag("rstrip", false);
  token.single_word = spec.flag("single_word", false);
  return token;
}

AddedToken plain_token(const std::string& content, bool special) {
  return {.content = content, .special = special, .normalized = !special};
}

bool is_same(const AddedToken& a, const AddedToken& b) {
  return a.content == b.content && a.special == b.special && a.normalized == b.normalized &&
         a.lstrip == b.lstrip && a.rstrip == b.rstrip && a.single_word == b.single_word;
}

std::int64_t read_id(const std::string& key, const JsonReader& entry) {
  std::int64_t id = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size() || id < 0) {
    entry.fail("the key must be an id");
  }
  return id;
}

bool has_type(const Json& spec, const char* key, const char* type) {
  const auto found = spec.find(key);
  if (found == spec.end() || !found->is_object()) return false;
  const auto name = found->find("type");
  return name != found->end() && *name == type;
}

Json llama_decoder(bool strips_mark) {
  Json decoders =
      Json::array({{{"type", "Replace"}, {"pattern", {{"String", kMark}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}});
  if (strips_mark) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
}

}  // namespace

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

AddedToken read_added_token(const JsonReader& spec) { return read_token(spec, false); }

// ------------------------------------------------------------------ AddedTokenList

const AddedToken* AddedTokenList::find(std::string_view content) const {
  const auto found = std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& token) {
    return token.content == content;
  });
  return found == tokens_.end() ? nullptr : &*found;
}

void AddedTokenList::add(AddedToken token) {
  if (token.content.empty()) return;
  const auto known = std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& other) {
    return other.content == token.content;
  });
  if (known != tokens_.end()) {
    token.id = known->id;
    // A special token stays special, and stays in the list that it was found by first.
    if (known->special) token.normalized = known->normalized;
    token.special = token.special || known->special;
    *known = std::move(token);
    return;
  }
  std::int64_t id = find_(token.content);
  if (id < 0) {
    id = num_tokens_;
    for (const auto& other : tokens_) id = std::max(id, std::int64_t{other.id} + 1);
  }
  token.id = static_cast<std::int32_t>(id);
  tokens_.push_back(std::move(token));
}

Json AddedTokenList::json() const {
  Json list = Json::array();
  for (const auto& token : tokens_) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

// ------------------------------------------------------------------ TokenizerSettings

/// A special token by its role; where a file gives its flags, they count.
struct TokenizerSettings::SpecialToken {
  std::string role;
  AddedToken token;
  bool has_flags = false;
};

TokenizerSettings TokenizerSettings::of_folder(const std::string& folder) {
  TokenizerFiles files;
  for (const char* name : kCompanions) {
    const std::string path = (fs::path(folder) / name).string();
    std::error_code error;
    if (fs::is_regular_file(path, error)) files[name] = read_text(path);
  }
  return {files, folder};
}

TokenizerSettings::TokenizerSettings(const TokenizerFiles& files, const std::string& source)
    : source_(source),
      config_(read_companion(files, "tokenizer_config.json", source)),
      special_(read_companion(files, "special_tokens_map.json", source)),
      added_(read_companion(files, "added_tokens.json", source)),
      generation_(read_companion(files, "generation_config.json", source)),
      model_(read_companion(files, "config.json", source)),
      has_config_(files.contains("tokenizer_config.json")),
      has_decoder_(config_.has("added_tokens_decoder")) {
  class_name_ = config_.text("tokenizer_class", "");
  if (class_name_.empty()) class_name_ = model_.text("tokenizer_class", "");
  if (class_name_.empty()) class_name_ = class_of_model(model_.text("model_type", ""));
  if (class_name_.ends_with("Fast")) class_name_.resize(class_name_.size() - 4);
  if (config_.has("auto_map")) {
    warn("{}: auto_map is ignored: the tokenizer's own program is not run", config_.where());
  }
  if (has_decoder_) {
    for (const auto& [key, entry] : config_.group("added_tokens_decoder").members()) {
      AddedToken token = read_token(entry, false);
      token.id = static_cast<std::int32_t>(read_id(key, entry));
      tokens_.push_back(std::move(token));
    }
  } else {
    std::vector<std::string> special;
    for (const auto& token : special_tokens("")) special.push_back(token.token.content);
    for (const auto& [content, entry] : added_.members()) {
      const bool is_special = std::find(special.begin(), special.end(), content) != special.end();
      AddedToken token = plain_token(content, is_special);
      token.id = static_cast<std::int32_t>(entry.integer(0, kMaxId));
      tokens_.push_back(std::move(token));
    }
  }
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
}

const TokenizerSettings::ClassRules& TokenizerSettings::rules(const char* absent) const {
  const std::string_view name = class_name_.empty() ? std::string_view(absent) : class_name_;
  const auto& classes = known_classes();
  const auto found = std::find_if(classes.begin(), classes.end(),
                                  [&](const Rules& rules) { return rules.name == name; });
  return found == classes.end() ? classes.front() : *found;
}

bool TokenizerSettings::is_llama() const { return class_name_ == "LlamaTokenizer"; }

std::optional<bool> TokenizerSettings::flag(std::string_view key) const {
  return config_.has(key) ? std::optional(config_.flag(key)) : std::nullopt;
}

// The table of docs/tokenize.md: what is in special_tokens_map.json wins over
// tokenizer_config.json, unless the latter has added_tokens_decoder; then only it is read.
std::vector<TokenizerSettings::SpecialToken> TokenizerSettings::special_tokens(
    const char* absent_class) const {
  std::vector<SpecialToken> tokens;
  const auto add = [&](const std::string& role, const JsonReader& value, bool special) {
    const bool has_flags = value.is_object();
    SpecialToken token{
        .role = role,
        .token = has_flags ? read_token(value, special) : plain_token(value.text(), true),
        .has_flags = has_flags};
    const bool is_list = role.empty();
    const bool is_known =
        is_list && std::any_of(tokens.begin(), tokens.end(), [&](const SpecialToken& other) {
          return other.token.content == token.token.content;
        });
    if (!is_known && !token.token.content.empty()) tokens.push_back(std::move(token));
  };
  const auto& rules = this->rules(absent_class);
  for (const auto& role : kRoles) {
    const bool is_in_map = !has_decoder_ && special_.value().contains(role.key);
    const JsonReader& file = is_in_map ? special_ : config_;
    if (const auto value = file.find(role.key)) {
      add(role.key, *value, is_in_map);
    } else if (const auto& name = rules.names.*role.name;
               !file.value().contains(role.key) && !name.empty()) {
      tokens.push_back({.role = role.key, .token = plain_token(name, true)});
    }
  }
  for (const auto* file : {&config_, &special_}) {
    if (file == &special_ && has_decoder_) continue;
    for (const auto& value : file->items("additional_special_tokens")) {
      add("", value, file == &special_);
    }
    const auto extra = file->find("extra_special_tokens");
    if (!extra) continue;
    if (extra->is_list()) {
      for (const auto& value : extra->items()) add("", value, true);
    } else {
      for (const auto& [role, value] : extra->members()) add("", value, true);
    }
  }
  return tokens;
}

SpecialNames TokenizerSettings::names(const char* absent_class) const {
  SpecialNames names;
  for (const auto& token : special_tokens(absent_class)) {
    for (const auto& role : kRoles) {
      if (token.role == role.key) names.*role.name = token.token.content;
    }
  }
  return names;
}

SpecialIds TokenizerSettings::ids() const {
  const auto id = [&](const char* key) -> std::optional<std::int64_t> {
    for (const JsonReader* file : {&generation_, &model_}) {
      const auto found = file->find(key);
      if (!found) continue;
      const Json& given = found->value();
      const Json& value = given.is_array() && !given.empty() ? given.front() : given;
      if (value.is_number_unsigned()) return value.get<std::int64_t>();
    }
    return std::nullopt;
  };
  return {.bos = id("bos_token_id"), .eos = id("eos_token_id"), .pad = id("pad_token_id")};
}

std::optional<std::int64_t> TokenizerSettings::num_model_rows() const {
  const auto size = model_.find("vocab_size");
  const bool is_size = size && size->value().is_number_unsigned();
  return is_size ? std::optional(size->integer()) : std::nullopt;
}

void TokenizerSettings::add_tokens(AddedTokenList& list, const char* absent_class) const {
  const auto special = special_tokens(absent_class);
  const auto is_special = [&](const std::string& content) {
    return std::any_of(special.begin(), special.end(),
                       [&](const SpecialToken& token) { return token.token.content == content; });
  };
  std::vector<AddedToken> wanted;
  const auto is_wanted = [&](const std::string& content) {
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const AddedToken& token) { return token.content == content; });
  };
  for (const auto& token : tokens_) {
    const auto* known = list.find(token.content);
    // A tokenizer.json wins over added_tokens.json, which has no flags.
    const bool is_filed = known != nullptr && (!has_decoder_ || is_same(*known, token));
    if (!is_filed) wanted.push_back(token);
  }
  for (const auto& [role, token, has_flags] : special) {
    const auto filed = std::find_if(
        tokens_.begin(), tokens_.end(),
        [&content = token.content](const AddedToken& other) { return other.content == content; });
    const AddedToken* known = list.find(token.content);
    // Flags of added_tokens_decoder, or else of a tokenizer.json, win over the special token's own.
    if (has_decoder_ && filed != tokens_.end()) {
      if (!is_wanted(token.content)) wanted.push_back(*filed);
    } else if (!has_decoder_ && known != nullptr) {
      wanted.push_back(*known);
    } else if (has_flags || (known == nullptr && filed == tokens_.end())) {
      wanted.push_back(token);
    }
  }
  for (auto& token : wanted) {
    token.special = token.special || is_special(token.content);
    list.add(std::move(token));
  }
}

Json TokenizerSettings::template_of(const ClassRules& rules, const AddedTokenList& list) const {
  const SpecialNames names = this->names(rules.name);
  Json single = Json::array();
  Json pair = Json::array();
  Json special = Json::object();
  const auto add = [&](const char* key, const std::string& name, int type, bool in_single) {
    const auto* token = list.find(name);
    if (name.empty() || token == nullptr) {
      if (type == 0) {
        warn("{}: {} is set, but no file names the token", config_.where(), key);
      }
      return;
    }
    const Json item = {{"SpecialToken", {{"id", name}, {"type_id", type}}}};
    if (in_single) single.push_back(item);
    pair.push_back(item);
    special[name] = {{"id", name}, {"ids", {token->id}}, {"tokens", {name}}};
  };
  const bool has_bos = flag("add_bos_token").value_or(rules.add_bos);
  const bool has_eos = flag("add_eos_token").value_or(false);
  if (has_bos) add("add_bos_token", names.bos, 0, true);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  pair.push_back(single.back());
  if (has_eos) add("add_eos_token", names.eos, 0, true);
  if (has_bos) add("add_bos_token", names.bos, 1, false);
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  if (has_eos) add("add_eos_token", names.eos, 1, false);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

void TokenizerSettings::apply(Json& spec) const {
  const auto model = spec.find("model");
  if (model == spec.end() || !model->is_object()) return;  // its reader says what is wrong
  const auto vocabulary = model->find("vocab");
  if (vocabulary == model->end() || !vocabulary->is_object()) return;
  std::unordered_map<std::string_view, std::int64_t> ids;
  for (const auto& [token, id] : vocabulary->items()) {
    if (id.is_number_integer()) ids.emplace(token, id.get<std::int64_t>());
  }
  AddedTokenList list(
      [&](std::string_view token) {
        const auto found = ids.find(token);
        return found == ids.end() ? -1 : found->second;
      },
      static_cast<std::int64_t>(vocabulary->size()));
  const JsonReader reader(spec, (fs::path(source_) / "tokenizer.json").string(), kProgramFile);
  for (const auto& entry : reader.items("added_tokens")) list.add(read_added_token(entry));
  const auto& rules = this->rules("");
  if (!class_name_.empty() && rules.name != class_name_) {
    warn("{}: tokenizer_class {} is not known: what it changes is left out", config_.where(),
         class_name_);
  }
  add_tokens(list, "");
  spec["added_tokens"] = list.json();
  if (!has_class()) return;

  if (rules.kind == Kind::kBert && has_type(spec, "normalizer", "BertNormalizer")) {
    auto& normalizer = spec["normalizer"];
    normalizer["lowercase"] = flag("do_lower_case").value_or(true);
    const auto strip = flag("strip_accents");
    normalizer["strip_accents"] = strip ? Json(*strip) : Json();
    normalizer["handle_chinese_chars"] = flag("tokenize_chinese_chars").value_or(true);
  }
  // A Llama class leaves the space alone, or rebuilds everything; 5.x leaves it alone, too.
  const bool is_null = config_.value().contains("add_prefix_space") &&
                       config_.value().at("add_prefix_space").is_null();
  if (has_type(spec, "pre_tokenizer", "ByteLevel") && !is_llama() && !is_null &&
      rules.kind != Kind::kBackend) {
    spec["pre_tokenizer"]["add_prefix_space"] = flag("add_prefix_space").value_or(false);
  }
  if (is_llama() && flag("add_prefix_space")) {
    if (model->value("byte_fallback", false)) {
      const char* scheme = !*flag("add_prefix_space") ? "never"
                           : llama_marks()            ? "always"
                                                      : "first";
      spec["normalizer"] = nullptr;
      spec["pre_tokenizer"] = {{"type", "Metaspace"},
                               {"replacement", kMark},
                               {"prepend_scheme", scheme},
                               {"split", false}};
      spec["decoder"] = llama_decoder(*flag("add_prefix_space"));
    } else {
      warn("{}: add_prefix_space is ignored: the tokenizer.json is not that of a Llama tokenizer",
           config_.where());
    }
  }
  const bool asks_for_tokens = config_.has("add_bos_token") || config_.has("add_eos_token");
  if (rules.kind == Kind::kTemplate || (rules.kind == Kind::kBackend && asks_for_tokens)) {
    spec["post_processor"] = template_of(rules, list);
  }
  if (flag("clean_up_tokenization_spaces").value_or(false) && spec.contains("decoder") &&
      !spec["decoder"].is_null()) {
    spec["decoder"] = with_cleaned_spaces(std::move(spec["decoder"]));
  }
}

bool TokenizerSettings::llama_marks() const { return flag("legacy").value_or(true); }

bool TokenizerSettings::wants_sentencepiece() const {
  return is_llama() && flag("add_prefix_space").has_value();
}

Json TokenizerSettings::llama_spec(AddedTokenList& list, bool removes_extra_spaces) const {
  constexpr const char* kLlama = "LlamaTokenizer";
  add_tokens(list, kLlama);
  Json added = list.json();
  for (auto& token : added) token["normalized"] = false;
  Json spec = {{"added_tokens", std::move(added)}};
  const bool is_null = config_.value().contains("add_prefix_space") &&
                       config_.value().at("add_prefix_space").is_null();
  const bool has_prefix = flag("add_prefix_space").value_or(llama_marks() || !is_null);
  if (has_prefix && llama_marks() && !removes_extra_spaces) {
    spec["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers",
         Json::array({{{"type", "Prepend"}, {"prepend", kMark}},
                      {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMark}}})}};
  } else {
    const char* scheme = !has_prefix ? "never" : llama_marks() ? "always" : "first";
    spec["pre_tokenizer"] = {{"type", "Metaspace"},
                             {"replacement", kMark},
                             {"prepend_scheme", scheme},
                             {"split", false}};
  }
  spec["post_processor"] = template_of(rules(kLlama), list);
  spec["decoder"] = llama_decoder(has_prefix);
  if (flag("clean_up_tokenization_spaces").value_or(false)) {
    spec["decoder"] = with_cleaned_spaces(std::move(spec["decoder"]));
  }
  return spec;
}

}  // namespace lowbank::tokenizers
