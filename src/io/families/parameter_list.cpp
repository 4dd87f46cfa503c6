#include "io/families/parameter_list.h"

namespace lowbank {

void ParameterList::add(std::string name, std::vector<std::int64_t> shape,
                        Initialisation initialisation) {
  parameters.push_back({std::move(name), std::move(shape), initialisation, part});
}

void ParameterList::add_matrix(const std::string& path, std::int64_t rows, std::int64_t columns) {
  add(path + ".weight", {rows, columns}, Initialisation::kNormal);
}

void ParameterList::add_linear(const std::string& path, std::int64_t out, std::int64_t in,
                               bool has_bias) {
  add_matrix(path, out, in);
  if (has_bias) add(path + ".bias", {out}, Initialisation::kZeros);
}

void ParameterList::add_norm(const std::string& path, std::int64_t width, bool has_bias) {
  add(path + ".weight", {width}, Initialisation::kOnes);
  if (has_bias) add(path + ".bias", {width}, Initialisation::kZeros);
}

void ParameterList::add_token_head(const std::string& embedding, std::int64_t vocab_size,
                                   std::int64_t hidden_size, bool is_tied) {
  if (is_tied) {
    ties.emplace_back("lm_head.weight", embedding + ".weight");
  } else {
    add_matrix("lm_head", vocab_size, hidden_size);
  }
}

}  // namespace lowbank
