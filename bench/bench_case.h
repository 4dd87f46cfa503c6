#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

class LanguageModel;

using BenchWork = std::function<void()>;

/// A case of `lowbank bench`: the work that it times, the amount of that work, and the limit and
/// the alternatives with which it is compared.
struct BenchCase {
  std::string name;
  std::string unit;   ///< unit of `amount` per second, scaled by `scale`
  double amount = 0;  ///< per call of `work`: flops, bytes, tokens, ...
  double scale = 1;
  BenchWork work;
  std::string roof = {};                                             ///< the limit of the machine
  double roof_amount = 0;                                            ///< flops or bytes of one call
  std::vector<std::pair<std::string, BenchWork>> alternatives = {};  ///< same amount, another way
};

/// config.json of a published shape: smollm2-135m, minilm-l6 or mamba-130m.
nlohmann::ordered_json shape_config(const std::string& shape);

/// FLOPs of the matrix products of one forward pass.
double linear_flops(LanguageModel& model, std::int64_t batch, std::int64_t tokens);

}  // namespace lowbank
