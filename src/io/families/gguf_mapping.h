#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "io/gguf_writer.h"
#include "io/tensor_transform.h"

namespace lowbank {

class GgufFile;
struct TensorEntry;

/// A tensor's two names; {} is the number of the layer. Names that end in a dot go on with "weight"
/// or "bias" on both sides.
struct GgufNamePair {
  std::string_view gguf;
  std::string_view hugging_face;
  bool stays_f32 = false;  ///< whatever type the others get, as llama.cpp wants it
};

/// A metadata key that a reader knows, without what stands in front of it (the architecture's name).
struct GgufKeyRule {
  std::string_view name;
  /// Why the value makes no difference; "" for a key that is read (and refused where its value
  /// cannot be honoured).
  std::string_view ignored_because = {};
};

/// Warns of each key below `prefix` ("llama.") that `rules` does not know: it may change what a
/// model computes.
void warn_of_unknown_keys(const GgufFile& file, std::string_view prefix,
                          std::span<const GgufKeyRule> rules);

/// Reads a GGUF file's keys below its architecture's name.
class GgufConfig {
 public:
  explicit GgufConfig(const GgufFile& file);

  const GgufFile& file() const { return file_; }
  const std::string& architecture() const { return architecture_; }
  std::string key(std::string_view name) const { return architecture_ + "." + std::string(name); }
  std::int64_t size(std::string_view name) const;
  std::int64_t size(std::string_view name, std::int64_t otherwise) const;
  double positive(std::string_view name) const;
  double positive(std::string_view name, double otherwise) const;
  /// The shortest decimal number that rounds to the stored f32: what a config.json had before it was
  /// written to the file.
  double decimal(std::string_view name, double otherwise) const;
  /// A key that changes the result: only these values are what a Hugging Face model does.
  void want_number(std::string_view name, double neutral) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& value,
                           const std::string& supported) const;
  const TensorEntry& tensor(std::string_view name) const;
  /// The rows of the embedding.
  std::int64_t vocab_size() const;

 private:
  const GgufFile& file_;
  std::string architecture_;
};

/// Writes the keys below an architecture's name.
class GgufKeyBuilder {
 public:
  GgufKeyBuilder(GgufKeys& keys, std::string_view architecture)
      : keys_(keys), prefix_(std::string(architecture) + ".") {}

  void add(std::string_view name, GgufMetadata value);
  void add_size(std::string_view name, std::int64_t size);
  void add_number(std::string_view name, double number);

 private:
  GgufKeys& keys_;
  std::string prefix_;
};

enum class GgufDirection { kFromGguf, kToGguf };

/// How a family is kept in GGUF files; its architecture there has the name of its `model_type`.
/// `names`, `read_config` and `add_keys` are there, or GGUF has no form of the family.
struct GgufMapping {
  std::span<const GgufNamePair> names;
  /// All keys below the architecture's name that llama.cpp reads for it.
  std::span<const GgufKeyRule> keys;
  /// What Hugging Face names may have in front of those in `names`.
  std::string_view prefix = {};
  /// config.json of the model in a file, without the token ids.
  nlohmann::ordered_json (*read_config)(const GgufConfig& gguf) = nullptr;
  /// Errors: ConfigError for what GGUF cannot express.
  void (*add_keys)(const nlohmann::ordered_json& config, const std::string& source,
                   GgufKeyBuilder& keys) = nullptr;
  /// What the values of the parameter with this Hugging Face name need; nullptr: nothing.
  TensorTransform (*transform)(const nlohmann::ordered_json& config, std::string_view name,
                               GgufDirection direction) = nullptr;
  /// Whether a file may lack the parameter with this Hugging Face name, which is zero then; nullptr:
  /// none.
  bool (*may_lack)(std::string_view name) = nullptr;
  /// The values of rope_freqs.weight, empty for a model that needs none; nullptr: never any.
  std::vector<float> (*rope_divisors)(const nlohmann::ordered_json& config) = nullptr;
};

}  // namespace lowbank
