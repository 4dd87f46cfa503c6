#include "tokenizers/sentencepiece_model.h"

#include <bit>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank::tokenizers {
namespace {

enum class WireType : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct WireField {
  std::uint64_t number = 0;
  WireType type = WireType::kVarint;
  std::uint64_t value = 0;  // of a varint or fixed field
  std::string_view bytes;   // of a length-delimited field
};

/// Fields of one message, one after the other.
class WireReader {
 public:
  /// `start` is where `bytes` begin in the file, for errors.
  WireReader(std::string_view bytes, std::size_t start, const std::string& name)
      : bytes_(bytes), start_(start), name_(name) {}

  std::optional<WireField> next() {
    if (at_ == bytes_.size()) return std::nullopt;
    const std::uint64_t tag = varint();
    WireField field;
    field.number = tag >> 3;
    field.type = static_cast<WireType>(tag & 7);
    if (field.number == 0) fail("a field with number 0");
    switch (field.type) {
      case WireType::kVarint:
        field.value = varint();
        break;
      case WireType::kFixed64:
        field.value = fixed(8);
        break;
      case WireType::kFixed32:
        field.value = fixed(4);
        break;
      case WireType::kBytes: {
        const std::uint64_t size = varint();
        if (size > bytes_.size() - at_) {
          fail(fmt::format("a field of {} bytes where {} are left", size, bytes_.size() - at_));
        }
        field.bytes = bytes_.substr(at_, static_cast<std::size_t>(size));
        at_ += field.bytes.size();
        break;
      }
      default:
        fail(fmt::format("wire type {}", tag & 7));
    }
    return field;
  }

  std::size_t position() const { return start_ + at_; }
  [[noreturn]] void fail(const std::string& what) const {
    throw IoError(fmt::format("{}: byte {}: {}: no sentencepiece model, or a damaged one", name_,
                              position(), what));
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == bytes_.size()) fail("the file ends in a number");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      if (shift < 64) value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than 10 bytes");
  }
  std::uint64_t fixed(std::size_t size) {
    if (size > bytes_.size() - at_) fail("the file ends in a number");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(bytes_[at_ + i])} << (8 * i);
    }
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::size_t start_;
  const std::string& name_;
};

/// A field that must have the wire type its number is known for.
class TypedField {
 public:
  TypedField(const WireField& field, const WireReader& reader) : field_(field), reader_(reader) {}

  std::string_view bytes() const {
    check(WireType::kBytes);
    return field_.bytes;
  }
  std::int32_t integer() const {
    check(WireType::kVarint);
    return static_cast<std::int32_t>(field_.value);  // int32 is stored sign-extended
  }
  bool flag() const {
    check(WireType::kVarint);
    return field_.value != 0;
  }
  float number() const {
    check(WireType::kFixed32);
    return std::bit_cast<float>(static_cast<std::uint32_t>(field_.value));
  }

 private:
  void check(WireType wanted) const {
    if (field_.type != wanted) {
      reader_.fail(fmt::format("field {} has wire type {}, not {}", field_.number,
                               static_cast<unsigned>(field_.type), static_cast<unsigned>(wanted)));
    }
  }
  const WireField& field_;
  const WireReader& reader_;
};

SentencepiecePiece read_piece(WireReader reader) {
  SentencepiecePiece piece;
  while (const auto field = reader.next()) {
    const TypedField typed(*field, reader);
    if (field->number == 1) piece.text = typed.bytes();
    if (field->number == 2) piece.score = typed.number();
    if (field->number == 3) {
      const std::int32_t kind = typed.integer();
      if (kind < 1 || kind > 6) reader.fail(fmt::format("a piece of type {}", kind));
      piece.kind = static_cast<TokenKind>(kind);
    }
  }
  return piece;
}

void read_trainer_spec(WireReader reader, SentencepieceModel& model) {
  while (const auto field = reader.next()) {
    const TypedField typed(*field, reader);
    switch (field->number) {
      case 3: {
        const std::int32_t type = typed.integer();
        if (type < 1 || type > 4) reader.fail(fmt::format("model type {}", type));
        model.type = static_cast<SentencepieceModel::Type>(type);
        break;
      }
      case 24:
        model.treat_whitespace_as_suffix = typed.flag();
        break;
      case 35:
        model.byte_fallback = typed.flag();
        break;
      case 40:
        model.unk_id = typed.integer();
        break;
      case 41:
        model.bos_id = typed.integer();
        break;
      case 42:
        model.eos_id = typed.integer();
        break;
      case 43:
        model.pad_id = typed.integer();
        break;
      default:
        break;
    }
  }
}

void read_normalizer_spec(WireReader reader, SentencepieceModel& model) {
  while (const auto field = reader.next()) {
    const TypedField typed(*field, reader);
    if (field->number == 1) model.normalizer_name = typed.bytes();
    if (field->number == 2) model.precompiled_charsmap = typed.bytes();
    if (field->number == 3) model.add_dummy_prefix = typed.flag();
    if (field->number == 4) model.remove_extra_whitespaces = typed.flag();
    if (field->number == 5) model.escape_whitespaces = typed.flag();
  }
}

/// Appends fields to a message.
class WireWriter {
 public:
  void integer(unsigned number, std::int64_t value) {
    put(std::uint64_t{number} << 3);
    put(static_cast<std::uint64_t>(value));
  }
  void bytes(unsigned number, std::string_view value) {
    put(std::uint64_t{number} << 3 | 2);
    put(value.size());
    out_ += value;
  }
  void number(unsigned number, float value) {
    put(std::uint64_t{number} << 3 | 5);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (unsigned shift = 0; shift < 32; shift += 8) out_ += static_cast<char>(bits >> shift);
  }
  std::string take() { return std::move(out_); }

 private:
  void put(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }
  std::string out_;
};

}  // namespace

SentencepieceModel read_sentencepiece_model(std::string_view bytes, const std::string& name) {
  SentencepieceModel model;
  WireReader reader(bytes, 0, name);
  while (const auto field = reader.next()) {
    if (field->number < 1 || field->number > 3) continue;
    const TypedField typed(*field, reader);
    const WireReader message(typed.bytes(), reader.position() - typed.bytes().size(), name);
    if (field->number == 1) model.pieces.push_back(read_piece(message));
    if (field->number == 2) read_trainer_spec(message, model);
    if (field->number == 3) read_normalizer_spec(message, model);
  }
  if (model.pieces.empty()) reader.fail("no pieces");
  return model;
}

std::string write_sentencepiece_model(const SentencepieceModel& model) {
  WireWriter out;
  for (const auto& piece : model.pieces) {
    WireWriter message;
    message.bytes(1, piece.text);
    message.number(2, piece.score);
    message.integer(3, static_cast<std::int32_t>(piece.kind));
    out.bytes(1, message.take());
  }
  // The library gives an id its role by the text of the piece, the ids tell other readers.
  const auto text_of = [&](std::int32_t id, std::string_view absent) {
    const bool is_there = id >= 0 && static_cast<std::size_t>(id) < model.pieces.size();
    return is_there ? std::string_view(model.pieces[static_cast<std::size_t>(id)].text) : absent;
  };
  WireWriter trainer;
  trainer.integer(3, static_cast<std::int32_t>(model.type));
  trainer.integer(4, static_cast<std::int64_t>(model.pieces.size()));
  trainer.integer(24, model.treat_whitespace_as_suffix ? 1 : 0);
  trainer.integer(35, model.byte_fallback ? 1 : 0);
  trainer.integer(40, model.unk_id);
  trainer.integer(41, model.bos_id);
  trainer.integer(42, model.eos_id);
  trainer.integer(43, model.pad_id);
  trainer.bytes(45, text_of(model.unk_id, "<unk>"));
  trainer.bytes(46, text_of(model.bos_id, "<s>"));
  trainer.bytes(47, text_of(model.eos_id, "</s>"));
  trainer.bytes(48, text_of(model.pad_id, "<pad>"));
  out.bytes(2, trainer.take());
  WireWriter normalizer;
  normalizer.bytes(1, model.normalizer_name);
  normalizer.bytes(2, model.precompiled_charsmap);
  normalizer.integer(3, model.add_dummy_prefix ? 1 : 0);
  normalizer.integer(4, model.remove_extra_whitespaces ? 1 : 0);
  normalizer.integer(5, model.escape_whitespaces ? 1 : 0);
  out.bytes(3, normalizer.take());
  return out.take();
}

}  // namespace lowbank::tokenizers
