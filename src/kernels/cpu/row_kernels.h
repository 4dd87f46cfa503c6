// Loops over the rows of tensors, for every instruction set (see pack.h).
#pragma once

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/pack.h"

namespace lowbank::LOWBANK_ISA {
namespace {

// ---- Copies ----------------------------------------------------------------------------------

void add_scaled(float* sum, const float* x, float factor, std::int64_t size) {
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) {
    put(sum + i, get(sum + i) + factor * get(x + i));
  });
}

template <class T>
void widen(float* out, const void* x, std::int64_t size) {
  const T* const from = static_cast<const T*>(x);
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) { put(out + i, get(from + i)); });
}

template <class T>
void narrow(void* out, const float* x, std::int64_t size) {
  T* const to = static_cast<T*>(out);
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) { put(to + i, get(x + i)); });
}

// ---- RMS norm --------------------------------------------------------------------------------

template <class T>
void rms_norm(const RmsNormRows& r) {
  const T* const weight = static_cast<const T*>(r.weight);
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* x = static_cast<const T*>(r.x) + row * r.size;
    Pack squares[2] = {};
    if (r.residual != nullptr) {
      const T* const residual = static_cast<const T*>(r.residual) + row * r.size;
      T* const sum = static_cast<T*>(r.sum) + row * r.size;
      for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
        const Pack v = rounded_to(x, get(x + i) + get(residual + i));
        put(sum + i, v);
        squares[0] += v * v;
      });
      x = sum;
    } else {
      std::int64_t i = 0;
      constexpr std::int64_t kStep = std::int64_t{2} * kLanes;
      for (; i + kStep <= r.size; i += kStep) {
        const Pack v0 = load(x + i), v1 = load(x + i + kLanes);
        squares[0] += v0 * v0;
        squares[1] += v1 * v1;
      }
      for_each_vector(r.size - i, [&](std::int64_t rest, auto get, auto) {
        const Pack v = get(x + i + rest);
        squares[0] += v * v;
      });
    }
    const float mean = sum_lanes(squares[0] + squares[1]) / static_cast<float>(r.size);
    const float scale = 1.0f / __builtin_sqrtf(mean + r.eps);
    if (r.scale != nullptr) r.scale[row] = scale;
    T* const out = static_cast<T*>(r.out) + row * r.size;
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      put(out + i, rounded_to(x, get(x + i) * scale) * get(weight + i));
    });
  }
}

template <class T>
void rms_norm_grad(const RmsNormGradRows& r) {
  const T* const weight = static_cast<const T*>(r.weight);
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* const grad = static_cast<const T*>(r.grad) + row * r.size;
    const T* const x = static_cast<const T*>(r.x) + row * r.size;
    T* const grad_x = static_cast<T*>(r.grad_x) + row * r.size;
    const float scale = r.scale[row];
    Pack products{};
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      const Pack g = get(grad + i), v = get(x + i);
      products += g * get(weight + i) * v;
      if (r.grad_weight != nullptr) {
        put(r.grad_weight + i, get(r.grad_weight + i) + g * (v * scale));
      }
    });
    const float pull = sum_lanes(products) * scale * scale * scale / static_cast<float>(r.size);
    if (r.grad_sum != nullptr) {
      const T* const grad_sum = static_cast<const T*>(r.grad_sum) + row * r.size;
      for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
        put(grad_x + i,
            get(grad_sum + i) + (get(grad + i) * get(weight + i) * scale - get(x + i) * pull));
      });
    } else {
      for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
        put(grad_x + i, get(grad + i) * get(weight + i) * scale - get(x + i) * pull);
      });
    }
  }
}

// ---- SwiGLU ----------------------------------------------------------------------------------

template <class T>
void swiglu(const SwigluRows& r) {
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* const gate = static_cast<const T*>(r.gate) + row * r.gate_stride;
    const T* const up = static_cast<const T*>(r.up) + row * r.up_stride;
    T* const out = static_cast<T*>(r.out) + row * r.size;
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      const Pack g = get(gate + i);
      put(out + i, g * get(up + i) / (1.0f + exp(-g)));
    });
  }
}

template <class T>
void swiglu_grad(const SwigluRows& r) {
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* const gate = static_cast<const T*>(r.gate) + row * r.gate_stride;
    const T* const up = static_cast<const T*>(r.up) + row * r.up_stride;
    const T* const grad = static_cast<const T*>(r.grad) + row * r.size;
    T* const grad_gate = static_cast<T*>(r.grad_gate) + row * r.grad_stride;
    T* const grad_up = static_cast<T*>(r.grad_up) + row * r.grad_stride;
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      const Pack g = get(gate + i), d = get(grad + i);
      const Pack sigmoid = 1.0f / (1.0f + exp(-g));
      const Pack silu = g * sigmoid;
      put(grad_gate + i, d * get(up + i) * (sigmoid + silu * (1.0f - sigmoid)));
      put(grad_up + i, d * silu);
    });
  }
}

// ---- Rotary embedding ------------------------------------------------------------------------

template <class T>
void rotary(const RotaryHeads& r) {
  const std::int64_t half = r.size / 2;
  const T* const cosines = static_cast<const T*>(r.cosines);
  const T* const sines = static_cast<const T*>(r.sines);
  // The inverse of a turn is its transpose: each half then takes the sines of the other.
  const T* const first_sines = r.is_backward ? sines + half : sines;
  const T* const second_sines = r.is_backward ? sines : sines + half;
  for (std::int64_t head = 0; head < r.num_heads; ++head) {
    const T* const x = static_cast<const T*>(r.x) + head * r.x_stride;
    T* const out = static_cast<T*>(r.out) + head * r.out_stride;
    for_each_vector(half, [&](std::int64_t i, auto get, auto put) {
      const Pack first = get(x + i), second = get(x + half + i);
      put(out + i, first * get(cosines + i) + second * get(first_sines + i));
      put(out + half + i, second * get(cosines + half + i) + first * get(second_sines + i));
    });
  }
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
