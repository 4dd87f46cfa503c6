#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace lowbank {

/// One value that a kind of layer writes into lowbank.json.
using LayerSetting =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>>;

/// One layer of a slot's stack as lowbank.json describes it: {"kind": "svd", "rank": 32}.
struct LayerRecord {
  std::string kind;                                   ///< "dense", "svd", ...
  std::map<std::string, LayerSetting> settings = {};  ///< all keys but "kind"
  bool operator==(const LayerRecord&) const = default;
};

/// The layers in one slot, innermost first.
struct SlotRecord {
  std::string path;  ///< module path, "model.layers.0.self_attn.q_proj"
  std::vector<LayerRecord> layers;
};

}  // namespace lowbank
