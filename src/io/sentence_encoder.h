#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace lowbank {

/// What the files of a sentence-transformers folder say about turning a text into one vector.
struct SentenceEncoder {
  enum class Pooling { kMean, kCls, kMax };

  Pooling pooling = Pooling::kMean;
  bool lower_case = false;                 ///< texts are made lower case before the tokenizer
  std::optional<std::int64_t> max_tokens;  ///< special tokens included; absent: the model's limit
};

/// Reads modules.json, the configuration of its Pooling module, and sentence_bert_config.json;
/// nothing for a folder without modules.json. What does not change the cosine of two vectors counts
/// as absent: Normalize, Dropout, the mean divided by the square root of the length.
///
/// Source:  UKPLab/sentence-transformers 3 and 5, SentenceTransformer.py, models/Pooling.py and
///          models/Transformer.py (formats and behaviour).
/// Errors:  IoError for damaged files; ConfigError naming file and key for another module or pooling
///          (several modes at once, weighted mean, last token).
std::optional<SentenceEncoder> read_sentence_encoder(const std::string& folder);

/// The files, by name, that make read_sentence_encoder() find this pooling of vectors of
/// `hidden_size` values.
std::map<std::string, std::string> sentence_encoder_files(SentenceEncoder::Pooling pooling,
                                                          std::int64_t hidden_size);

}  // namespace lowbank
