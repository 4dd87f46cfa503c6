#include "tokenizers/sentencepiece_tokenizer.h"

#include <charconv>

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include "core/error.h"
#include "tokenizers/piece_joiner.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

// "<0x0A>" -> 0x0A.
char byte_of_piece(const std::string& piece) {
  unsigned value = 0;
  std::from_chars(piece.data() + 3, piece.data() + piece.size() - 1, value, 16);
  return static_cast<char>(value);
}

void check_status(const sentencepiece::util::Status& status, const std::string& name,
                  std::string_view doing) {
  if (!status.ok()) throw IoError(fmt::format("{}: {}: {}", name, doing, status.ToString()));
}

}  // namespace

struct SentencepieceTokenizer::Library {
  sentencepiece::SentencePieceProcessor processor;
};

SentencepieceTokenizer::SentencepieceTokenizer(const std::string& bytes, const std::string& name,
                                               SpecialTokens special)
    : library_(std::make_unique<Library>()), name_(name), special_(special) {
  const SentencepieceModel model = read_sentencepiece_model(bytes, name);
  // The library's tables of pieces end a text at a NUL, and throw.
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].text.find('\0') != std::string::npos) {
      throw IoError(fmt::format("{}: piece {} holds a NUL byte", name, i));
    }
  }
  const auto status = library_->processor.LoadFromSerializedProto(bytes);
  if (!status.ok() || library_->processor.GetPieceSize() == 0) {
    throw IoError(name + ": is no sentencepiece model, or a damaged one");
  }
  encoder_ = SentencepieceEncoder::make(model);
}

SentencepieceTokenizer::~SentencepieceTokenizer() = default;

void SentencepieceTokenizer::encode_part(const TextPart& part, bool add_special,
                                         TokenWriter& out) const {
  const auto bos = bos_id();
  if (part.is_first && add_special && special_.add_bos && bos) {
    out.add_special(static_cast<std::int32_t>(*bos), 0);
  }
  if (encoder_) {
    encoder_->encode(part, out);
  } else {
    encode_with_library(part.text, out);
  }
  const auto eos = eos_id();
  if (part.is_last && add_special && special_.add_eos && eos) {
    out.add_special(static_cast<std::int32_t>(*eos), part.text.size());
  }
}

void SentencepieceTokenizer::encode_with_library(std::string_view text, TokenWriter& out) const {
  sentencepiece::ImmutableSentencePieceText pieces;
  check_status(library_->processor.Encode(text, pieces.mutable_proto()), name_, "cannot encode");
  for (std::size_t i = 0; i < pieces.pieces_size(); ++i) {
    const auto piece = pieces.pieces(static_cast<int>(i));
    out.add(static_cast<std::int32_t>(piece.id()), piece.end());
  }
}

std::size_t SentencepieceTokenizer::find_cut(std::string_view text) const {
  return encoder_ ? encoder_->find_cut(text) : 0;
}

void SentencepieceTokenizer::check_id(std::int64_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw ConfigError(
        fmt::format("{}: token id must be in [0, {}); got {}", name_, vocab_size(), id));
  }
}

std::string SentencepieceTokenizer::decode(std::span<const std::int64_t> ids) const {
  std::vector<int> pieces;
  pieces.reserve(ids.size());
  for (const auto id : ids) {
    check_id(id);
    pieces.push_back(static_cast<int>(id));
  }
  std::string text;
  check_status(library_->processor.Decode(pieces, &text), name_, "cannot decode");
  return text;
}

// The library decides what the start of a text looks like; behind it, every piece stands for itself.
void SentencepieceTokenizer::decode_list(const IdList& ids,
                                         const std::function<void(std::string_view)>& take) const {
  constexpr std::size_t kStartIds = 4096;
  std::vector<std::int64_t> start;
  for (const auto& chunk : ids.chunks()) {
    for (const auto id : chunk) {
      check_id(id);
      // A character of byte tokens is decoded as a whole.
      const int piece = static_cast<int>(id);
      const bool is_inside =
          library_->processor.IsByte(piece) &&
          is_utf8_continuation(byte_of_piece(library_->processor.IdToPiece(piece)));
      if (start.size() >= kStartIds && !is_inside) {
        take(decode(start));
        return PieceJoiner(*this, take, start.back()).join(ids, start.size());
      }
      start.push_back(id);
    }
  }
  take(decode(start));
}

std::string SentencepieceTokenizer::decode_piece(std::int64_t previous, std::int64_t id) const {
  check_id(id);
  const auto& processor = library_->processor;
  const int piece_id = static_cast<int>(id);
  if (processor.IsControl(piece_id)) return "";
  const std::string& piece = processor.IdToPiece(piece_id);
  if (processor.IsByte(piece_id)) return std::string(1, byte_of_piece(piece));
  // The library knows what an unknown token looks like, and whether a first space was added by
  // the encoder and has to go again.
  if (processor.IsUnknown(piece_id) || previous < 0 || previous == bos_id()) {
    return decode(std::vector<std::int64_t>{id});
  }
  std::string text;
  for (std::size_t at = 0; at < piece.size();) {
    const bool is_space = std::string_view(piece).substr(at).starts_with(kWordStart);
    text += is_space ? ' ' : piece[at];
    at += is_space ? kWordStart.size() : 1;
  }
  return text;
}

std::int64_t SentencepieceTokenizer::vocab_size() const {
  return library_->processor.GetPieceSize();
}

std::optional<std::int64_t> SentencepieceTokenizer::bos_id() const {
  const int id = library_->processor.bos_id();
  return id < 0 ? std::nullopt : std::optional<std::int64_t>(id);
}

std::optional<std::int64_t> SentencepieceTokenizer::eos_id() const {
  const int id = library_->processor.eos_id();
  return id < 0 ? std::nullopt : std::optional<std::int64_t>(id);
}

}  // namespace lowbank::tokenizers
