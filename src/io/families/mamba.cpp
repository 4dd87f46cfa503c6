#include "io/families/mamba.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/config_rules.h"
#include "io/families/family.h"

namespace lowbank {

MambaConfig read_mamba_config(const nlohmann::ordered_json& json, const std::string& source) {
  const JsonReader config(json, source);
  check_model_type(config, "mamba");
  check_architecture(config, "MambaForCausalLM");
  check_silu(config);

  MambaConfig c;
  c.vocab_size = read_size(config, "vocab_size", c.vocab_size);
  c.hidden_size = read_size(config, "hidden_size", c.hidden_size);
  c.num_layers = read_num_layers(config, c.num_layers);
  c.state_size = read_size(config, "state_size", c.state_size);
  c.conv_kernel = read_size(config, "conv_kernel", c.conv_kernel);
  const std::int64_t expand = config.integer("expand", 2, 1, 1024);
  c.inner_size = expand * c.hidden_size;
  // transformers writes it and computes it from `expand` all the same.
  if (read_size(config, "intermediate_size", c.inner_size) != c.inner_size) {
    config.refuse("intermediate_size", fmt::format("expand x hidden_size = {}", c.inner_size));
  }
  const auto rank = config.find("time_step_rank");
  const bool is_auto = !rank || rank->value() == "auto";
  c.time_step_rank = is_auto ? (c.hidden_size + 15) / 16 : read_size(config, "time_step_rank", 1);
  c.layer_norm_eps = config.positive("layer_norm_epsilon", c.layer_norm_eps);
  c.use_bias = config.flag("use_bias", c.use_bias);
  c.use_conv_bias = config.flag("use_conv_bias", c.use_conv_bias);
  c.residual_in_fp32 = config.flag("residual_in_fp32", c.residual_in_fp32);
  c.tie_word_embeddings = config.flag("tie_word_embeddings", c.tie_word_embeddings);
  return c;
}

ParameterList mamba_parameters(const MambaConfig& c) {
  ParameterList list;
  list.add_matrix("backbone.embeddings", c.vocab_size, c.hidden_size);
  for (std::int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    const std::string mixer = layer + "mixer.";
    list.add_norm(layer + "norm", c.hidden_size, /*has_bias=*/false);
    list.add(mixer + "A_log", {c.inner_size, c.state_size}, Initialisation::kLogOfColumn);
    list.add(mixer + "D", {c.inner_size}, Initialisation::kOnes);
    list.add_linear(mixer + "in_proj", 2 * c.inner_size, c.hidden_size, c.use_bias);
    list.add(mixer + "conv1d.weight", {c.inner_size, 1, c.conv_kernel},
             Initialisation::kUniformFanIn);
    if (c.use_conv_bias) list.add(mixer + "conv1d.bias", {c.inner_size}, Initialisation::kZeros);
    list.add_linear(mixer + "x_proj", c.time_step_rank + 2 * c.state_size, c.inner_size,
                    /*has_bias=*/false);
    list.add(mixer + "dt_proj.weight", {c.inner_size, c.time_step_rank},
             Initialisation::kUniformFanIn);
    list.add(mixer + "dt_proj.bias", {c.inner_size}, Initialisation::kTimeStep);
    list.add_linear(mixer + "out_proj", c.hidden_size, c.inner_size, c.use_bias);
  }
  list.add_norm("backbone.norm_f", c.hidden_size, /*has_bias=*/false);
  list.add_token_head("backbone.embeddings", c.vocab_size, c.hidden_size, c.tie_word_embeddings);
  return list;
}

ModelFamily mamba_family() {
  return {.model_type = "mamba",
          .parameters =
              [](const nlohmann::ordered_json& config, const std::string& source,
                 const HasParameter& /*has*/) {
                return mamba_parameters(read_mamba_config(config, source));
              },
          .gguf = mamba_gguf()};
}

}  // namespace lowbank
