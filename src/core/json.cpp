#include "core/json.h"

#include <algorithm>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"

namespace lowbank {
namespace {

constexpr std::size_t kMaxDepth = 64;

// nlohmann's own parser keeps the last of two equal keys and has no depth limit. This one walks
// the events first, so that a hostile file is refused before a value tree is built.
class Validator : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
  explicit Validator(std::string source) : source_(std::move(source)) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return push(); }
  bool end_object() override { return pop(); }
  bool start_array(std::size_t) override { return push(); }
  bool end_array() override { return pop(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      throw IoError(fmt::format("{}: key '{}' stands twice in one object", source_, name));
    }
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    std::string reason = e.what();  // "[json.exception.parse_error.101] parse error at line ..."
    if (const auto at = reason.find("] "); at != std::string::npos) reason = reason.substr(at + 2);
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    throw IoError(fmt::format("{}: {}", source_, reason));
  }

 private:
  bool push() {
    if (keys_.size() == kMaxDepth) {
      throw IoError(fmt::format("{}: JSON nested deeper than {} levels", source_, kMaxDepth));
    }
    keys_.emplace_back();
    return true;
  }
  bool pop() {
    keys_.pop_back();
    return true;
  }

  std::string source_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

nlohmann::ordered_json parse_json(std::string_view text, const std::string& source,
                                  bool allow_comments) {
  Validator validator(source);
  nlohmann::ordered_json::sax_parse(text.begin(), text.end(), &validator,
                                    nlohmann::detail::input_format_t::json, true, allow_comments);
  return nlohmann::ordered_json::parse(text.begin(), text.end(), nullptr, true, allow_comments);
}

nlohmann::ordered_json read_json(const std::string& path, bool allow_comments) {
  return parse_json(read_text(path), path, allow_comments);
}

std::string dump_json(const nlohmann::ordered_json& value) {
  return value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lowbank
