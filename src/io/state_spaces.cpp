#include "io/state_spaces.h"

#include <cstdint>

#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/config_rules.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

bool is_state_spaces_config(const Json& config) {
  return config.is_object() && !config.contains("model_type") && config.contains("d_model") &&
         config.contains("n_layer");
}

Json state_spaces_to_hugging_face(const Json& config, const std::string& source) {
  const JsonReader reader(config, source);
  if (!reader.flag("rms_norm", true)) reader.refuse("rms_norm", "true");
  for (const auto* key : {"attn_layer_idx", "attn_cfg"}) {
    const auto found = reader.find(key);
    if (found && !found->value().empty()) reader.refuse(key, "empty: no attention layers");
  }
  if (const auto found = reader.find("d_intermediate"); found && found->value() != 0) {
    reader.refuse("d_intermediate", "0: no MLP layers");
  }
  const JsonReader ssm = reader.group("ssm_cfg");
  if (ssm.text("layer", "Mamba1") != "Mamba1") ssm.refuse("layer", "Mamba1");
  const std::int64_t hidden = read_size(reader, "d_model", 2560);
  const std::int64_t expand = read_size(ssm, "expand", 2);
  const std::int64_t multiple = read_size(reader, "pad_vocab_size_multiple", 8);
  const std::int64_t vocab = read_size(reader, "vocab_size", 50277);
  Json out = {{"architectures", {"MambaForCausalLM"}},
              {"bos_token_id", 0},
              {"conv_kernel", read_size(ssm, "d_conv", 4)},
              {"eos_token_id", 0},
              {"expand", expand},
              {"hidden_act", "silu"},
              {"hidden_size", hidden},
              {"initializer_range", 0.1},
              {"intermediate_size", expand * hidden},
              {"layer_norm_epsilon", reader.positive("norm_epsilon", 1e-5)},
              {"model_type", "mamba"},
              {"num_hidden_layers", read_size(reader, "n_layer", 64)},
              {"pad_token_id", 0},
              {"residual_in_fp32", reader.flag("residual_in_fp32", true)},
              {"state_size", read_size(ssm, "d_state", 16)},
              {"tie_word_embeddings", reader.flag("tie_embeddings", true)},
              {"time_step_rank", (hidden + 15) / 16},
              {"use_bias", ssm.flag("bias", false)},
              {"use_cache", true},
              {"use_conv_bias", ssm.flag("conv_bias", true)},
              {"vocab_size", (vocab + multiple - 1) / multiple * multiple}};
  if (const auto rank = ssm.find("dt_rank"); rank && rank->value() != "auto") {
    out["time_step_rank"] = read_size(ssm, "dt_rank", 1);
  }
  return out;
}

std::string state_spaces_name(const std::string& name) {
  return name == "backbone.embedding.weight" ? "backbone.embeddings.weight" : name;
}

}  // namespace lowbank
