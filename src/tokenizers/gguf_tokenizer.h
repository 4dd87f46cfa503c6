#pragma once

#include <memory>
#include <string>

#include "tokenizers/tokenizer.h"

namespace lowbank {
class GgufFile;
}

namespace lowbank::tokenizers {

/// The tokenizer inside a GGUF file: tokenizer.ggml.model gpt2 (byte-level BPE), llama
/// (sentencepiece BPE by scores) or bert (WordPiece).
///
/// A text is cut at the tokens that are control, unknown or user-defined, longer ones first, and
/// what is left between them is encoded by itself.
/// Source:  ggml-org/llama.cpp src/llama-vocab.cpp, src/unicode.cpp; ids checked against
///          llama_tokenize(parse_special = true) of llama-cpp-python 0.3.36.
/// Differs: decode() does not clean spaces before punctuation, and a bert text gets no space in
///          front; a surrogate spelled in UTF-8 reads as invalid bytes; tokens do not strip the
///          spaces next to them (phi-3, jina, modern-bert). Hugging Face's BertTokenizer strips
///          only non-spacing marks, keeps all parts of a Hangul syllable, and gives up on words of more
///          than 100 characters; llama.cpp strips every mark, keeps the first part, and does not.
/// Errors:  IoError naming file and key.
std::unique_ptr<Tokenizer> make_gguf_tokenizer(const GgufFile& file);

/// make_gguf_tokenizer of the file at `path`.
std::unique_ptr<Tokenizer> open_gguf_tokenizer(const std::string& path);

}  // namespace lowbank::tokenizers
