#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "io/element_type.h"
#include "io/gguf_writer.h"
#include "io/tensor_transform.h"

namespace lowbank {

class GgufFile;

/// config.json, as transformers 4.57 writes it, of the model in a GGUF file: architectures llama,
/// bert (an encoder without a head), mamba.
///
/// llama3 rope scaling, of which a file holds only the divisors (rope_freqs.weight), is recovered
/// and checked against every one of them.
/// Source:  ggml-org/llama.cpp convert_hf_to_gguf.py, gguf-py/gguf/constants.py (gguf 0.19.0).
/// Errors: IoError naming the key that is missing; ConfigError naming the key for what changes the
/// result and is not supported.
nlohmann::ordered_json config_from_gguf(const GgufFile& file);

/// Whether GGUF files hold models of this architecture.
bool has_gguf(std::string_view architecture);

/// The Hugging Face name of a tensor; empty for one that has no place in such a model.
std::optional<std::string> hugging_face_name(const std::string& architecture,
                                             const std::string& gguf_name);
/// The GGUF name of a parameter ("bert." in front or not); empty for one that GGUF has no name for.
std::optional<std::string> gguf_name(const std::string& architecture, const std::string& name);

/// Whether a GGUF file may lack the parameter with this Hugging Face name, which is zero then.
bool may_lack_in_gguf(const std::string& architecture, const std::string& name);

/// What the values of the parameter `name` need on the way from GGUF to Hugging Face, and back.
TensorTransform transform_from_gguf(const nlohmann::ordered_json& config, const std::string& name);
TensorTransform transform_to_gguf(const nlohmann::ordered_json& config, const std::string& name);

/// Metadata of a GGUF file for a model of this config.json, the tokenizer's keys left out.
/// `file_type` is the type of most weights; the family is one that `has_gguf`. Errors: ConfigError for
/// what GGUF cannot express.
GgufKeys gguf_model_keys(const nlohmann::ordered_json& config, const std::string& source,
                         const std::string& model_name, ElementType file_type);

/// Divisors of the rotary frequencies [head_dim / 2] (rope_freqs.weight) for llama3 scaling; empty
/// for a model without it. Source: transformers 4.57 modeling_rope_utils.py (llama3).
std::vector<float> gguf_rope_divisors(const nlohmann::ordered_json& config);

/// True for parameters that stay float32 whatever type the others get, as llama.cpp wants them:
/// vectors, and those that the family names (a convolution, positions, token types, Mamba's A).
bool stays_f32(const std::string& architecture, const std::string& gguf_name,
               std::span<const std::int64_t> shape);

}  // namespace lowbank
