#include "models/mamba.h"

#include <utility>

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_reader.h"
#include "kernels/causal_conv.h"
#include "kernels/selective_scan.h"
#include "models/operator_list.h"

namespace lowbank {

/// What the layers keep of the tokens seen so far: a fixed size, however many they were.
class MambaState : public DecodeState {
 public:
  struct Layer {
    torch::Tensor conv_BWD;  ///< the last inputs of the convolution, [B, conv_kernel - 1, D]
    torch::Tensor scan_BND;  ///< the recurrence, float32
  };
  std::int64_t length() const override { return length_; }
  std::int64_t batch() const { return layers_.front().scan_BND.size(0); }

 private:
  friend class MambaModel;
  std::vector<Layer> layers_;
  std::int64_t length_ = 0;
};

/// The depthwise convolution's parameters, where Hugging Face keeps them.
class MambaConv : public torch::nn::Module {
 public:
  MambaConv(const MambaConfig& config, const std::string& path, Weights& weights) {
    weight = register_parameter(
        "weight", weights.take(path + ".weight", {config.inner_size, 1, config.conv_kernel}));
    if (config.use_conv_bias) {
      bias = register_parameter("bias", weights.take(path + ".bias", {config.inner_size}));
    }
  }
  torch::Tensor weight;  ///< [D, 1, W]
  torch::Tensor bias;    ///< [D] or undefined
};

class MambaMixer : public torch::nn::Module {
 public:
  MambaMixer(const MambaConfig& config, const std::string& path, Weights& weights)
      : config_(config) {
    const std::int64_t inner = config.inner_size;
    const auto slot = [&](const char* name, std::int64_t in, std::int64_t out, bool has_bias) {
      return LinearSlot(*this, name, LinearRole::kMixer,
                        make_linear(weights, path + "." + name, in, out, has_bias));
    };
    A_log = register_parameter("A_log", weights.take(path + ".A_log", {inner, config.state_size}));
    D = register_parameter("D", weights.take(path + ".D", {inner}));
    in_proj = slot("in_proj", config.hidden_size, 2 * inner, config.use_bias);
    conv1d =
        register_module("conv1d", std::make_shared<MambaConv>(config, path + ".conv1d", weights));
    x_proj = slot("x_proj", inner, config.time_step_rank + 2 * config.state_size, false);
    dt_proj = slot("dt_proj", config.time_step_rank, inner, true);
    out_proj = slot("out_proj", inner, config.hidden_size, config.use_bias);
  }

  torch::Tensor forward(const torch::Tensor& x_BTH, const torch::Tensor& mask_BT1,
                        MambaState::Layer* state) const {
    const auto projected = in_proj(x_BTH);
    auto u_BTD = projected.narrow(-1, 0, config_.inner_size);
    const auto z_BTD = projected.narrow(-1, config_.inner_size, config_.inner_size);
    if (mask_BT1.defined()) u_BTD = u_BTD * mask_BT1;
    const auto convolved =
        causal_conv({.x_BTD = u_BTD,
                     .weight_DW = conv1d->weight.squeeze(1),
                     .bias_D = conv1d->bias,
                     .initial_state_BWD = state == nullptr ? torch::Tensor() : state->conv_BWD});
    u_BTD = convolved.y_BTD;
    if (mask_BT1.defined()) u_BTD = u_BTD * mask_BT1;
    const auto selected = x_proj(u_BTD);
    const std::int64_t rank = config_.time_step_rank, num_states = config_.state_size;
    const auto scanned =
        selective_scan({.u_BTD = u_BTD,
                        .dt_BTD = dt_proj(selected.narrow(-1, 0, rank)),
                        .A_ND = decay(),
                        .B_BTN = selected.narrow(-1, rank, num_states),
                        .C_BTN = selected.narrow(-1, rank + num_states, num_states),
                        .D_D = D,
                        .z_BTD = z_BTD,
                        .dt_bias_D = {},
                        .initial_state_BND = state == nullptr ? torch::Tensor() : state->scan_BND});
    if (state != nullptr) {
      state->conv_BWD.copy_(convolved.final_state_BWD);
      state->scan_BND.copy_(scanned.final_state_BND);
    }
    return out_proj(scanned.y_BTD);
  }

  /// forward of one token a sequence, x [B, 1, H], the state brought forward in place.
  torch::Tensor step(const torch::Tensor& x_B1H, MambaState::Layer& state) const {
    const auto projected = in_proj(x_B1H.squeeze(1));
    const auto u_BD = causal_conv_step(state.conv_BWD, projected.narrow(-1, 0, config_.inner_size),
                                       conv1d->weight.squeeze(1), conv1d->bias);
    const auto z_BD = projected.narrow(-1, config_.inner_size, config_.inner_size);
    const auto selected = x_proj(u_BD);
    const std::int64_t rank = config_.time_step_rank, num_states = config_.state_size;
    const auto y_BD = selective_scan_step(
        state.scan_BND, {.u_BD = u_BD,
                         .dt_BD = dt_proj(selected.narrow(-1, 0, rank)),
                         .A_ND = decay(),
                         .B_BN = selected.narrow(-1, rank, num_states),
                         .C_BN = selected.narrow(-1, rank + num_states, num_states),
                         .D_D = D,
                         .z_BD = z_BD,
                         .dt_bias_D = {}});
    return out_proj(y_BD).unsqueeze(1);
  }

  std::shared_ptr<MambaConv> conv1d;
  LinearSlot in_proj, x_proj, dt_proj, out_proj;
  torch::Tensor A_log, D;

 private:
  // A [N, D] = -exp(A_log)^T in float32; kept between passes that need no gradient of it.
  torch::Tensor decay() const {
    const auto compute = [this] { return A_log.to(c10::kFloat).exp().neg().t().contiguous(); };
    if (c10::GradMode::is_enabled() && A_log.requires_grad()) return compute();
    // Made in inference mode it counts no versions, and cannot be written to either.
    const std::uint32_t version = A_log.is_inference() ? 0 : A_log._version();
    if (!decay_ND_.defined() || decay_version_ != version || decay_ND_.device() != A_log.device() ||
        decay_source_ != A_log.const_data_ptr()) {
      // Made once for all later passes, in inference mode or not.
      const c10::InferenceMode normal_tensors(false);
      const c10::NoGradGuard no_grad;
      decay_ND_ = compute();
      decay_version_ = version;
      decay_source_ = A_log.const_data_ptr();
    }
    return decay_ND_;
  }

  MambaConfig config_;
  mutable torch::Tensor decay_ND_;
  mutable std::uint32_t decay_version_ = 0;
  mutable const void* decay_source_ = nullptr;
};

class MambaLayer : public torch::nn::Module {
 public:
  MambaLayer(const MambaConfig& config, const std::string& path, Weights& weights)
      : residual_in_fp32_(config.residual_in_fp32) {
    norm_ = register_module("norm",
                            std::make_shared<RmsNorm>(weights, path + ".norm", config.hidden_size,
                                                      config.layer_norm_eps));
    mixer =
        register_module("mixer", std::make_shared<MambaMixer>(config, path + ".mixer", weights));
  }

  torch::Tensor forward(const torch::Tensor& x_BTH, const torch::Tensor& mask_BT1,
                        MambaState::Layer* state) const {
    const auto normed_BTH = norm_->forward(x_BTH.to(norm_->weight.scalar_type()));
    const bool is_step = state != nullptr && x_BTH.size(1) == 1 && !mask_BT1.defined();
    const auto mixed_BTH =
        is_step ? mixer->step(normed_BTH, *state) : mixer->forward(normed_BTH, mask_BT1, state);
    return (residual_in_fp32_ ? x_BTH.to(c10::kFloat) : x_BTH) + mixed_BTH;
  }

  std::shared_ptr<MambaMixer> mixer;

 private:
  bool residual_in_fp32_;
  std::shared_ptr<RmsNorm> norm_;
};

namespace {

std::string mamba_layer_path(std::int64_t layer) {
  return fmt::format("backbone.layers.{}", layer);
}

}  // namespace

MambaConfig read_mamba_config(const nlohmann::ordered_json& json, const std::string& source) {
  constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
  const JsonReader config(json, source);
  if (config.text("model_type", "mamba") != "mamba") config.refuse("model_type", "mamba");
  if (const auto found = json.find("architectures");
      found != json.end() && !found->is_null() &&
      *found != nlohmann::ordered_json::array({"MambaForCausalLM"})) {
    config.refuse("architectures", "[\"MambaForCausalLM\"]");
  }
  if (config.has("quantization_config")) config.refuse("quantization_config", "none");
  if (config.text("hidden_act", "silu") != "silu") config.refuse("hidden_act", "silu");

  MambaConfig c;
  const auto size = [&](const char* key, std::int64_t otherwise) {
    return config.integer(key, otherwise, 1, kMaxSize);
  };
  c.vocab_size = size("vocab_size", c.vocab_size);
  c.hidden_size = size("hidden_size", c.hidden_size);
  c.num_layers = size("num_hidden_layers", c.num_layers);
  c.state_size = size("state_size", c.state_size);
  c.conv_kernel = size("conv_kernel", c.conv_kernel);
  const std::int64_t expand = config.integer("expand", 2, 1, 1024);
  c.inner_size = expand * c.hidden_size;
  // transformers writes it and computes it from `expand` all the same.
  if (size("intermediate_size", c.inner_size) != c.inner_size) {
    config.refuse("intermediate_size", fmt::format("expand x hidden_size = {}", c.inner_size));
  }
  const auto rank = json.find("time_step_rank");
  const bool is_auto = rank == json.end() || rank->is_null() || *rank == "auto";
  c.time_step_rank = is_auto ? (c.hidden_size + 15) / 16 : size("time_step_rank", 1);
  c.layer_norm_eps = config.positive("layer_norm_epsilon", c.layer_norm_eps);
  c.use_bias = config.flag("use_bias", c.use_bias);
  c.use_conv_bias = config.flag("use_conv_bias", c.use_conv_bias);
  c.residual_in_fp32 = config.flag("residual_in_fp32", c.residual_in_fp32);
  c.tie_word_embeddings = config.flag("tie_word_embeddings", c.tie_word_embeddings);
  return c;
}

MambaModel::MambaModel(const MambaConfig& config, const nlohmann::ordered_json& json,
                       Weights& weights)
    : config_(config), json_(std::make_shared<nlohmann::ordered_json>(json)) {
  const auto backbone = register_module("backbone", std::make_shared<torch::nn::Module>());
  embeddings_ = backbone->register_module(
      "embeddings", std::make_shared<Embedding>(weights, "backbone.embeddings", config.vocab_size,
                                                config.hidden_size));
  const auto layers = backbone->register_module("layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(layers->register_module(
        std::to_string(i), std::make_shared<MambaLayer>(config, mamba_layer_path(i), weights)));
  }
  norm_f_ = backbone->register_module(
      "norm_f", std::make_shared<RmsNorm>(weights, "backbone.norm_f", config.hidden_size,
                                          config.layer_norm_eps));
  head_ = TokenHead(*this, weights, embeddings_, "backbone.embeddings", config.tie_word_embeddings);
}

torch::Tensor MambaModel::hidden_states(const ModelInput& input, DecodeState* state) {
  check_input(input, "MambaModel");
  const auto& ids_BT = input.ids_BT;
  auto* const own_state = dynamic_cast<MambaState*>(state);
  if (state != nullptr) {
    TORCH_CHECK(own_state != nullptr, "MambaModel: the state was made by another model");
    TORCH_CHECK(ids_BT.size(0) == own_state->batch(), "MambaModel: the state is of ",
                own_state->batch(), " sequences, got ", ids_BT.size(0));
  }
  const c10::AutoGradMode grad_mode(state == nullptr && c10::GradMode::is_enabled());
  auto x_BTH = embeddings_->forward(ids_BT);
  torch::Tensor mask_BT1;
  if (input.mask_BT.defined()) mask_BT1 = input.mask_BT.unsqueeze(-1).to(x_BTH.scalar_type());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    x_BTH = layers_[i]->forward(x_BTH, mask_BT1,
                                own_state == nullptr ? nullptr : &own_state->layers_[i]);
  }
  if (own_state != nullptr) own_state->length_ += ids_BT.size(1);
  return norm_f_->forward(x_BTH).to(embeddings_->weight.scalar_type());
}

std::unique_ptr<DecodeState> MambaModel::make_state(std::int64_t batch, std::int64_t max_length) {
  TORCH_CHECK(batch >= 1 && max_length >= 1, "MambaModel::make_state: batch ", batch,
              " and max_length ", max_length, " must be at least 1");
  // Usable in and out of inference mode, whatever mode it is made in.
  const c10::InferenceMode normal_tensors(false);
  auto state = std::make_unique<MambaState>();
  const auto options = embeddings_->weight.options().requires_grad(false);
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    state->layers_.push_back(
        {.conv_BWD = at::zeros({batch, config_.conv_kernel - 1, config_.inner_size}, options),
         .scan_BND = at::zeros({batch, config_.state_size, config_.inner_size},
                               options.dtype(c10::kFloat))});
  }
  return state;
}

void MambaModel::visit_linears(const SlotVisitor& visit) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& mixer = *layers_[i]->mixer;
    const std::string path = mamba_layer_path(static_cast<std::int64_t>(i)) + ".mixer";
    visit(path + ".in_proj", mixer.in_proj);
    visit(path + ".x_proj", mixer.x_proj);
    visit(path + ".dt_proj", mixer.dt_proj);
    visit(path + ".out_proj", mixer.out_proj);
  }
  head_.visit_linears(visit);
}

std::vector<pim::Operator> MambaModel::operators(pim::Phase phase, std::int64_t batch,
                                                 std::int64_t context) {
  const std::int64_t num_tokens = batch * (phase == pim::Phase::kPrefill ? context : 1);
  const std::int64_t inner = config_.inner_size;
  OperatorList list(num_tokens, static_cast<double>(embeddings_->weight.element_size()));
  list.add_embedding("backbone.embeddings", config_.hidden_size);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    list.begin_layer(static_cast<std::int64_t>(i));
    const auto& mixer = *layers_[i]->mixer;
    const std::string layer = mamba_layer_path(static_cast<std::int64_t>(i));
    const std::string path = layer + ".mixer";
    list.add_norm(layer + ".norm", config_.hidden_size);
    list.add_linear(path + ".in_proj", mixer.in_proj.get());
    list.add_conv(path + ".conv1d", batch, inner, config_.conv_kernel, config_.use_conv_bias);
    list.add_activation(path + ".act", inner, 1);
    list.add_linear(path + ".x_proj", mixer.x_proj.get());
    list.add_linear(path + ".dt_proj", mixer.dt_proj.get());
    list.add_scan(path + ".scan", batch, inner, config_.state_size);
    list.add_activation(path + ".gate", inner, 2);
    list.add_linear(path + ".out_proj", mixer.out_proj.get());
  }
  list.begin_layer(-1);
  list.add_norm("backbone.norm_f", config_.hidden_size);
  head_.add_operators(list);
  return list.take();
}

}  // namespace lowbank
