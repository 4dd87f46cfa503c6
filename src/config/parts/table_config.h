#pragma once

#include <string>
#include <vector>

#include "config/field.h"

namespace lowbank {

/// The columns of a table of sentences, named as in its first line, and its classes.
struct TableConfig {
  std::string sentence = "sentence";  ///< column of the sentence
  std::string second_sentence;        ///< column of the second one of a pair; "" = no pairs
  std::string label = "label";        ///< column of the class or number
  std::vector<std::string> classes;   ///< what the label column may say; empty = numbers
  Fields fields() const;
  void validate() const;
};

}  // namespace lowbank
