#include "tokenizers/post_processor.h"

#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {
namespace {

using Part = Template::Part;

Template read_template(const JsonReader& spec,
                       const std::map<std::string, std::vector<std::int64_t>>& special,
                       int num_texts) {
  std::vector<Part> parts;
  std::vector<int> seen(2, 0);
  for (std::size_t i = 0; i < spec.size(); ++i) {
    const auto entry = spec.at(i);
    entry.check_keys({"SpecialToken", "Sequence"});
    const bool is_special = entry.has("SpecialToken");
    const auto inner = entry.at(is_special ? "SpecialToken" : "Sequence");
    inner.check_keys({"id", "type_id"});
    Part part;
    part.type_id = inner.integer("type_id", 0, 0, kMaxId);
    const std::string id = inner.text("id");
    if (is_special) {
      const auto found = special.find(id);
      if (found == special.end()) {
        inner.fail(fmt::format("'{}' is none of the processor's special_tokens", id));
      }
      part.ids = found->second;
    } else {
      if (id != "A" && id != "B") inner.fail(fmt::format("id must be A or B, got '{}'", id));
      part.text = id == "A" ? 0 : 1;
      ++seen[static_cast<std::size_t>(part.text)];
    }
    parts.push_back(std::move(part));
  }
  if (seen[0] != 1 || seen[1] != num_texts - 1) {
    spec.fail(num_texts == 1 ? "wants the sequence A once, and no B"
                             : "wants the sequences A and B once each");
  }
  return Template(std::move(parts));
}

PostProcessor read_template_processing(const JsonReader& spec) {
  spec.check_keys({"type", "single", "pair", "special_tokens"});
  std::map<std::string, std::vector<std::int64_t>> special;
  for (const auto& [name, entry] : spec.at("special_tokens").members()) {
    entry.check_keys({"id", "ids", "tokens"});
    for (const auto& id : entry.at("ids").items()) special[name].push_back(id.integer(0, kMaxId));
  }
  PostProcessor processor;
  processor.single = read_template(spec.at("single"), special, 1);
  // A template for one text only is written with a pair that is not one.
  if (spec.has("pair")) processor.pair = read_template(spec.at("pair"), special, 2);
  return processor;
}

// ["token", id]
std::int64_t read_token_id(const JsonReader& spec) {
  if (spec.size() != 2) spec.fail("wants a token and its id");
  spec.at(std::size_t{0}).text();
  return spec.at(1).integer(0, kMaxId);
}

PostProcessor read_bert_processing(const JsonReader& spec, bool is_roberta) {
  if (is_roberta) {
    spec.check_keys({"type", "sep", "cls", "trim_offsets", "add_prefix_space"});
  } else {
    spec.check_keys({"type", "sep", "cls"});
  }
  const Part cls{.ids = {read_token_id(spec.at("cls"))}};
  const Part sep{.ids = {read_token_id(spec.at("sep"))}};
  PostProcessor processor;
  processor.single = Template({cls, {.text = 0}, sep});
  if (is_roberta) {
    processor.pair = Template({cls, {.text = 0}, sep, sep, {.text = 1}, sep});
  } else {
    Part second_sep = sep;
    second_sep.type_id = 1;
    processor.pair = Template({cls, {.text = 0}, sep, {.text = 1, .type_id = 1}, second_sep});
  }
  return processor;
}

}  // namespace

std::size_t Template::num_special() const {
  std::size_t count = 0;
  for (const auto& part : parts_) count += part.ids.size();
  return count;
}

PostProcessor make_post_processor(const JsonReader& spec) {
  const std::string type = spec.text("type");
  if (type == "TemplateProcessing") return read_template_processing(spec);
  if (type == "BertProcessing") return read_bert_processing(spec, false);
  if (type == "RobertaProcessing") return read_bert_processing(spec, true);
  if (type == "ByteLevel") {
    spec.check_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return {};
  }
  if (type == "Sequence") {
    spec.check_keys({"type", "processors"});
    const auto list = spec.at("processors");
    PostProcessor processor;
    bool has_adding = false;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto entry = list.at(i);
      PostProcessor step = make_post_processor(entry);
      if (entry.text("type") == "ByteLevel") continue;
      if (has_adding) entry.fail("a second processor that adds tokens is not supported");
      has_adding = true;
      processor = std::move(step);
    }
    return processor;
  }
  spec.fail(fmt::format(
      "post-processor '{}' is not supported; known: TemplateProcessing, BertProcessing, "
      "RobertaProcessing, ByteLevel, Sequence",
      type));
}

}  // namespace lowbank::tokenizers
