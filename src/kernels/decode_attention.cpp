#include "kernels/decode_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/Parallel.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>

#include "kernels/cpu/cpu_tensor.h"

namespace lowbank {
namespace {

torch::Tensor plain_decode_attention(const torch::Tensor& q_BHE, const torch::Tensor& keys_BKSE,
                                     const torch::Tensor& values_BKSE,
                                     const torch::Tensor& mask_BS) {
  const std::int64_t group = q_BHE.size(1) / keys_BKSE.size(1);
  const auto q_BH1E = q_BHE.unsqueeze(2);
  if (!mask_BS.defined()) {
    return at::scaled_dot_product_attention(q_BH1E, keys_BKSE, values_BKSE, /*attn_mask=*/{},
                                            /*dropout_p=*/0.0, /*is_causal=*/false,
                                            /*scale=*/std::nullopt, /*enable_gqa=*/group > 1)
        .squeeze(2);
  }
  const auto mask_B11S = mask_BS.unsqueeze(1).unsqueeze(1);
  // With a mask, grouped heads may fall back to the unfused kernel; repeated keys do not.
  const auto mixed_BHE =
      at::scaled_dot_product_attention(q_BH1E, keys_BKSE.repeat_interleave(group, 1),
                                       values_BKSE.repeat_interleave(group, 1), mask_B11S)
          .squeeze(2);
  return mixed_BHE.masked_fill(mask_B11S.squeeze(1).any(-1, /*keepdim=*/true).logical_not(), 0.0);
}

}  // namespace

torch::Tensor decode_attention(const torch::Tensor& q_BHE, const torch::Tensor& keys_BKSE,
                               const torch::Tensor& values_BKSE, const torch::Tensor& mask_BS) {
  RECORD_FUNCTION("lowbank::decode_attention", std::vector<c10::IValue>({q_BHE, keys_BKSE}));
  TORCH_CHECK(q_BHE.dim() == 3 && keys_BKSE.dim() == 4 && keys_BKSE.size(0) == q_BHE.size(0) &&
                  keys_BKSE.size(3) == q_BHE.size(2) && keys_BKSE.size(1) > 0 &&
                  q_BHE.size(1) % keys_BKSE.size(1) == 0 && keys_BKSE.size(2) > 0 &&
                  values_BKSE.sizes() == keys_BKSE.sizes(),
              "decode_attention: q ", q_BHE.sizes(), " does not fit keys ", keys_BKSE.sizes(),
              " and values ", values_BKSE.sizes());
  const std::int64_t batch = q_BHE.size(0), num_heads = q_BHE.size(1), size = q_BHE.size(2);
  const std::int64_t num_key_heads = keys_BKSE.size(1), num_keys = keys_BKSE.size(2);
  TORCH_CHECK(!mask_BS.defined() || (mask_BS.sizes() == c10::IntArrayRef({batch, num_keys}) &&
                                     mask_BS.scalar_type() == c10::kBool),
              "decode_attention: mask must be bool [", batch, ", ", num_keys, "], got ",
              mask_BS.toString(), " ", mask_BS.sizes());
  TORCH_CHECK(!wants_grad(q_BHE) && !wants_grad(keys_BKSE) && !wants_grad(values_BKSE),
              "decode_attention: has no gradient");
  if (!is_vector_tensor(q_BHE) || !has_vector_rows(keys_BKSE) || !has_vector_rows(values_BKSE) ||
      keys_BKSE.scalar_type() != values_BKSE.scalar_type() || q_BHE.numel() == 0) {
    return plain_decode_attention(q_BHE, keys_BKSE, values_BKSE, mask_BS);
  }

  const auto& kernels = cpu_kernels();
  const auto q = q_BHE.contiguous();
  const auto mask = mask_BS.defined() ? mask_BS.contiguous() : mask_BS;
  // The keys are divided into pieces that are computed separately and merged in order. The division
  // depends on the number of keys only.
  const std::int64_t num_pieces = (num_keys + AttendKeys::kMaxKeys - 1) / AttendKeys::kMaxKeys;
  const std::int64_t piece = (num_keys + num_pieces - 1) / num_pieces;
  const std::int64_t group = num_heads / num_key_heads;
  const std::int64_t num_parts = batch * num_key_heads * num_pieces;
  // Scaled queries [B, H, E], then of each part (B, K, piece): weighted [group, E], highest and
  // total [group].
  const std::int64_t part_size = group * (size + 2);
  const auto work = empty_cpu({q.numel() + num_parts * part_size}, c10::kFloat);
  float* const queries = work.mutable_data_ptr<float>();
  float* const parts = queries + q.numel();
  kernels.widen[vector_type(q)](queries, q.const_data_ptr(), q.numel());
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  for (std::int64_t i = 0; i < q.numel(); ++i) queries[i] *= scale;

  const auto* const keys = static_cast<const char*>(keys_BKSE.const_data_ptr());
  const auto* const values = static_cast<const char*>(values_BKSE.const_data_ptr());
  const std::int64_t item = keys_BKSE.element_size();
  const auto attend = kernels.attend[vector_type(keys_BKSE)];
  at::parallel_for(
      0, num_parts, row_grain(2 * piece * size), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t first_key = i % num_pieces * piece, head = i / num_pieces;
          const std::int64_t b = head / num_key_heads, k = head % num_key_heads;
          float* const part = parts + i * part_size;
          const auto place = [&](const torch::Tensor& x_BKSE) {
            return (b * x_BKSE.stride(0) + k * x_BKSE.stride(1) + first_key * x_BKSE.stride(2)) *
                   item;
          };
          attend({.queries = queries + head * group * size,
                  .keys = keys + place(keys_BKSE),
                  .values = values + place(values_BKSE),
                  .mask = mask.defined() ? mask.const_data_ptr<bool>() + b * num_keys + first_key
                                         : nullptr,
                  .weighted = part,
                  .highest = part + group * size,
                  .total = part + group * (size + 1),
                  .num_heads = group,
                  .num_keys = std::min(piece, num_keys - first_key),
                  .size = size,
                  .key_stride = keys_BKSE.stride(2),
                  .value_stride = values_BKSE.stride(2)});
        }
      });

  auto out = empty_cpu(q.sizes(), q.scalar_type());
  auto* const out_data = static_cast<char*>(out.mutable_data_ptr());
  // The queries are no longer needed; the merged heads are written in their place.
  for (std::int64_t h = 0; h < batch * num_heads; ++h) {
    const float* const first = parts + h / group * num_pieces * part_size;
    const std::int64_t in_group = h % group;
    const auto highest_of = [&](std::int64_t p) {
      return first[p * part_size + group * size + in_group];
    };
    float highest = -std::numeric_limits<float>::infinity();
    for (std::int64_t p = 0; p < num_pieces; ++p) highest = std::max(highest, highest_of(p));
    float* const merged = queries + h * size;
    std::fill_n(merged, size, 0.0f);
    if (highest == -std::numeric_limits<float>::infinity()) continue;
    float total = 0.0f;
    for (std::int64_t p = 0; p < num_pieces; ++p) {
      total +=
          std::exp(highest_of(p) - highest) * first[p * part_size + group * (size + 1) + in_group];
    }
    for (std::int64_t p = 0; p < num_pieces; ++p) {
      kernels.add_scaled(merged, first + p * part_size + in_group * size,
                         std::exp(highest_of(p) - highest) / total, size);
    }
  }
  kernels.narrow[vector_type(q)](out_data, queries, q.numel());
  return out;
}

}  // namespace lowbank
