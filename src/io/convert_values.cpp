#include "io/convert_values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

namespace lowbank {
namespace {

using Byte = std::uint8_t;

// Two bytes of a block as float32. Multiplying by 2^112 moves the exponent from float16's bias of
// 15 to float32's of 127, subnormals included; infinity and NaN need their exponent filled.
float half_at(const Byte* bytes) {
  std::uint16_t half;
  std::memcpy(&half, bytes, sizeof half);
  const std::uint32_t magnitude = half & 0x7FFFu;
  auto bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  if (magnitude >= 0x7C00u) bits |= 0x7F80'0000u;
  return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

// Rounds to nearest, ties to even; magnitudes from 65520 on become infinity.
std::uint16_t to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  std::uint32_t magnitude = bits & 0x7FFF'FFFFu;
  std::uint32_t half;
  if (magnitude > 0x7F80'0000u) {
    half = 0x7E00u;                        // NaN
  } else if (magnitude >= 0x4780'0000u) {  // 65536
    half = 0x7C00u;
  } else if (magnitude < 0x3880'0000u) {  // 2^-14: subnormal, in steps of 2^-24
    // In [0.5, 1) float32 has those steps, and the addition rounds to them.
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
           std::bit_cast<std::uint32_t>(0.5f);
  } else {
    magnitude -= 112u << 23;
    half = (magnitude + 0xFFFu + (magnitude >> 13 & 1u)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

// Rounds to nearest, ties to even; a NaN stays one.
std::uint16_t to_bfloat(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFF'FFFFu) > 0x7F80'0000u) return static_cast<std::uint16_t>(bits >> 16 | 64u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// E4M3 without infinities: bias 7, 0x7F is NaN. Source: OCP 8-bit floating point specification.
float e4m3(Byte code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  if ((code & 0x7F) == 0x7F) value = std::numeric_limits<float>::quiet_NaN();
  return code & 0x80 ? -value : value;
}

// 2^(e - 128): half of the value that the code e of an MX scale means, since the E2M1 values below
// are doubled. Source: OCP MX specification 1.0, E8M0.
float half_e8m0(Byte e) {
  return std::bit_cast<float>(e < 2 ? 0x0020'0000u << e : static_cast<std::uint32_t>(e - 1) << 23);
}
constexpr std::array<float, 16> kE2m1Doubled = {0, 1,  2,  3,  4,  6,  8,  12,
                                                0, -1, -2, -3, -4, -6, -8, -12};

// The blocks below: `in` is one block, `out` its values. Layouts: ggml-org/llama.cpp
// gguf-py/gguf/quants.py (gguf 0.19.0), whose order of operations is kept, so that results are
// equal to the last bit.

void read_q4_0(const Byte* in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((in[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((in[2 + i] >> 4) - 8);
  }
}

void read_q4_1(const Byte* in, float* out) {
  const float d = half_at(in), m = half_at(in + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(in[4 + i] & 15) + m;
    out[i + 16] = d * static_cast<float>(in[4 + i] >> 4) + m;
  }
}

// Fifth bits of the 32 values lie in one word.
int fifth_bit(const Byte* in, int i) {
  std::uint32_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return static_cast<int>(bits >> i & 1u) << 4;
}

void read_q5_0(const Byte* in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(((in[6 + i] & 15) | fifth_bit(in + 2, i)) - 16);
    out[i + 16] = d * static_cast<float>(((in[6 + i] >> 4) | fifth_bit(in + 2, i + 16)) - 16);
  }
}

void read_q5_1(const Byte* in, float* out) {
  const float d = half_at(in), m = half_at(in + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((in[8 + i] & 15) | fifth_bit(in + 4, i)) + m;
    out[i + 16] = d * static_cast<float>((in[8 + i] >> 4) | fifth_bit(in + 4, i + 16)) + m;
  }
}

void read_q8_0(const Byte* in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(in[2 + i])) * d;
}

void read_mxfp4(const Byte* in, float* out) {
  const float d = half_e8m0(in[0]);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * kE2m1Doubled[in[1 + i] & 15];
    out[i + 16] = d * kE2m1Doubled[in[1 + i] >> 4];
  }
}

// scales [16] (scale and minimum of 16 values in 4 bits each), codes [64] of 2 bits, d, dmin.
void read_q2_k(const Byte* in, float* out) {
  const Byte* const codes = in + 16;
  const float d = half_at(in + 80), dmin = half_at(in + 82);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, shift = i % 128 / 32 * 2;
    const Byte scale = in[i / 16];
    const int code = codes[half * 32 + i % 32] >> shift & 3;
    out[i] = d * static_cast<float>(scale & 15) * static_cast<float>(code) -
             dmin * static_cast<float>(scale >> 4);
  }
}

// third bits [32], codes [64] of 2 bits, scales of 6 bits in 12 bytes, d.
void read_q3_k(const Byte* in, float* out) {
  const Byte* const codes = in + 32;
  const Byte* const packed = in + 96;
  const float d = half_at(in + 108);
  std::array<float, 16> scales;
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
    const int high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
    scales[static_cast<std::size_t>(i)] = d * static_cast<float>((low | high << 4) - 32);
  }
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, shift = i % 128 / 32 * 2;
    const int code = codes[half * 32 + i % 32] >> shift & 3;
    const int third = in[i % 32] >> (i / 32) & 1;
    out[i] = scales[static_cast<std::size_t>(i / 16)] * static_cast<float>(code - (third ? 0 : 4));
  }
}

// Eight pairs of scale and minimum, 6 bits each, in 12 bytes (Q4_K and Q5_K).
void unpack_pairs(const Byte* packed, std::array<float, 8>& scales, std::array<float, 8>& minima) {
  for (std::size_t i = 0; i < 8; ++i) {
    const int scale = i < 4 ? packed[i] & 63 : (packed[i + 4] & 15) | packed[i - 4] >> 6 << 4;
    const int minimum = i < 4 ? packed[i + 4] & 63 : packed[i + 4] >> 4 | packed[i] >> 6 << 4;
    scales[i] = static_cast<float>(scale);
    minima[i] = static_cast<float>(minimum);
  }
}

void read_q4_k(const Byte* in, float* out) {
  const float d = half_at(in), dmin = half_at(in + 2);
  std::array<float, 8> scales, minima;
  unpack_pairs(in + 4, scales, minima);
  const Byte* const codes = in + 16;
  for (std::size_t block = 0; block < 8; ++block) {
    const float scale = d * scales[block], minimum = dmin * minima[block];
    for (std::size_t i = 0; i < 32; ++i) {
      const int code = codes[block / 2 * 32 + i] >> (block % 2 * 4) & 15;
      out[block * 32 + i] = scale * static_cast<float>(code) - minimum;
    }
  }
}

// As Q4_K, with the fifth bits [32] before the codes.
void read_q5_k(const Byte* in, float* out) {
  const float d = half_at(in), dmin = half_at(in + 2);
  std::array<float, 8> scales, minima;
  unpack_pairs(in + 4, scales, minima);
  const Byte* const fifths = in + 16;
  const Byte* const codes = in + 48;
  for (std::size_t block = 0; block < 8; ++block) {
    const float scale = d * scales[block], minimum = dmin * minima[block];
    for (std::size_t i = 0; i < 32; ++i) {
      const int low = codes[block / 2 * 32 + i] >> (block % 2 * 4) & 15;
      const int high = fifths[i] >> block & 1;
      out[block * 32 + i] = scale * static_cast<float>(low | high << 4) - minimum;
    }
  }
}

// low bits [128], high bits [64], scales [16] int8, d.
void read_q6_k(const Byte* in, float* out) {
  const float d = half_at(in + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, group = i % 128 / 32, l = i % 32;
    const int low = in[half * 64 + (group % 2) * 32 + l] >> (group / 2 * 4) & 15;
    const int high = in[128 + half * 32 + l] >> (group * 2) & 3;
    const float scale = d * static_cast<float>(static_cast<std::int8_t>(in[192 + i / 16]));
    out[i] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

using ReadBlock = void (*)(const Byte*, float*);

template <ReadBlock kRead>
void read_blocks(ElementType type, const Byte* in, std::span<float> out) {
  const auto values = static_cast<std::size_t>(block_elements(type));
  const auto bytes = static_cast<std::size_t>(block_bytes(type));
  for (std::size_t i = 0; i * values < out.size(); ++i) kRead(in + i * bytes, &out[i * values]);
}

template <class T>
void read_plain(const Byte* in, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, in + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

// 1 / d; 0 if d is 0 or so small that the quotient overflows.
float inverse_of(float d) {
  const float inverse = 1.0f / d;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// One scale for 32 values: the largest is +-127. Halves round away from zero, as roundf does.
void write_q8_0(const float* in, Byte* out) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(in[i]));
  const float d = largest / 127.0f;
  const float inverse = inverse_of(d);
  const std::uint16_t stored = to_half(d);
  std::memcpy(out, &stored, sizeof stored);
  for (int i = 0; i < 32; ++i) {
    const float code = std::round(in[i] * inverse);
    out[2 + i] = static_cast<Byte>(static_cast<int>(code));
  }
}

// One scale for 32 values: the largest by magnitude (the first of equals) becomes -8.
void write_q4_0(const float* in, Byte* out) {
  int largest = 0;
  for (int i = 1; i < 32; ++i) {
    if (std::fabs(in[i]) > std::fabs(in[largest])) largest = i;
  }
  const float d = in[largest] / -8.0f;
  const float inverse = inverse_of(d);
  const std::uint16_t stored = to_half(d);
  std::memcpy(out, &stored, sizeof stored);
  const auto code = [&](int i) { return std::min(static_cast<int>(in[i] * inverse + 8.5f), 15); };
  for (int i = 0; i < 16; ++i) out[2 + i] = static_cast<Byte>(code(i) | code(i + 16) << 4);
}

void check_sizes(const char* who, ElementType type, std::size_t num_bytes, std::size_t num_values) {
  const auto values = static_cast<std::size_t>(block_elements(type));
  const auto bytes = static_cast<std::size_t>(block_bytes(type));
  if (num_bytes % bytes != 0 || num_bytes / bytes * values != num_values) {
    throw std::invalid_argument(fmt::format("{}: {} bytes of {} are not {} values", who, num_bytes,
                                            element_type_name(type), num_values));
  }
}

}  // namespace

void values_to_f32(ElementType type, std::span<const std::byte> stored, std::span<float> out) {
  check_sizes("values_to_f32", type, stored.size(), out.size());
  const auto* const in = reinterpret_cast<const Byte*>(stored.data());
  switch (type) {
    case ElementType::kBool:
    case ElementType::kU8:
      return read_plain<std::uint8_t>(in, out);
    case ElementType::kI8:
      return read_plain<std::int8_t>(in, out);
    case ElementType::kI16:
      return read_plain<std::int16_t>(in, out);
    case ElementType::kU16:
      return read_plain<std::uint16_t>(in, out);
    case ElementType::kI32:
      return read_plain<std::int32_t>(in, out);
    case ElementType::kU32:
      return read_plain<std::uint32_t>(in, out);
    case ElementType::kI64:
      return read_plain<std::int64_t>(in, out);
    case ElementType::kU64:
      return read_plain<std::uint64_t>(in, out);
    case ElementType::kF32:
      if (!out.empty()) std::memcpy(out.data(), in, stored.size());
      return;
    case ElementType::kF64:
      return read_plain<double>(in, out);
    case ElementType::kF16:
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = half_at(in + 2 * i);
      return;
    case ElementType::kBf16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, in + 2 * i, sizeof bits);
        out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
      }
      return;
    case ElementType::kF8E4m3:
      std::transform(in, in + out.size(), out.begin(), e4m3);
      return;
    case ElementType::kF8E5m2:  // the upper byte of a float16
      for (std::size_t i = 0; i < out.size(); ++i) {
        const std::array<Byte, 2> half = {0, in[i]};
        out[i] = half_at(half.data());
      }
      return;
    case ElementType::kQ40:
      return read_blocks<read_q4_0>(type, in, out);
    case ElementType::kQ41:
      return read_blocks<read_q4_1>(type, in, out);
    case ElementType::kQ50:
      return read_blocks<read_q5_0>(type, in, out);
    case ElementType::kQ51:
      return read_blocks<read_q5_1>(type, in, out);
    case ElementType::kQ80:
      return read_blocks<read_q8_0>(type, in, out);
    case ElementType::kQ2K:
      return read_blocks<read_q2_k>(type, in, out);
    case ElementType::kQ3K:
      return read_blocks<read_q3_k>(type, in, out);
    case ElementType::kQ4K:
      return read_blocks<read_q4_k>(type, in, out);
    case ElementType::kQ5K:
      return read_blocks<read_q5_k>(type, in, out);
    case ElementType::kQ6K:
      return read_blocks<read_q6_k>(type, in, out);
    case ElementType::kMxfp4:
      return read_blocks<read_mxfp4>(type, in, out);
    case ElementType::kC64:
      break;
  }
  throw std::invalid_argument("values_to_f32: complex values are not real");
}

void f32_to_values(ElementType type, std::span<const float> values, std::span<std::byte> out) {
  check_sizes("f32_to_values", type, out.size(), values.size());
  auto* const bytes = reinterpret_cast<Byte*>(out.data());
  const auto write_half = [&](auto&& convert) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t bits = convert(values[i]);
      std::memcpy(bytes + 2 * i, &bits, sizeof bits);
    }
  };
  switch (type) {
    case ElementType::kF32:
      if (!out.empty()) std::memcpy(bytes, values.data(), out.size());
      return;
    case ElementType::kF16:
      return write_half(to_half);
    case ElementType::kBf16:
      return write_half(to_bfloat);
    case ElementType::kQ80:
      for (std::size_t i = 0; i < values.size() / 32; ++i)
        write_q8_0(&values[32 * i], bytes + 34 * i);
      return;
    case ElementType::kQ40:
      for (std::size_t i = 0; i < values.size() / 32; ++i)
        write_q4_0(&values[32 * i], bytes + 18 * i);
      return;
    default:
      throw std::invalid_argument(
          fmt::format("f32_to_values: {} is not written", element_type_name(type)));
  }
}

}  // namespace lowbank
