#include "tokenizers/token_writer.h"

#include <algorithm>

namespace lowbank::tokenizers {

void TokenWriter::flush_block() {
  const std::size_t count = ids_.size() - 1;
  sink_.take(std::span(ids_).first(count), with_ends_
                                               ? std::span<const std::int64_t>(ends_).first(count)
                                               : std::span<const std::int64_t>());
  ids_ = {ids_.back()};
  if (with_ends_) ends_ = {ends_.back()};
}

void TokenWriter::finish() {
  if (!ids_.empty()) sink_.take(ids_, ends_);
  ids_.clear();
  ends_.clear();
}

void IdList::take(std::span<const std::int32_t> ids, std::span<const std::int64_t>) {
  while (!ids.empty()) {
    if (chunks_.empty() || chunks_.back().size() == kChunk) {
      chunks_.emplace_back();
      // A short list stays short; from the second chunk on the final size is known.
      if (chunks_.size() > 1) chunks_.back().reserve(kChunk);
    }
    auto& chunk = chunks_.back();
    const std::size_t count = std::min(ids.size(), kChunk - chunk.size());
    chunk.insert(chunk.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
    ids = ids.subspan(count);
  }
}

bool IdList::operator==(const std::vector<std::int64_t>& ids) const {
  if (size() != ids.size()) return false;
  auto at = ids.begin();
  for (const auto& chunk : chunks_) {
    if (!std::equal(chunk.begin(), chunk.end(), at)) return false;
    at += static_cast<std::ptrdiff_t>(chunk.size());
  }
  return true;
}

void IdList::copy(std::size_t begin, std::span<std::int64_t> out) const {
  while (!out.empty()) {
    const auto& chunk = chunks_[begin / kChunk];
    const std::size_t first = begin % kChunk;
    const std::size_t count = std::min(chunk.size() - first, out.size());
    std::copy_n(chunk.begin() + static_cast<std::ptrdiff_t>(first), count, out.begin());
    out = out.subspan(count);
    begin += count;
  }
}

void IdList::truncate(std::size_t size) {
  if (size >= this->size()) return;
  const std::size_t num_chunks = (size + kChunk - 1) / kChunk;
  chunks_.resize(num_chunks);
  if (num_chunks > 0) chunks_.back().resize(size - (num_chunks - 1) * kChunk);
}

}  // namespace lowbank::tokenizers
