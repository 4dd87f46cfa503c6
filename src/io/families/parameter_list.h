#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lowbank {

/// How a new model draws a parameter.
enum class Initialisation {
  kNormal,        ///< mean 0, deviation `initializer_range` of config.json
  kOnes,          ///< every value is 1
  kZeros,         ///< every value is 0
  kUniformFanIn,  ///< between -1 / sqrt(n) and 1 / sqrt(n), n the last dimension
  kLogOfColumn,   ///< log(1), log(2), ... along every row of a matrix
  kTimeStep       ///< x with log(softplus(x)) uniform between log(0.001) and log(0.1)
};

/// A parameter of a model, under its Hugging Face name.
struct ParameterSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  Initialisation initialisation = Initialisation::kNormal;
  /// "" for one that every such model has; else the part it belongs to ("pooler", "MLM head"),
  /// which a file has whole or not at all.
  std::string part = {};
};

/// The parameters that a config.json calls for.
struct ParameterList {
  std::vector<ParameterSpec> parameters;
  /// (name, original): the model uses `original` in place of `name`, which a file may hold all the
  /// same.
  std::vector<std::pair<std::string, std::string>> ties;

  void add(std::string name, std::vector<std::int64_t> shape, Initialisation initialisation);
  /// A matrix or table drawn from the normal distribution, as `path`.weight.
  void add_matrix(const std::string& path, std::int64_t rows, std::int64_t columns);
  /// A linear layer: matrix [out, in], and bias [out].
  void add_linear(const std::string& path, std::int64_t out, std::int64_t in, bool has_bias);
  /// The weight of a norm, and its bias where it has one.
  void add_norm(const std::string& path, std::int64_t width, bool has_bias);
  /// The head of a causal model, lm_head.weight: a matrix, or tied to the embedding at `embedding`.
  void add_token_head(const std::string& embedding, std::int64_t vocab_size,
                      std::int64_t hidden_size, bool is_tied);

  /// The part that parameters added from now on belong to.
  std::string part;
};

/// Whether a file holds a parameter of this name.
using HasParameter = std::function<bool(const std::string& name)>;
/// No file is there yet.
inline bool has_nothing(const std::string& /*name*/) { return false; }

}  // namespace lowbank
