#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <torch/types.h>

#include "io/layer_record.h"

namespace lowbank {

class Linear;

/// What a LayerKind needs to build one layer of a slot.
struct LayerPlan {
  const LayerRecord& record;
  const std::string& path;    ///< module path of the slot
  const std::string& source;  ///< the file that holds the record, for errors
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  bool has_bias = false;         ///< whether the innermost layer has a bias
  std::shared_ptr<Linear> base;  ///< the layers built so far; nullptr for the innermost
  /// The layer's parameter of this name and shape.
  std::function<torch::Tensor(const std::string& name, const std::vector<std::int64_t>& shape)>
      take;

  /// The bias [O], or an undefined tensor if the projection has none.
  torch::Tensor take_bias() const;
  /// A whole number of the record. Errors: IoError naming slot and key if the number is missing or
  /// not in [low, high].
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const;
};

/// A kind of layer that lowbank.json can name.
struct LayerKind {
  std::string_view name;
  std::shared_ptr<Linear> (*build)(const LayerPlan& plan);
  bool wraps = false;  ///< around another layer, or else the innermost one
};

/// The kind with this name. Errors: IoError naming the slot and `source` if this version of Lowbank
/// does not know the name.
const LayerKind& layer_kind(const std::string& name, const std::string& path,
                            const std::string& source);

/// The layer that the plan describes. Errors: IoError as layer_kind, and for a kind that wraps
/// another layer where there is none, or the other way round.
std::shared_ptr<Linear> build_layer(const LayerPlan& plan);

}  // namespace lowbank
