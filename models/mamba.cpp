#include "models/mamba.h"

#include <utility>

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/causal_conv.h"
#include "kernels/selective_scan.h"
#include "models/operator_list.h"

namespace lowbank {

/// The depthwise convolution's parameters, where Hugging Face keeps them.
class MambaConv : public torch::nn::Module {
 public:
  MambaConv(const MambaConfig& config, const std::string& path, Weights& weights) {
    weight = register_parameter("weight", weights.take(path + ".weight"));
    if (config.use_conv_bias) bias = register_parameter("bias", weights.take(path + ".bias"));
  }
  torch::Tensor weight;  ///< [D, 1, W]
  torch::Tensor bias;    ///< [D] or undefined
};

class MambaMixer : public torch::nn::Module {
 public:
  MambaMixer(const MambaConfig& config, const std::string& path, Weights& weights)
      : config_(config) {
    const auto slot = [&](const char* name) {
      return weights.slot(*this, path + "." + name, LinearRole::kMixer);
    };
    A_log = register_parameter("A_log", weights.take(path + ".A_log"));
    D = register_parameter("D", weights.take(path + ".D"));
    in_proj = slot("in_proj");
    conv1d =
        register_module("conv1d", std::make_shared<MambaConv>(config, path + ".conv1d", weights));
    x_proj = slot("x_proj");
    dt_proj = slot("dt_proj");
    out_proj = slot("out_proj");
  }

  torch::Tensor forward(const torch::Tensor& x_BTH, const BlockPass& pass,
                        BlockState* state) const {
    const auto& mask_BT1 = pass.mask;
    const auto projected = in_proj(x_BTH, pass);
    auto u_BTD = projected.narrow(-1, 0, config_.inner_size);
    const auto z_BTD = projected.narrow(-1, config_.inner_size, config_.inner_size);
    if (mask_BT1.defined()) u_BTD = u_BTD * mask_BT1;
    const auto convolved = causal_conv(
        {.x_BTD = u_BTD,
         .weight_DW = conv1d->weight.squeeze(1),
         .bias_D = conv1d->bias,
         .initial_state_BWD = state == nullptr ? torch::Tensor() : state->conv->window_BWD});
    u_BTD = convolved.y_BTD;
    if (mask_BT1.defined()) u_BTD = u_BTD * mask_BT1;
    const auto selected = x_proj(u_BTD, pass);
    const std::int64_t rank = config_.time_step_rank, num_states = config_.state_size;
    const auto scanned = selective_scan(
        {.u_BTD = u_BTD,
         .dt_BTD = dt_proj(selected.narrow(-1, 0, rank), pass),
         .A_ND = decay(),
         .B_BTN = selected.narrow(-1, rank, num_states),
         .C_BTN = selected.narrow(-1, rank + num_states, num_states),
         .D_D = D,
         .z_BTD = z_BTD,
         .dt_bias_D = {},
         .initial_state_BND = state == nullptr ? torch::Tensor() : state->recurrent->load()});
    if (state != nullptr) {
      state->conv->window_BWD.copy_(convolved.final_state_BWD);
      state->recurrent->store(scanned.final_state_BND);
    }
    return out_proj(scanned.y_BTD, pass);
  }

  /// forward of one token a sequence, x [B, 1, H], the state brought forward in place.
  torch::Tensor step(const torch::Tensor& x_B1H, const Pass& pass, BlockState& state) const {
    const auto projected = in_proj(x_B1H.squeeze(1), pass);
    const auto u_BD =
        causal_conv_step(state.conv->window_BWD, projected.narrow(-1, 0, config_.inner_size),
                         conv1d->weight.squeeze(1), conv1d->bias);
    const auto z_BD = projected.narrow(-1, config_.inner_size, config_.inner_size);
    const auto selected = x_proj(u_BD, pass);
    const std::int64_t rank = config_.time_step_rank, num_states = config_.state_size;
    const auto state_BND = state.recurrent->load();
    const auto y_BD =
        selective_scan_step(state_BND, {.u_BD = u_BD,
                                        .dt_BD = dt_proj(selected.narrow(-1, 0, rank), pass),
                                        .A_ND = decay(),
                                        .B_BN = selected.narrow(-1, rank, num_states),
                                        .C_BN = selected.narrow(-1, rank + num_states, num_states),
                                        .D_D = D,
                                        .z_BD = z_BD,
                                        .dt_bias_D = {}});
    state.recurrent->store(state_BND);
    return out_proj(y_BD, pass).unsqueeze(1);
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
    norm_ = register_module(
        "norm", std::make_shared<RmsNorm>(weights, path + ".norm", config.layer_norm_eps));
    mixer =
        register_module("mixer", std::make_shared<MambaMixer>(config, path + ".mixer", weights));
  }

  torch::Tensor forward(const torch::Tensor& x_BTH, const BlockPass& pass,
                        BlockState* state) const {
    const auto normed_BTH = norm_->forward(x_BTH.to(norm_->weight.scalar_type()));
    const bool is_step = state != nullptr && x_BTH.size(1) == 1 && !pass.mask.defined();
    const auto mixed_BTH =
        is_step ? mixer->step(normed_BTH, pass, *state) : mixer->forward(normed_BTH, pass, state);
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

MambaModel::MambaModel(const MambaConfig& config, const nlohmann::ordered_json& json,
                       Weights& weights)
    : config_(config), json_(std::make_shared<nlohmann::ordered_json>(json)) {
  const auto backbone = register_module("backbone", std::make_shared<torch::nn::Module>());
  embeddings_ = backbone->register_module(
      "embeddings", std::make_shared<Embedding>(weights, "backbone.embeddings"));
  const auto layers = backbone->register_module("layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(layers->register_module(
        std::to_string(i), std::make_shared<MambaLayer>(config, mamba_layer_path(i), weights)));
  }
  norm_f_ = backbone->register_module(
      "norm_f", std::make_shared<RmsNorm>(weights, "backbone.norm_f", config.layer_norm_eps));
  head_ = TokenHead(*this, weights, embeddings_, config.tie_word_embeddings);
}

torch::Tensor MambaModel::embed(const ModelInput& input, BlockPass& pass) {
  auto x_BTH = embeddings_->forward(input.ids_BT);
  // Of the new tokens: the state knows nothing of the padding before them.
  if (input.mask_BT.defined()) {
    pass.mask = input.mask_BT.unsqueeze(-1).to(x_BTH.scalar_type());
  }
  return x_BTH;
}

torch::Tensor MambaModel::block(std::int64_t i, const torch::Tensor& x_BTH, const BlockPass& pass,
                                DecodeState* state) {
  BlockState* own = nullptr;
  if (state != nullptr) {
    own = &state->block(i);
    TORCH_CHECK(own->conv != nullptr && own->recurrent != nullptr,
                "MambaModel: the state was made by another model");
  }
  return layers_[static_cast<std::size_t>(i)]->forward(x_BTH, pass, own);
}

torch::Tensor MambaModel::finish(const torch::Tensor& x_BTH) {
  return norm_f_->forward(x_BTH).to(embeddings_->weight.scalar_type());
}

BlockState MambaModel::make_block_state(const StateOptions& options) {
  const auto weight_options = embeddings_->weight.options().requires_grad(false);
  return {.conv = std::make_unique<ConvCache>(at::zeros(
              {options.batch, config_.conv_kernel - 1, config_.inner_size}, weight_options)),
          .recurrent = make_recurrent_cache({options.batch, config_.state_size, config_.inner_size},
                                            weight_options.device(), options.state_format)};
}

std::vector<Axis> MambaModel::axes() const {
  std::vector<Axis> axes(1);
  Axis& hidden = axes.front();
  hidden = {.name = "hidden", .size = config_.hidden_size};
  hidden.add("backbone.embeddings.weight", 1);
  const std::int64_t channels = config_.inner_size, rank = config_.time_step_rank;
  std::vector<Axis> inner;
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    const auto& mixer = *layers_[static_cast<std::size_t>(i)]->mixer;
    const std::string layer = mamba_layer_path(i), path = layer + ".mixer";
    hidden.add(layer + ".norm.weight", 0);
    hidden.add(mixer.in_proj, Side::kIn).add(mixer.out_proj, Side::kOut);
    // in_proj makes the channels and their gates.
    inner.push_back({.name = path + ".inner", .size = channels});
    inner.back()
        .add(mixer.in_proj, Side::kOut)
        .add(mixer.in_proj, Side::kOut, channels)
        .add(path + ".conv1d.weight", 0)
        .add(path + ".conv1d.bias", 0)
        .add(mixer.x_proj, Side::kIn)
        .add(mixer.dt_proj, Side::kOut)
        .add(path + ".A_log", 0)
        .add(path + ".D", 0)
        .add(mixer.out_proj, Side::kIn);
    // x_proj makes the time step's factor, then B, then C.
    inner.push_back({.name = path + ".time_step_rank", .size = rank});
    inner.back().add(mixer.x_proj, Side::kOut).add(mixer.dt_proj, Side::kIn);
    inner.push_back({.name = path + ".state", .size = config_.state_size});
    inner.back()
        .add(path + ".A_log", 1)
        .add(mixer.x_proj, Side::kOut, rank)
        .add(mixer.x_proj, Side::kOut, rank + config_.state_size);
  }
  hidden.add("backbone.norm_f.weight", 0);
  head_.add_hidden(hidden);
  axes.insert(axes.end(), inner.begin(), inner.end());
  return axes;
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
    list.add_linear(mixer.in_proj);
    list.add_conv(path + ".conv1d", batch, inner, config_.conv_kernel, config_.use_conv_bias);
    list.add_activation(path + ".act", inner, 1);
    list.add_linear(mixer.x_proj);
    list.add_linear(mixer.dt_proj);
    list.add_scan(path + ".scan", batch, inner, config_.state_size);
    list.add_activation(path + ".gate", inner, 2);
    list.add_linear(mixer.out_proj);
  }
  list.begin_layer(-1);
  list.add_norm("backbone.norm_f", config_.hidden_size);
  head_.add_operators(list);
  return list.take();
}

}  // namespace lowbank
