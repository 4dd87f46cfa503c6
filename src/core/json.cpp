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

using Json = nlohmann::ordered_json;

// nlohmann's own tree builder keeps the last of two equal keys, has no depth limit, and searches an
// ordered object anew for each key, which is quadratic (minutes for a vocabulary).
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const std::string& source) : source_(source) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!open_.back().keys.insert(name).second) {
      throw IoError(fmt::format("{}: key '{}' stands twice in one object", source_, name));
    }
    key_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    std::string reason = e.what();  // "[json.exception.parse_error.101] parse error at line ..."
    if (const auto at = reason.find("] "); at != std::string::npos) reason = reason.substr(at + 2);
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    throw IoError(fmt::format("{}: {}", source_, reason));
  }

  Json take() { return std::move(root_); }

 private:
  struct Level {
    Json* value;  // stays in place: its parent does not grow while it is open
    std::set<std::string> keys;
  };

  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back().value;
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    auto& members = parent.get_ref<Json::object_t&>();
    return &members.Json::object_t::Container::emplace_back(std::move(key_), std::move(value))
                .second;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == kMaxDepth) {
      throw IoError(fmt::format("{}: JSON nested deeper than {} levels", source_, kMaxDepth));
    }
    Json* const placed = place(std::move(value));
    open_.push_back({placed, {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& source_;
  Json root_;
  std::vector<Level> open_;
  std::string key_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& source, bool allow_comments) {
  Builder builder(source);
  Json::sax_parse(text.begin(), text.end(), &builder, nlohmann::detail::input_format_t::json, true,
                  allow_comments);
  return builder.take();
}

nlohmann::ordered_json read_json(const std::string& path, bool allow_comments) {
  return parse_json(read_text(path), path, allow_comments);
}

std::string dump_json(const nlohmann::ordered_json& value) {
  return value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lowbank
