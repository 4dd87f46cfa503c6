#include "io/value_stream.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "io/convert_values.h"
#include "io/mapped_file.h"

namespace lowbank {
namespace {

constexpr std::size_t kPieceElements = std::size_t{1} << 18;  // a multiple of every block

// All bits of the exponent set: infinity or NaN.
template <class Bits>
std::int64_t find_full_exponent(std::span<const std::byte> values, Bits exponent) {
  const std::size_t count = values.size() / sizeof(Bits);
  const auto is_full = [&](std::size_t i) {
    Bits bits;
    std::memcpy(&bits, values.data() + i * sizeof(Bits), sizeof(Bits));
    return (bits & exponent) == exponent;
  };
  // The loop over a block has no early exit, so that the compiler can vectorise it.
  constexpr std::size_t kBlock = 1024;
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, count);
    unsigned found = 0;
    for (std::size_t i = begin; i < end; ++i) found |= is_full(i);
    if (found == 0) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (is_full(i)) return static_cast<std::int64_t>(i);
    }
  }
  return -1;
}

}  // namespace

std::int64_t find_not_finite(ElementType type, std::span<const std::byte> values) {
  switch (type) {
    case ElementType::kF16:
      return find_full_exponent<std::uint16_t>(values, 0x7C00);
    case ElementType::kBf16:
      return find_full_exponent<std::uint16_t>(values, 0x7F80);
    case ElementType::kF32:
      return find_full_exponent<std::uint32_t>(values, 0x7F80'0000);
    case ElementType::kF64:
      return find_full_exponent<std::uint64_t>(values, 0x7FF0'0000'0000'0000);
    default:
      return -1;
  }
}

void stream_values(ElementType stored_type, std::span<const std::byte> stored, ElementType type,
                   const ByteSink& sink) {
  const auto blocks_in_piece =
      kPieceElements / static_cast<std::size_t>(block_elements(stored_type));
  const auto piece_bytes = blocks_in_piece * static_cast<std::size_t>(block_bytes(stored_type));
  std::vector<float> floats;
  std::vector<std::byte> out;
  for (std::size_t begin = 0; begin < stored.size(); begin += piece_bytes) {
    const auto piece = stored.subspan(begin, std::min(piece_bytes, stored.size() - begin));
    if (stored_type == type) {
      sink(piece);
      continue;
    }
    const auto num_blocks = piece.size() / static_cast<std::size_t>(block_bytes(stored_type));
    floats.resize(num_blocks * static_cast<std::size_t>(block_elements(stored_type)));
    values_to_f32(stored_type, piece, floats);
    if (type == ElementType::kF32) {
      sink(std::as_bytes(std::span(floats)));
      continue;
    }
    out.resize(floats.size() / static_cast<std::size_t>(block_elements(type)) *
               static_cast<std::size_t>(block_bytes(type)));
    f32_to_values(type, floats, out);
    sink(out);
  }
}

void stream_values(const TensorArchive& archive, const TensorEntry& entry, ElementType type,
                   const ByteSink& sink) {
  if (entry.type == ElementType::kC64 && type != ElementType::kC64) {
    throw IoError(fmt::format("{}: tensor '{}' is complex (C64); real values are wanted",
                              archive.path(), entry.name));
  }
  std::vector<std::byte> scratch;
  const auto stored = archive.bytes(entry, scratch);
  std::size_t dropped = 0;
  std::size_t done = 0;
  const bool is_mapped = scratch.empty();
  stream_values(entry.type, stored, type, [&](std::span<const std::byte> piece) {
    sink(piece);
    if (!is_mapped) return;
    done += piece.size() / static_cast<std::size_t>(block_bytes(type)) *
            static_cast<std::size_t>(block_elements(type)) /
            static_cast<std::size_t>(block_elements(entry.type)) *
            static_cast<std::size_t>(block_bytes(entry.type));
    drop_pages(stored.subspan(dropped, done - dropped));
    dropped = done;
  });
}

}  // namespace lowbank
