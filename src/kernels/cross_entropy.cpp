#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_tensor.h"
#include "kernels/linear.h"

namespace lowbank {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Size of the logits that exist at one time. With few rows a product takes as long for reading the
// weight as for the rows: at V = 49152, chunks of 128 rows cost a fifth more than chunks of 256.
constexpr std::int64_t kChunkBytes = std::int64_t{64} << 20;
constexpr std::int64_t kGrainLogits = std::int64_t{1} << 15;  // some 20 us of work for each task

c10::ScalarType sum_type(c10::ScalarType type) {
  return type == c10::kDouble ? c10::kDouble : c10::kFloat;
}

void check_targets(const char* who, const torch::Tensor& targets_M, std::int64_t num_rows,
                   std::int64_t num_classes) {
  TORCH_CHECK(targets_M.dim() == 1 && targets_M.size(0) == num_rows &&
                  targets_M.scalar_type() == c10::kLong,
              who, ": targets must be [", num_rows, "] int64, got ", targets_M.sizes(), " ",
              targets_M.dtype());
  const auto valid = (targets_M >= 0).logical_and_(targets_M < num_classes);
  TORCH_CHECK(valid.logical_or_(targets_M == kIgnoreIndex).all().item<bool>(), who,
              ": targets must be in [0, ", num_classes, ") or ", kIgnoreIndex);
}

// The number of rows in each chunk of about `bytes`. Chunks have about equal sizes, because a short
// last chunk would cost as much as a full one, and are multiples of the vectors of the product's
// kernel.
std::int64_t rows_per_chunk(std::int64_t num_rows, std::int64_t num_classes, c10::ScalarType type,
                            std::int64_t bytes) {
  const auto row_bytes = num_classes * static_cast<std::int64_t>(c10::elementSize(type));
  const std::int64_t most_rows = std::max<std::int64_t>(1, bytes / row_bytes);
  const std::int64_t num_chunks = std::max<std::int64_t>(1, (num_rows + most_rows - 1) / most_rows);
  constexpr std::int64_t kVector = 16;
  const std::int64_t rows = (num_rows + num_chunks - 1) / num_chunks;
  return num_chunks == 1 ? rows : (rows + kVector - 1) / kVector * kVector;
}

// Rows of bfloat16 are converted to float32 one at a time.
void consume_rows(float* nll, const torch::Tensor& logits_RV, const torch::Tensor& targets_R,
                  bool to_gradient) {
  const auto& kernels = cpu_kernels();
  const int type = vector_type(logits_RV);
  const bool is_float = logits_RV.scalar_type() == c10::kFloat;
  const std::int64_t num_classes = logits_RV.size(1);
  const std::int64_t row_bytes = num_classes * logits_RV.element_size();
  auto* const logits = static_cast<char*>(logits_RV.mutable_data_ptr());
  const auto contiguous_targets = targets_R.contiguous();
  const std::int64_t* const targets = contiguous_targets.const_data_ptr<std::int64_t>();
  const std::int64_t grain = std::max<std::int64_t>(1, kGrainLogits / num_classes);
  at::parallel_for(0, logits_RV.size(0), grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> wide(is_float ? 0 : static_cast<std::size_t>(num_classes));
    for (std::int64_t r = begin; r < end; ++r) {
      void* const row = logits + r * row_bytes;
      if (targets[r] == kIgnoreIndex) {
        nll[r] = 0;
        if (to_gradient) std::memset(row, 0, static_cast<std::size_t>(row_bytes));
        continue;
      }
      float* const values = is_float ? static_cast<float*>(row) : wide.data();
      if (!is_float) kernels.widen[type](values, row, num_classes);
      nll[r] = to_gradient ? kernels.nll_to_gradient(values, num_classes, targets[r])
                           : kernels.nll(values, num_classes, targets[r]);
      if (!is_float && to_gradient) kernels.narrow[type](row, values, num_classes);
    }
  });
}

// Writes the negative log-likelihood of each row in sum_type. Overwrites the logits, with their
// gradient if `to_gradient`, else with undefined values.
void consume_logits(const torch::Tensor& nll_R, const torch::Tensor& logits_RV,
                    const torch::Tensor& targets_R, bool to_gradient) {
  const auto type = logits_RV.scalar_type(), wide_type = nll_R.scalar_type();
  if (is_vector_tensor(logits_RV) && logits_RV.is_contiguous()) {
    consume_rows(nll_R.mutable_data_ptr<float>(), logits_RV, targets_R, to_gradient);
    return;
  }
  if (type != wide_type) {
    const std::int64_t num_rows = logits_RV.size(0);
    const std::int64_t step = rows_per_chunk(num_rows, logits_RV.size(1), wide_type, kChunkBytes);
    for (std::int64_t begin = 0; begin < num_rows; begin += step) {
      const std::int64_t size = std::min(step, num_rows - begin);
      const auto narrow_RV = logits_RV.narrow(0, begin, size);
      const auto wide_RV = narrow_RV.to(wide_type);
      consume_logits(nll_R.narrow(0, begin, size), wide_RV, targets_R.narrow(0, begin, size),
                     to_gradient);
      if (to_gradient) narrow_RV.copy_(wide_RV);
    }
    return;
  }
  const auto ignored_R1 = (targets_R == kIgnoreIndex).unsqueeze_(1);
  const auto column_R1 = targets_R.unsqueeze(1).masked_fill(ignored_R1, 0);
  const auto max_R1 = at::amax(logits_RV, 1, /*keepdim=*/true);
  const auto chosen_R1 = logits_RV.gather(1, column_R1) - max_R1;
  logits_RV.sub_(max_R1).exp_();
  const auto sum_R1 = logits_RV.sum(1, /*keepdim=*/true);
  nll_R.copy_((sum_R1.log() - chosen_R1).masked_fill_(ignored_R1, 0).squeeze(1));
  if (!to_gradient) return;
  logits_RV.div_(sum_R1);
  logits_RV.scatter_(1, column_R1, logits_RV.gather(1, column_R1).sub_(1));
  logits_RV.masked_fill_(ignored_R1, 0);
}

struct LinearLoss {
  torch::Tensor nll_M;        // of sum_type
  torch::Tensor d_hidden_MD;  // of the sum of nll_M, if wanted
  torch::Tensor d_weight_VD;  // likewise; of sum_type, or of the weight's type if it took one chunk
};

// Requires that all targets are classes, none kIgnoreIndex.
LinearLoss loss_of_rows(const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                        const torch::Tensor& targets_M, bool want_hidden, bool want_weight) {
  const std::int64_t num_rows = hidden_MD.size(0), num_classes = weight_VD.size(0);
  const auto options = hidden_MD.options().requires_grad(false);
  const auto type = hidden_MD.scalar_type(), wide_type = sum_type(type);
  const std::int64_t chunk_rows = rows_per_chunk(num_rows, num_classes, type, kChunkBytes);
  const bool is_narrow_sum = type != wide_type && chunk_rows < num_rows;

  LinearLoss loss{.nll_M = at::empty({num_rows}, options.dtype(wide_type)),
                  .d_hidden_MD = {},
                  .d_weight_VD = {}};
  if (want_hidden) loss.d_hidden_MD = at::empty(hidden_MD.sizes(), options);
  if (want_weight) {
    loss.d_weight_VD =
        at::empty(weight_VD.sizes(), options.dtype(is_narrow_sum ? wide_type : type));
    if (num_rows == 0 || is_narrow_sum) loss.d_weight_VD.zero_();
  }

  for (std::int64_t begin = 0; begin < num_rows; begin += chunk_rows) {
    const std::int64_t size = std::min(chunk_rows, num_rows - begin);
    const auto hidden_RD = hidden_MD.narrow(0, begin, size);
    const auto logits_RV = apply_linear(hidden_RD, weight_VD);
    consume_logits(loss.nll_M.narrow(0, begin, size), logits_RV, targets_M.narrow(0, begin, size),
                   want_hidden || want_weight);
    if (want_hidden) {
      loss.d_hidden_MD.narrow(0, begin, size).copy_(apply_linear(logits_RV, weight_VD.t()));
    }
    if (!want_weight) continue;
    if (is_narrow_sum) {
      loss.d_weight_VD.add_(at::mm(logits_RV.t(), hidden_RD));
    } else if (begin == 0) {
      at::mm_out(loss.d_weight_VD, logits_RV.t(), hidden_RD);
    } else {
      loss.d_weight_VD.addmm_(logits_RV.t(), hidden_RD);
    }
  }
  return loss;
}

LinearLoss linear_loss(const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                       const torch::Tensor& targets_M, bool want_hidden, bool want_weight) {
  const auto kept = (targets_M != kIgnoreIndex).nonzero().squeeze(1);
  if (kept.size(0) == targets_M.size(0)) {
    return loss_of_rows(hidden_MD, weight_VD, targets_M, want_hidden, want_weight);
  }
  // The products leave out ignored rows, which may be most of the rows.
  auto loss = loss_of_rows(hidden_MD.index_select(0, kept), weight_VD,
                           targets_M.index_select(0, kept), want_hidden, want_weight);
  const auto spread = [&](const torch::Tensor& rows, at::IntArrayRef sizes) {
    return at::zeros(sizes, rows.options()).index_copy_(0, kept, rows);
  };
  loss.nll_M = spread(loss.nll_M, targets_M.sizes());
  if (want_hidden) loss.d_hidden_MD = spread(loss.d_hidden_MD, hidden_MD.sizes());
  return loss;
}

void check_linear(const char* who, const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                  const torch::Tensor& targets_M) {
  TORCH_CHECK(
      hidden_MD.dim() == 2 && weight_VD.dim() == 2 && hidden_MD.size(1) == weight_VD.size(1) &&
          hidden_MD.scalar_type() == weight_VD.scalar_type() && hidden_MD.is_floating_point(),
      who, ": wants hidden [M, D] and weight [V, D] of one floating type, got ", hidden_MD.sizes(),
      " ", hidden_MD.dtype(), " and ", weight_VD.sizes(), " ", weight_VD.dtype());
  check_targets(who, targets_M, hidden_MD.size(0), weight_VD.size(0));
}

torch::Tensor sum_of(const torch::Tensor& nll_M) {
  return nll_M.sum(c10::kDouble).to(nll_M.scalar_type());
}

bool wants_gradient(const torch::Tensor& x) {
  return c10::GradMode::is_enabled() && x.requires_grad();
}

// The gradients were computed in the forward pass. Each is scaled in place and can be taken only
// once.
torch::Tensor take_scaled(AutogradContext* ctx, const char* name, const torch::Tensor& scale) {
  const auto found = ctx->saved_data.find(name);
  if (found == ctx->saved_data.end()) return {};
  TORCH_CHECK(!c10::GradMode::is_enabled(),
              "cross-entropy: its gradient has no derivative; run backward without create_graph");
  TORCH_CHECK(found->second.isTensor(),
              "cross-entropy: its gradient was given away by the first "
              "backward pass; there is no second one");
  auto gradient = std::move(found->second).toTensor();
  found->second = c10::IValue();
  return gradient.mul_(scale);
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& hidden_MD,
                               const torch::Tensor& weight_VD, const torch::Tensor& targets_M,
                               bool want_hidden, bool want_weight) {
    auto loss = linear_loss(hidden_MD, weight_VD, targets_M, want_hidden, want_weight);
    if (want_hidden) ctx->saved_data["hidden"] = std::move(loss.d_hidden_MD);
    if (want_weight) ctx->saved_data["weight"] = std::move(loss.d_weight_VD);
    ctx->saved_data["type"] = static_cast<std::int64_t>(hidden_MD.scalar_type());
    return sum_of(loss.nll_M);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto type = static_cast<c10::ScalarType>(ctx->saved_data["type"].toInt());
    auto d_weight_VD = take_scaled(ctx, "weight", grads[0]);
    if (d_weight_VD.defined()) d_weight_VD = d_weight_VD.to(type);
    return {take_scaled(ctx, "hidden", grads[0]), d_weight_VD, torch::Tensor(), torch::Tensor(),
            torch::Tensor()};
  }
};

torch::Tensor softmax_terms(const torch::Tensor& logits_MV, const torch::Tensor& targets_M,
                            bool to_gradient) {
  const auto options =
      logits_MV.options().dtype(sum_type(logits_MV.scalar_type())).requires_grad(false);
  const auto nll_M = at::empty({logits_MV.size(0)}, options);
  consume_logits(nll_M, logits_MV, targets_M, to_gradient);
  return nll_M;
}

void check_logits(const char* who, const torch::Tensor& logits_MV, const torch::Tensor& targets_M) {
  TORCH_CHECK(logits_MV.dim() == 2 && logits_MV.is_floating_point(), who,
              ": wants logits [M, V] of a floating type, got ", logits_MV.sizes(), " ",
              logits_MV.dtype());
  check_targets(who, targets_M, logits_MV.size(0), logits_MV.size(1));
}

class SoftmaxCrossEntropy : public torch::autograd::Function<SoftmaxCrossEntropy> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& logits_MV,
                               const torch::Tensor& targets_M) {
    auto loss = sum_of(softmax_terms(logits_MV, targets_M, /*to_gradient=*/true));
    ctx->saved_data["logits"] = logits_MV.detach();
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {take_scaled(ctx, "logits", grads[0]), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor linear_cross_entropy(const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                                   const torch::Tensor& targets_M) {
  check_linear("linear_cross_entropy", hidden_MD, weight_VD, targets_M);
  const bool want_hidden = wants_gradient(hidden_MD), want_weight = wants_gradient(weight_VD);
  if (want_hidden || want_weight) {
    return LinearCrossEntropy::apply(hidden_MD, weight_VD, targets_M, want_hidden, want_weight);
  }
  return sum_of(linear_nll(hidden_MD, weight_VD, targets_M));
}

torch::Tensor linear_nll(const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                         const torch::Tensor& targets_M) {
  check_linear("linear_nll", hidden_MD, weight_VD, targets_M);
  const c10::NoGradGuard no_grad;
  return linear_loss(hidden_MD, weight_VD, targets_M, false, false).nll_M;
}

torch::Tensor softmax_cross_entropy_(const torch::Tensor& logits_MV,
                                     const torch::Tensor& targets_M) {
  check_logits("softmax_cross_entropy_", logits_MV, targets_M);
  if (!wants_gradient(logits_MV)) return sum_of(softmax_nll_(logits_MV, targets_M));
  TORCH_CHECK(!logits_MV.is_leaf(),
              "softmax_cross_entropy_: the logits are a leaf that wants a gradient, which would be "
              "overwritten");
  auto loss = SoftmaxCrossEntropy::apply(logits_MV, targets_M);
  // The logits were overwritten: an operator that saved them for its backward pass must notice.
  logits_MV.unsafeGetTensorImpl()->bump_version();
  return loss;
}

torch::Tensor softmax_nll_(const torch::Tensor& logits_MV, const torch::Tensor& targets_M) {
  check_logits("softmax_nll_", logits_MV, targets_M);
  const c10::NoGradGuard no_grad;
  return softmax_terms(logits_MV, targets_M, /*to_gradient=*/false);
}

}  // namespace lowbank
