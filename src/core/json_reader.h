#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

/// How a JSON document is read; chosen once for each document.
struct JsonRules {
  /// Whose fault it is when the document is not what its reader asks for.
  enum class Blame {
    kUser,         ///< settings: every fault is a ConfigError
    kFile,         ///< what a program wrote: every fault is an IoError
    kFileThenUser  ///< a missing key and a wrong type are an IoError; a value out of range, a value
                   ///< that is not supported and an unknown key are a ConfigError
  };
  Blame blame = Blame::kUser;
  bool null_is_absent = true;  ///< as in transformers; otherwise null is a value of a wrong type
};

/// For files that programs write and nobody edits.
inline constexpr JsonRules kProgramFile{.blame = JsonRules::Blame::kFile};

/// A value of a JSON document, read with checks. It knows its place in the document.
///
/// Errors: one line with the file, the keys on the way to the value, the value (shortened) and what
/// is allowed; of the kind that the document's rules say.
class JsonReader {
 public:
  /// `value` must outlive the reader. `source` names the document in errors; `path` is the place of
  /// `value` in it.
  JsonReader(const nlohmann::ordered_json& value, std::string source, JsonRules rules = {},
             std::string path = {});
  /// The reader, and the readers made from it, keep `value` alive.
  JsonReader(nlohmann::ordered_json&& value, std::string source, JsonRules rules = {},
             std::string path = {});

  const nlohmann::ordered_json& value() const { return *value_; }
  /// "FILE: layers[3].kind", or "FILE" for the whole document.
  std::string where() const;
  /// The same value, called "layers[3] 'NAME'" in errors.
  JsonReader named(std::string_view name) const;

  /// "WHERE: MESSAGE": the document does not have the form that was asked for.
  [[noreturn]] void fail(const std::string& message) const;
  /// "WHERE: MESSAGE": the form is right, the value is not allowed.
  [[noreturn]] void reject(const std::string& message) const;
  /// "WHERE.KEY is VALUE; supported: SUPPORTED".
  [[noreturn]] void refuse(std::string_view key, const std::string& supported) const;

  bool is_text() const;
  bool is_object() const;
  bool is_list() const;

  // For objects. Every method with a key fails if this value is not an object.

  void check_object() const;
  bool has(std::string_view key) const;
  /// The member `key`. Errors: if it is absent.
  JsonReader at(std::string_view key) const;
  /// The member `key`, or nothing if it is absent.
  std::optional<JsonReader> find(std::string_view key) const;
  /// The object under `key`; an empty object if it is absent.
  JsonReader group(std::string_view key) const;
  /// The elements of the list under `key`; none if it is absent.
  std::vector<JsonReader> items(std::string_view key) const;
  /// Every member with its key, in the order of the document.
  std::vector<std::pair<std::string, JsonReader>> members() const;
  /// Errors: for a member whose key is not in `known`; the message suggests the nearest known key.
  void check_keys(std::span<const std::string> known) const;
  void check_keys(std::initializer_list<std::string> known) const;

  // For lists.

  std::size_t size() const;
  JsonReader at(std::size_t index) const;
  std::vector<JsonReader> items() const;

  // For values. Without a key: this value. With a key: that member. With `otherwise`: that member,
  // or `otherwise` if it is absent.

  std::string text() const;
  std::string text(std::string_view key) const;
  std::string text(std::string_view key, const std::string& otherwise) const;
  /// A string that is not empty.
  std::string nonempty_text(std::string_view key) const;
  /// The position in `names` of the member's text. Errors: if `names` does not hold the text.
  std::size_t choice(std::string_view key, std::span<const std::string> names) const;
  bool flag() const;
  bool flag(std::string_view key) const;
  bool flag(std::string_view key, bool otherwise) const;
  /// A whole number in [min, max].
  std::int64_t integer(std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                       std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::int64_t integer(std::string_view key, std::int64_t otherwise, std::int64_t min,
                       std::int64_t max) const;
  /// A finite number, in [min, max].
  double number(double min = std::numeric_limits<double>::lowest(),
                double max = std::numeric_limits<double>::max()) const;
  double number(std::string_view key) const;
  double number(std::string_view key, double min, double max) const;
  double number(std::string_view key, double otherwise) const;
  /// A finite number > 0.
  double positive(std::string_view key, double otherwise) const;

 private:
  struct Document;
  /// A value that was asked for by its key, or this one (`key` is empty).
  struct Asked {
    const nlohmann::ordered_json& value;
    std::string_view key;
  };

  JsonReader(std::shared_ptr<const Document> document, const nlohmann::ordered_json& value,
             std::string path, bool is_named);

  std::string where(std::string_view key) const;
  std::string path_to(std::string_view key) const;
  [[noreturn]] void fail_at(std::string_view key, const std::string& message) const;
  [[noreturn]] void reject_at(std::string_view key, const std::string& message) const;
  [[noreturn]] void wants(const Asked& asked, const std::string& what) const;
  const nlohmann::ordered_json* member(std::string_view key) const;
  Asked require(std::string_view key) const;
  std::string text_of(const Asked& asked) const;
  bool flag_of(const Asked& asked) const;
  std::int64_t integer_of(const Asked& asked, std::int64_t min, std::int64_t max) const;
  double number_of(const Asked& asked, double min, double max) const;

  std::shared_ptr<const Document> document_;
  const nlohmann::ordered_json* value_;
  std::string path_;
  bool is_named_ = false;
};

}  // namespace lowbank
